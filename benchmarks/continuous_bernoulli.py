"""The continuous Bernoulli on grey MNIST, beside a Bernoulli trained on the same grey pixels and a normal.

    python benchmarks/continuous_bernoulli.py --data_dir DIR            # 60,000 images, 20 epochs each, some minutes

The protocol of Loaiza-Ganem and Cunningham (2019), arXiv 1907.06845, but for 20 epochs where they trained longer:
pixels (v + U[0, 1)) / 256 once; MLP 784-500-500 with dropout 0.1, 20 latents, ReLU; batch 50, Adam 1e-3, gradients
clipped to [-1, 1] element by element; lambda kept in [1e-4, 1 - 1e-4]. On the test images: the one-sample ELBO, nats
per image, under the continuous Bernoulli with the decoder's lambda; the same with the lambda whose mean is the
decoder's output (mu^-1); the ELBO of the model's own likelihood; KL; and the accuracy of 15 nearest neighbours among
the codes of the training images.

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
from kvae import distributions, support
from kvae.families import Likelihood

CLIP = 1e-4


class GreyBernoulli(Likelihood):
    """x log p + (1 - x) log(1 - p) of grey x: not a density, since it does not integrate to 1."""

    support = support.UNIT
    measure = "density"

    def distribution(self, features):
        """The Bernoulli distribution whose formula is put to x in [0, 1]."""
        (logits,) = self._event(features)
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
    end = np.log1p(-CLIP) - np.log(CLIP)
    return np.clip(kvae.likelihoods.ContinuousBernoulli().matching(np.clip(probabilities, 1e-6, 1 - 1e-6)), -end, end)


def elbos(vae, x):
    """Mean reconstruction under the continuous Bernoulli at the decoder's lambda and at mu^-1, and KL, nats."""
    plain, inverted, kl = [], [], []
    for i in range(0, len(x), 1000):
        part = x[i : i + 1000]
        terms = vae.terms(part, seed=i)
        kl.append(terms.kl.numpy())
        p = vae.decode(terms.z[0]).distribution
        end = float(np.log1p(-CLIP) - np.log(CLIP))
        logits = tf.clip_by_value(p.logits, -end, end).numpy()
        for values, found in ((plain, logits), (inverted, inverse_mean(1.0 / (1.0 + np.exp(-logits))))):
            density = distributions.ContinuousBernoulli(logits=tf.constant(found, tf.float32))
            values.append(density.event_log_prob(tf.constant(part), 3).numpy())
    return (np.concatenate(values) for values in (plain, inverted, kl))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", required=True, help="of tensorflow-datasets, with mnist in it")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    data = kvae.data.load(
        "mnist", validation=0, dequantize=True, batch_size=50, seed=options.seed, data_dir=options.data_dir
    )
    x = data.test.x
    print("| likelihood trained with | ELBO, lambda | ELBO, mu^-1 | own ELBO | KL | 15-NN | seconds |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name, likelihood in (
        ("continuous Bernoulli", kvae.likelihoods.ContinuousBernoulli(clip=CLIP)),
        ("Bernoulli on grey pixels", GreyBernoulli()),
        ("normal, optimal scale", kvae.likelihoods.Normal("optimal")),
    ):
        keras.utils.set_random_seed(options.seed)
        vae = kvae.VAE(*networks(), likelihood=likelihood, seed=options.seed)
        vae.compile(optimizer=keras.optimizers.Adam(1e-3, clipvalue=1.0))
        started = time.time()
        vae.fit(data.train, epochs=options.epochs, verbose=0)
        seconds = time.time() - started
        own = float(np.mean(vae.elbo(x)))
        codes = [vae.encode(part).mean().numpy() for part in (data.train, x)]
        accuracy = KNeighborsClassifier(15).fit(codes[0], data.train.y).score(codes[1], data.test.y)
        columns = ["", "", f"{np.mean(vae.terms(x[:5000]).kl):.1f}"]
        if isinstance(likelihood, (kvae.likelihoods.ContinuousBernoulli, GreyBernoulli)):
            plain, inverted, kl = elbos(vae, x)
            error = (plain - kl).std() / np.sqrt(len(x))
            columns = [f"{(plain - kl).mean():.1f} ± {error:.1f}", f"{(inverted - kl).mean():.1f}", f"{kl.mean():.1f}"]
        if isinstance(likelihood, kvae.likelihoods.ContinuousBernoulli):
            columns[1] = ""  # its lambda is what it was trained for
        print(
            f"| {name} | {columns[0]} | {columns[1]} | {own:.1f} | {columns[2]} | {accuracy:.3f} | {seconds:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
