"""`vae.fit(x)` against a hand-written TensorFlow loop with one call per batch, interleaved, in one run.

    python benchmarks/fit.py                  # MLP 784-400-20, Bernoulli, batch 128, Adam: about two minutes

Both train the same model on the same 20,000 generated binary images; both get the array. The loop is what a careful
user writes: tf.function around the step, with XLA and without (the faster one counts), a shuffled index gather.
Prints images per second, the median of the rounds with their spread, and the ratio.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import time

import keras
import numpy as np
import tensorflow as tf

import kvae


def images(n: int) -> np.ndarray:
    """Binary images with some structure: thresholded random low-rank fields."""
    random = np.random.default_rng(0)
    fields = random.normal(size=(n, 10)).astype(np.float32) @ random.normal(size=(10, 784)).astype(np.float32)
    return (fields > 2.0).astype(np.float32)


def kvae_fit(x, batch):
    keras.utils.set_random_seed(0)
    vae = kvae.VAE(*kvae.networks.mlp((784,), 20, hidden=(400,)), likelihood="bernoulli")
    vae.compile(optimizer=keras.optimizers.Adam(1e-3))

    def epoch():
        return -vae.fit(x, batch_size=batch, epochs=1, verbose=0).history["elbo"][-1]

    return epoch


def hand_written(x, batch, jit):
    keras.utils.set_random_seed(0)
    dense = keras.layers.Dense
    encoder = keras.Sequential([keras.Input((784,)), dense(400, "relu"), dense(40)])
    decoder = keras.Sequential([keras.Input((20,)), dense(400, "relu"), dense(784)])
    weights = encoder.trainable_weights + decoder.trainable_weights
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(weights)
    data = tf.constant(x)

    @tf.function(jit_compile=jit)
    def step(data, rows):
        images = tf.gather(data, rows)
        with tf.GradientTape() as tape:
            mean, raw = tf.split(encoder(images), 2, axis=-1)
            scale = tf.math.softplus(raw)
            z = mean + scale * tf.random.normal(tf.shape(mean))
            logits = decoder(z)
            cross = tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(labels=images, logits=logits), -1)
            kl = 0.5 * tf.reduce_sum(scale**2 + mean**2 - 1.0 - 2.0 * tf.math.log(scale), -1)
            loss = tf.reduce_mean(cross + kl)
        optimizer.apply(tape.gradient(loss, weights), weights)
        return loss

    def epoch():
        order = np.random.permutation(len(x)).astype(np.int32)
        losses = [step(data, tf.constant(order[i : i + batch])) for i in range(0, len(x) - batch + 1, batch)]
        return float(tf.reduce_mean(losses))

    return epoch


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    x = images(options.images)
    rivals = {
        "kvae fit": kvae_fit(x, options.batch),
        "hand-written, XLA": hand_written(x, options.batch, True),
        "hand-written": hand_written(x, options.batch, False),
    }
    rates = {name: [] for name in rivals}
    for epoch in rivals.values():
        epoch()  # compile
    for _ in range(options.rounds):
        for name, epoch in rivals.items():
            start = time.perf_counter()
            loss = epoch()
            rates[name].append(len(x) / (time.perf_counter() - start))
            assert np.isfinite(loss)
    for name, values in rates.items():
        low, middle, high = np.percentile(values, [25, 50, 75])
        print(f"{name:20s} {middle:9,.0f} images/s  (quartiles {low:,.0f} to {high:,.0f})")
    ours = np.array(rates["kvae fit"])
    for name in list(rates)[1:]:
        ratios = ours / np.array(rates[name])
        print(f"kvae fit / {name}: {np.median(ratios):.2f}  ({ratios.min():.2f} to {ratios.max():.2f})")


if __name__ == "__main__":
    main()
