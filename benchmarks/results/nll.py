"""The 5,000-sample log-likelihood of MNIST's 10,000 test images, and the bare decoder passes that it takes.

    python benchmarks/results/nll.py --data_dir DIR  # some ten minutes

Trains 784-200-200-50 (tanh, Bernoulli, static binarisation) for 20 epochs; then, thousand by thousand of the test
images, `kvae.evaluate.log_likelihood` and as many decodings of fixed z alone, compiled, with XLA and without it.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import time

import keras
import numpy as np
import tensorflow as tf

import kvae

SAMPLES, TOGETHER = 5000, 20_000


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--images", type=int, default=1000, help="in a part")
    parser.add_argument("--parts", type=int, default=10)
    options = parser.parse_args()
    data = kvae.data.load("mnist", binarize="static", data_dir=options.data_dir)
    keras.utils.set_random_seed(0)
    networks = kvae.networks.mlp(data.event_shape, 50, hidden=(200, 200), activation="tanh")
    vae = kvae.VAE(*networks, likelihood="bernoulli")
    vae.compile(optimizer=keras.optimizers.Adam(1e-3))
    began = time.perf_counter()
    vae.fit(data.train, epochs=options.epochs, verbose=0)
    print(f"trained in {time.perf_counter() - began:.0f} s", flush=True)

    def logits(z):
        return vae.likelihood.parameters(vae.decoder(z, training=False))

    z = tf.constant(np.random.default_rng(0).normal(size=(TOGETHER, 50)), tf.float32)
    bare = {name: tf.function(logits, jit_compile=jit) for name, jit in (("TensorFlow", False), ("XLA", True))}
    for function in bare.values():
        function(z)
    x, seconds, estimates = data.test.x, {name: [] for name in ("kvae", *bare)}, []
    kvae.evaluate.log_likelihood(vae, x[: options.images], SAMPLES)  # compiles
    for part in range(options.parts):
        some = x[part * options.images : (part + 1) * options.images]
        began = time.perf_counter()
        estimates.append(kvae.evaluate.log_likelihood(vae, some, SAMPLES).mean)
        seconds["kvae"].append(time.perf_counter() - began)
        for name, function in bare.items():
            began = time.perf_counter()
            for _ in range(len(some) * SAMPLES // TOGETHER):
                function(z)
            seconds[name].append(time.perf_counter() - began)
        row = ", ".join(f"{name} {times[-1]:.1f} s" for name, times in seconds.items())
        print(f"part {part}: {row}", flush=True)
    print(f"log p(x) {np.mean(estimates):.3f} nats, {sum(seconds['kvae']):.0f} s")
    for name in bare:
        ratios = np.array(seconds[name]) / seconds["kvae"]
        low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75))
        print(f"speed against bare passes by {name}: {middle:.2f} (quartiles {low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
