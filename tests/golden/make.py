"""Writes the golden files of this folder: models, a SavedModel, and what they gave on the day they were made.

    python -m tests.golden.make FOLDER

The files here were made with kvae 0.1.0 and are never made anew: `tests/test_golden.py` holds later versions to them.
The numbers of `expected.npz` are from kvae 0.1.0, too. Their last digits are those of the processor that computed them.
"""

import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

import kvae

N, BATCH = 22, 4  # the last batch of a pass is a ragged one
CLASSES = 3


def _mlp(**options):
    return kvae.networks.mlp((6,), 3, hidden=(8,), **options)


def _binary():
    schedule = kvae.schedules.Linear(0.0, 1.0, 16)
    return kvae.VAE(*_mlp(), likelihood="bernoulli", objective=kvae.objectives.ELBO(beta=schedule), seed=1)


def _full():
    objective = kvae.objectives.ELBO(kl="monte_carlo", samples=2)
    return kvae.VAE(*_mlp(), posterior="full_normal", likelihood="normal", objective=objective, seed=2)


def _conditional():
    likelihood = kvae.likelihoods.Normal("local")
    return kvae.VAE(*_mlp(condition=CLASSES, mask=True), likelihood=likelihood, prior="conditional_normal", seed=3)


def _images():
    likelihood = kvae.likelihoods.ContinuousBernoulli(clip=1e-3, kernel_size=3)
    networks = kvae.networks.conv((5, 4, 1), 3, filters=(3,), dense=6)
    return kvae.VAE(*networks, likelihood=likelihood, objective=kvae.objectives.ELBO(free_bits=0.1), seed=4)


def _autoencoder():
    likelihood, objective = kvae.likelihoods.Normal("learned"), kvae.objectives.ELBO(beta=0)
    return kvae.VAE(*_mlp(), posterior="deterministic", likelihood=likelihood, objective=objective, seed=5)


MODELS = {
    "binary": _binary,
    "full": _full,
    "conditional": _conditional,
    "images": _images,
    "autoencoder": _autoencoder,
}
SERVED = "binary"


def data(name: str, vae) -> dict[str, np.ndarray]:
    """What the model is trained on, as `fit` takes it."""
    random = np.random.default_rng(0)
    x = random.random((N, *vae.event_shape)).astype(np.float32)
    if name == "binary":
        x = (x > 0.5).astype(np.float32)
    given = {"x": x}
    if name == "conditional":
        given |= {"condition": random.integers(0, CLASSES, N), "mask": random.random(x.shape) < 0.8}
    return given


def go_on(name: str, vae) -> None:
    """Train, from the middle of a pass to the middle of another."""
    vae.fit(data(name, vae), batch_size=BATCH, steps_per_epoch=4, epochs=2, verbose=0)


def found(name: str, vae) -> dict[str, np.ndarray]:
    """What the model gives."""
    given = data(name, vae)
    beside = {key: given[key] for key in ("condition", "mask") if key in given}
    condition = {key: value for key, value in beside.items() if key == "condition"}
    terms = vae.terms(given["x"], samples=2, seed=3, **beside)
    return {
        "code": vae.encode(given["x"], **beside).mean().numpy(),
        "reconstruction": vae.reconstruct(given["x"], **beside).numpy(),
        "log_px_z": terms.log_px_z.numpy(),
        "samples": vae.sample(N, seed=7, output="sample", **condition).numpy(),
        "loss": np.float32(vae.evaluate(given, batch_size=BATCH, verbose=0, return_dict=True)["loss"]),
    }


def weights(vae) -> np.ndarray:
    """All numbers that training moves, in a row."""
    return np.concatenate([np.ravel(np.asarray(w)) for w in [*vae.weights, *vae.optimizer.variables]])


def served(folder) -> dict[str, np.ndarray]:
    """What the SavedModel gives, by signature and output."""
    loaded = tf.saved_model.load(str(folder))
    random, outputs = np.random.default_rng(1), {}
    every = {
        "x": (random.random((5, 6)) > 0.5).astype(np.float32),
        "z": random.normal(size=(5, 3)).astype(np.float32),
        "seed": np.arange(5, dtype=np.int32),
    }
    for name, signature in loaded.signatures.items():
        inputs = {key: tf.constant(every[key]) for key in signature.structured_input_signature[1]}
        outputs |= {f"{name}/{key}": value.numpy() for key, value in signature(**inputs).items()}
    return outputs


def processor() -> np.ndarray:
    """Numbers in which processors and versions of TensorFlow differ: where they are the same, all bytes must be."""
    a = tf.random.stateless_normal([22, 40], [0, 1], alg="philox")
    b = tf.random.stateless_normal([40, 30], [0, 2], alg="philox")
    u = tf.random.stateless_uniform([1003], [0, 3], minval=1e-6, alg="philox")  # no whole number of vectors

    def product():
        return tf.exp(tf.tanh(tf.matmul(a, b))) + tf.nn.softplus(tf.matmul(a, b))

    def elements():
        radius = tf.sqrt(-2.0 * tf.math.log(u))
        turn = 2.0 * u - 1.0
        square = turn * turn
        sine = turn * (1.57 - square * (0.646 - square * (0.0797 - 0.0047 * square)))
        return radius * sine / (tf.sqrt(radius) + 1e-7)

    ways = (lambda f: f(), lambda f: tf.function(f)(), lambda f: tf.function(f, jit_compile=True)())
    return np.concatenate([np.ravel(way(f).numpy()) for f in (product, elements) for way in ways])


def main(folder: pathlib.Path) -> None:
    """Write everything."""
    folder.mkdir(parents=True, exist_ok=True)
    expected = {"processor": processor()}
    for name, make in MODELS.items():
        keras.utils.set_random_seed(0)
        vae = make()
        vae.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
        go_on(name, vae)
        vae.save(folder / f"{name}.keras")
        expected |= {f"{name}/{key}": value for key, value in found(name, vae).items()}
        if name == SERVED:
            vae.export(folder / "saved_model", verbose=False)
        go_on(name, vae)
        expected[f"{name}/weights"] = weights(vae)
    expected |= {f"served/{key}": value for key, value in served(folder / "saved_model").items()}
    np.savez_compressed(folder / "expected.npz", **expected)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
