"""The classical autoencoder beside the VAE on the digits: the same networks, reconstruction and generation.

    python benchmarks/results/autoencoder.py  # three seeds, a minute

Binarised digits, MLP 64-200-200, 10 latents, 150 epochs, batch 50, Adam 1e-3. Reconstruction: log p(x|z) of the test
digits, z the code (autoencoder) or drawn from q(z|x) (VAE). Prior-sample likelihood: log 1/K sum_k p(x|z_k) with
K = 20,000 draws z_k from N(0, I), what each model is worth as a generator; the standard normal is no prior for the
autoencoder's codes, so beside it stands the same with a normal fitted to the codes of the training digits.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import time

import keras
import numpy as np

import kvae

DRAWS = 20_000


def trained(data, seed: int, **parts) -> kvae.VAE:
    """A model of the digits with these parts."""
    keras.utils.set_random_seed(seed)
    networks = kvae.networks.mlp(data.event_shape, 10, hidden=(200, 200))
    vae = kvae.VAE(*networks, likelihood="bernoulli", seed=seed, **parts)
    vae.compile(optimizer=keras.optimizers.Adam(1e-3))
    vae.fit(data.train, epochs=150, verbose=0)
    return vae


def generation(vae, x, z) -> float:
    """The mean over x of log 1/K sum_k p(x|z_k), nats."""
    p = vae.decode(z.astype(np.float32))
    logits = p.distribution.logits.numpy().reshape(len(z), -1).astype(np.float64)
    log_px_z = x.reshape(len(x), -1) @ logits.T - np.logaddexp(0.0, logits).sum(axis=1)  # [N, K]
    return float((np.logaddexp.reduce(log_px_z, axis=1) - np.log(len(z))).mean())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    started = time.time()
    data = kvae.data.load("digits", validation=0, binarize="dynamic", batch_size=50)
    x = data.test.x
    print("| seed | model | reconstruction | generation from N(0, I) | from a normal fitted to the codes |")
    print("|---:|---|---:|---:|---:|")
    for seed in range(options.seeds):
        parts = {"posterior": "deterministic", "objective": kvae.objectives.ELBO(beta=0)}
        for name, model in (("autoencoder", trained(data, seed, **parts)), ("VAE", trained(data, seed))):
            normal = np.random.default_rng(seed)
            z = normal.normal(size=(DRAWS, 10))
            codes = model.encode(data.train).mean().numpy()
            fitted = codes.mean(axis=0) + z @ np.linalg.cholesky(np.cov(codes.T)).T
            reconstruction = model.terms(x, samples=20).log_px_z.numpy().mean()
            values = [reconstruction, generation(model, x, z), generation(model, x, fitted)]
            print(f"| {seed} | {name} | {' | '.join(f'{v:.2f}' for v in values)} |", flush=True)
    print(f"{time.time() - started:.0f} s")


if __name__ == "__main__":
    main()
