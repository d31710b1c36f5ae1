"""Missing pixels: training on digits with holes, and filling in those of the test digits.

    python benchmarks/results/missing.py  # two seeds, some minutes

Binarised digits; every pixel is missing with probability 1/2, in training and in the test. The same MLP 64-200-200 with
10 latents, batch 50, Adam 1e-3, 150 epochs, trained on complete digits, on digits with holes, and on digits with holes
by an encoder that is told where they are. log p of what was observed in the test digits, 1,000 draws; then the
log-loss, nats for each missing test pixel, of `reconstruct`, of `impute` with 1,000 draws, and of the training means.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import time

import keras
import numpy as np

import kvae


def trained(data, seed: int, told: bool, epochs: int) -> kvae.VAE:
    """A VAE of data with or without holes."""
    keras.utils.set_random_seed(seed)
    networks = kvae.networks.mlp((8, 8, 1), 10, hidden=(200, 200), mask=told)
    vae = kvae.VAE(*networks, likelihood="bernoulli", seed=seed)
    vae.compile(optimizer=keras.optimizers.Adam(1e-3))
    vae.fit(data, batch_size=50, epochs=epochs, verbose=0)
    return vae


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=150)
    options = parser.parse_args()
    started = time.time()
    data = kvae.data.load("digits", validation=0, binarize="static")
    random = np.random.default_rng(0)
    seen = {part: random.random(getattr(data, part).x.shape) < 0.5 for part in ("train", "test")}
    holes = {part: {"x": getattr(data, part).x, "mask": mask} for part, mask in seen.items()}
    x, missing = data.test.x, ~seen["test"]

    def log_loss(p):
        p = np.clip(p, 1e-6, 1.0 - 1e-6)
        return -np.where(x, np.log(p), np.log1p(-p))[missing].mean()

    train = holes["train"]
    means = ((train["x"] * train["mask"]).sum(0) + 0.5) / (train["mask"].sum(0) + 1.0)
    print(f"training means: {log_loss(np.broadcast_to(means, x.shape)):.4f} nats for each missing pixel\n")
    print("| seed | trained on | log p(x observed) | reconstruct | impute |")
    print("|---:|---|---:|---:|---:|")
    for seed in range(options.seeds):
        for name, part, told in (
            ("complete digits", train["x"], False),
            ("digits with holes", train, False),
            ("digits with holes, told where", train, True),
        ):
            vae = trained(part, seed, told, options.epochs)
            score = kvae.evaluate.log_likelihood(vae, holes["test"], samples=1000)
            losses = [
                log_loss(filled.numpy())
                for filled in (vae.reconstruct(x, mask=seen["test"]), vae.impute(x, seen["test"], samples=1000))
            ]
            value = f"{score.mean:.2f} ± {score.standard_error:.2f}"
            print(f"| {seed} | {name} | {value} | {losses[0]:.4f} | {losses[1]:.4f} |", flush=True)
    print(f"{time.time() - started:.0f} s")


if __name__ == "__main__":
    main()
