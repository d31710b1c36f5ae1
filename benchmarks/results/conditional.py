"""A conditional VAE beside an unconditional one on the digits: log-likelihood, and whether samples are of their class.

    python benchmarks/results/conditional.py  # three seeds, some minutes

The same networks (200-200, 10 latents), binarised digits, 150 epochs, batch 50, Adam 1e-3. Test log-likelihoods by
importance sampling, 1,000 samples. A 5-nearest-neighbours classifier trained on the binarised training digits says
what 100 samples of each class are; beside it stands how many of the test digits it gets right. The last column
decodes the mean code of each class's training digits under its class (document 003's way to generate a class).
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import time

import keras
import numpy as np
from sklearn.neighbors import KNeighborsClassifier

import kvae


def trained(data, seed: int, condition: int | None, epochs: int) -> kvae.VAE:
    """A VAE of the digits, conditional on so many classes."""
    keras.utils.set_random_seed(seed)
    networks = kvae.networks.mlp(data.event_shape, 10, hidden=(200, 200), condition=condition)
    vae = kvae.VAE(*networks, likelihood="bernoulli", seed=seed)
    vae.compile(optimizer=keras.optimizers.Adam(1e-3))
    vae.fit(data.train, epochs=epochs, verbose=0)
    return vae


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=150)
    options = parser.parse_args()
    started = time.time()
    data = kvae.data.load("digits", validation=0, binarize="dynamic", batch_size=50)
    classifier = KNeighborsClassifier(5).fit(data.train.x.reshape(-1, 64), data.train.y)
    y = np.repeat(np.arange(10), 100)
    print("| seed | log p(x) | log p(x given its class) | samples of their class | test digits | mean codes |")
    print("|---:|---:|---:|---:|---:|---:|")
    for seed in range(options.seeds):
        plain, conditional = (trained(data, seed, classes, options.epochs) for classes in (None, 10))
        scores = [kvae.evaluate.log_likelihood(vae, data.test, samples=1000) for vae in (plain, conditional)]
        drawn = conditional.sample(len(y), seed=seed, output="mean", condition=y).numpy()
        right = (classifier.predict(drawn.reshape(-1, 64)) == y).mean()
        known = classifier.score(data.test.x.reshape(-1, 64), data.test.y)
        codes = conditional.encode(data.train).mean().numpy()
        means = np.stack([codes[data.train.y == k].mean(axis=0) for k in range(10)])
        of_means = conditional.decode(means, np.arange(10)).mean().numpy()
        generated = (classifier.predict(of_means.reshape(-1, 64)) == np.arange(10)).mean()
        columns = [f"{s.mean:.2f} ± {s.standard_error:.2f}" for s in scores]
        print(f"| {seed} | {columns[0]} | {columns[1]} | {right:.1%} | {known:.1%} | {generated:.0%} |", flush=True)
    print(f"{time.time() - started:.0f} s")


if __name__ == "__main__":
    main()
