"""The continuous Bernoulli on grey MNIST, beside a Bernoulli trained on the same grey pixels and a normal.

    python benchmarks/results/continuous_bernoulli.py --data_dir DIR  # 60,000 images, 20 epochs each, some minutes

The protocol of Loaiza-Ganem and Cunningham (2019), arXiv 1907.06845, but for 20 epochs where they trained longer:
pixels (v + U[0, 1)) / 256 once; MLP 784-500-500 with dropout 0.1, 20 latents, ReLU; batch 50, Adam 1e-3, gradients
clipped to [-1, 1] element by element; lambda kept in [1e-4, 1 - 1e-4]. On the test images: the one-sample ELBO, nats
per image, under the continuous Bernoulli with the decoder's lambda; the same with the lambda whose mean is the
decoder's output (mu^-1), exactly and as the paper's code has it, interpolated between 100 even values of lambda from
(0, 0) to (1, 1), which is coarse near black and white; the ELBO of the model's own likelihood; KL; and the accuracy of
15 nearest neighbours among the codes of the training images.

A Bernoulli "trained on grey pixels" is no distribution of them: it is the common mistake that this measures.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import time

import keras
import numpy as np
import tensorflow as tf
from sklearn.neighbors import KNeighborsClassifier

import kvae
from kvae.data import support
from kvae.likelihoods import Likelihood
from kvae.numerics import distributions

CLIP = 1e-4
END = float(np.log1p(-CLIP) - np.log(CLIP))  # of the logits


class GreyBernoulli(Likelihood):
    """x log p + (1 - x) log(1 - p) of grey x: not a density, since it does not integrate to 1."""

    support = support.UNIT
    measure = "density"

    def distribution(self, features):
        """The Bernoulli distribution whose formula is put to x in [0, 1]."""
        logits = tf.clip_by_value(self._event(features)[0], -END, END)
        return self._independent(distributions.Bernoulli(logits=logits, dtype=self.compute_dtype))


def networks():
    """The encoder and decoder of the paper."""
    x, z = keras.Input((28, 28, 1), name="x"), keras.Input((20,), name="z")
    h, g = keras.layers.Flatten()(x), z
    for _ in range(2):
        h = keras.layers.Dropout(0.1)(keras.layers.Dense(500, "relu")(h))
        g = keras.layers.Dropout(0.1)(keras.layers.Dense(500, "relu")(g))
    return keras.Model(x, h), keras.Model(z, g)


def inverse_mean(probabilities: np.ndarray) -> np.ndarray:
    """The logits of the continuous Bernoulli with these means, within the clip."""
    return np.clip(kvae.likelihoods.ContinuousBernoulli().matching(np.clip(probabilities, 1e-6, 1 - 1e-6)), -END, END)


def interpolated_inverse(probabilities: np.ndarray) -> np.ndarray:
    """The same as the paper's code has it: lambda between 100 even values, with the means 0 and 1 at the two ends."""
    knots = np.linspace(0.0, 1.0 + 1e-4, 100)
    inner, means = knots[1:-1], knots.copy()
    means[1:-1] = inner / (2.0 * inner - 1.0) + 0.5 / np.arctanh(1.0 - 2.0 * inner)
    inside = np.clip(np.interp(probabilities, means, knots), CLIP, 1.0 - CLIP)
    return np.log(inside) - np.log1p(-inside)


def elbos(vae, x):
    """ELBOs under the continuous Bernoulli at the decoder's lambda, at mu^-1 and at mu^-1 interpolated, nats `[N]`."""
    columns: list[list] = [[], [], []]
    for i in range(0, len(x), 1000):
        part = x[i : i + 1000]
        terms = vae.terms(part, seed=i)
        p = vae.decode(terms.z[0]).distribution
        logits = tf.clip_by_value(p.logits, -END, END).numpy()
        means = 1.0 / (1.0 + np.exp(-logits))
        for values, found in zip(columns, (logits, inverse_mean(means), interpolated_inverse(means)), strict=True):
            density = distributions.ContinuousBernoulli(logits=tf.constant(found, tf.float32))
            values.append(density.event_log_prob(tf.constant(part), 3).numpy() - terms.kl.numpy())
    return [np.concatenate(values) for values in columns]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", required=True, help="of tensorflow-datasets, with mnist in it")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="a part of the name of the likelihoods to train")
    options = parser.parse_args()
    data = kvae.data.load(
        "mnist", validation=0, dequantize=True, batch_size=50, seed=options.seed, data_dir=options.data_dir
    )
    x = data.test.x
    print("| likelihood trained with | ELBO, lambda | mu^-1 | mu^-1 interpolated | own ELBO | KL | 15-NN | seconds |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name, likelihood in (
        ("continuous Bernoulli", kvae.likelihoods.ContinuousBernoulli(clip=CLIP)),
        ("Bernoulli on grey pixels", GreyBernoulli()),
        ("normal, optimal scale", kvae.likelihoods.Normal("optimal")),
    ):
        if options.only not in name:
            continue
        keras.utils.set_random_seed(options.seed)
        vae = kvae.VAE(*networks(), likelihood=likelihood, seed=options.seed)
        vae.compile(optimizer=keras.optimizers.Adam(1e-3, clipvalue=1.0))
        started = time.time()
        vae.fit(data.train, epochs=options.epochs, verbose=0)
        seconds = time.time() - started
        own = float(np.mean(vae.elbo(x)))
        codes = [vae.encode(part).mean().numpy() for part in (data.train, x)]
        accuracy = KNeighborsClassifier(15).fit(codes[0], data.train.y).score(codes[1], data.test.y)
        columns = ["", "", ""]
        if isinstance(likelihood, (kvae.likelihoods.ContinuousBernoulli, GreyBernoulli)):
            found = elbos(vae, x)
            columns = [f"{values.mean():.1f} ± {values.std() / np.sqrt(len(x)):.1f}" for values in found]
        if isinstance(likelihood, kvae.likelihoods.ContinuousBernoulli):
            columns[1:] = ["", ""]  # its lambda is what it was trained for
        kl = np.mean([np.mean(vae.terms(x[i : i + 1000]).kl) for i in range(0, len(x), 1000)])
        print(f"| {name} | {' | '.join(columns)} | {own:.1f} | {kl:.1f} | {accuracy:.3f} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
