"""The digits benchmark: a VAE with one sample on the binarised 8 x 8 digits, by seed.

    python benchmarks/results/digits.py  # five seeds, about two minutes

Protocol: 1,500 train and 297 test images; the training images are binarised anew for every batch, the test images
once (seed 1); tanh networks 64-100-100-10-100-100-64, the output bias at the logits of the mean image, batch 50,
Adam with learning rate 1e-3 and epsilon 1e-4, 8,000 steps. Prints the negative log-likelihood by importance sampling
with 5,000 samples, the one-sample ELBO and the active units on the training images, for each seed.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import time

import keras
import numpy as np

import kvae


def run(seed: int, steps: int, samples: int) -> dict:
    """Train and evaluate one seed."""
    keras.utils.set_random_seed(seed)
    data = kvae.data.load("digits", validation=0, binarize="dynamic", batch_size=50, seed=seed)
    test = kvae.data.load("digits", validation=0, binarize="static", seed=1).test
    networks = kvae.networks.mlp(data.event_shape, 10, hidden=(100, 100), activation="tanh")
    vae = kvae.VAE(*networks, likelihood="bernoulli", seed=seed)
    mean = np.clip(kvae.data.load("digits", validation=0).train.x.mean(0).ravel(), 1e-3, 1 - 1e-3)
    kernel, _ = vae.likelihood.projection.get_weights()
    vae.likelihood.projection.set_weights([kernel, np.log(mean) - np.log1p(-mean)])
    vae.compile(optimizer=keras.optimizers.Adam(1e-3, epsilon=1e-4))
    start = time.perf_counter()
    vae.fit(data.train, epochs=round(steps / 30), verbose=0)
    seconds = time.perf_counter() - start
    train = kvae.data.load("digits", validation=0, binarize="static", seed=1).train
    return {
        "nll": kvae.evaluate.log_likelihood(vae, test, samples=samples, seed=seed),
        "elbo": vae.evaluate(test, verbose=0, return_dict=True)["elbo"],
        "active": kvae.evaluate.summary(vae, train, samples=1)["active_units"].mean,
        "seconds": seconds,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=8_000)
    parser.add_argument("--samples", type=int, default=5_000)
    options = parser.parse_args()
    for seed in range(options.seeds):
        r = run(seed, options.steps, options.samples)
        nll = r["nll"]._replace(mean=-r["nll"].mean)
        print(
            f"seed {seed}: NLL {nll}, ESS {nll.effective_sample_size:.0f}; one-sample ELBO {r['elbo']:.2f}; "
            f"active units {r['active']:.0f}; {r['seconds']:.0f} s of training",
            flush=True,
        )


if __name__ == "__main__":
    main()
