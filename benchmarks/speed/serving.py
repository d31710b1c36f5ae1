"""Latency of a SavedModel's signatures, through TensorFlow's C API and through Python, beside the bare networks.

    python benchmarks/speed/serving.py  # needs gcc; some minutes

An MLP 784-400-16 and the conv net of `kvae.networks` on 28 x 28 pixels, Bernoulli, untrained; random binary images.
Each number is the median of many calls, in one process for Python, in another for C; signature and bare networks take
turns. The bare networks are graph functions of the same matrix products and convolutions: encoder and projection,
decoder and projection, one after the other, the decoder for two codes in `score`, and for as many as there are draws in
`log_likelihood`.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import importlib.util
import json
import statistics
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import kvae

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = 100


def reading():
    """examples/serve/reader.py as a module."""
    spec = importlib.util.spec_from_file_location("reader", ROOT / "examples" / "serve" / "reader.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def bare(vae) -> dict:
    """Signature to the networks alone: a function of x, z or seeds."""

    def encoder(x):
        return vae.posterior.projection(vae.encoder(x))

    def decoder(z):
        return vae.likelihood.projection(vae.decoder(z))

    def code(x):
        return encoder(x)[:, : vae.latent_dim]

    x = tf.TensorSpec((None, *vae.event_shape), tf.float32)
    z = tf.TensorSpec((None, vae.latent_dim), tf.float32)
    many = {"score": 2, "log_likelihood": SAMPLES}
    functions = {
        "encode": tf.function(encoder, [x]),
        "decode": tf.function(decoder, [z]),
        "reconstruct": tf.function(lambda x: decoder(code(x)), [x]),
        "sample": tf.function(decoder, [z]),
    }
    for name, times in many.items():
        functions[name] = tf.function(lambda x, times=times: decoder(tf.repeat(code(x), times, axis=0)), [x])
    return functions


def timed(functions, seconds: float) -> list[float]:
    """The median time of each, called in turns for so long."""
    taken: list[list[float]] = [[] for _ in functions]
    for function in functions:
        function()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(taken[0]) < 5:
        for function, times in zip(functions, taken, strict=True):
            begun = time.perf_counter()
            function()
            times.append(time.perf_counter() - begun)
    return [statistics.median(times) for times in taken]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1.0, help="for each signature and batch")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32, 1024])
    options = parser.parse_args()
    random, reader = np.random.default_rng(0), reading()
    with tempfile.TemporaryDirectory() as work:
        place = Path(work)
        reader.compile_reader(place / "reader")
        for network, networks in (
            ("mlp", lambda: kvae.networks.mlp((28, 28, 1), 16, hidden=(400,))),
            ("conv", lambda: kvae.networks.conv((28, 28, 1), 16)),
        ):
            keras.utils.set_random_seed(0)
            vae = kvae.VAE(*networks(), likelihood="bernoulli")
            path = vae.export(place / network / "1", samples=SAMPLES, verbose=False)
            served = tf.saved_model.load(path).signatures
            signatures = json.loads(Path(path, "assets.extra", "manifest.json").read_text())["signatures"]
            print(f"\n| {network} | batch | C, ms | Python, ms | bare networks, ms | Python / bare |")
            print("|---|---:|---:|---:|---:|---:|")
            for name, network_alone in bare(vae).items():
                for size in options.batches:
                    every = {
                        "x": (random.random((size, 28, 28, 1)) < 0.2).astype(np.float32),
                        "z": random.normal(size=(size, 16)).astype(np.float32),
                        "seed": np.arange(size, dtype=np.int32),
                    }
                    fed = {key: every[key] for key in signatures[name]["inputs"]}
                    tensors = {key: tf.constant(value) for key, value in fed.items()}
                    main_input = tf.constant(every["z" if name in ("decode", "sample") else "x"])
                    in_python, alone = timed(
                        [
                            lambda signature=served[name], tensors=tensors: signature(**tensors),
                            lambda f=network_alone, x=main_input: f(x),
                        ],
                        options.seconds,
                    )
                    repeats = max(3, int(options.seconds / in_python))
                    in_c = reader.run_reader(place / "reader", path, signatures[name], fed, place, repeats)["seconds"]
                    row = " | ".join(f"{1e3 * value:.2f}" for value in (in_c, in_python, alone))
                    print(f"| {name} | {size} | {row} | {in_python / alone:.2f} |", flush=True)


if __name__ == "__main__":
    main()
