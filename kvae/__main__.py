"""`python -m kvae`: what kvae runs on, what is optional and missing, and a self-test of a few seconds."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import math
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import kvae
from kvae import _environment
from kvae.numerics import noise

_PACKAGES = ("tensorflow", "keras", "tf_keras", "tensorflow-probability", "numpy")


def report() -> str:
    """Versions, devices, and what is optional and missing."""
    lines = [f"kvae {kvae.__version__} on Python {platform.python_version()}, {platform.machine()}"]
    lines += [f"  {name:24s}{_version(name)}" for name in _PACKAGES]
    devices = [device.name.removeprefix("/physical_device:") for device in tf.config.list_physical_devices()]
    lines += ["Devices", f"  {', '.join(devices)}, {os.cpu_count()} processors", "Optional"]
    for one in _environment.OPTIONAL:
        state = _version(one.package) if _environment.found(one.module) else "missing"
        hint = "" if state != "missing" else f"; {_environment.install(one.extra)}"
        lines.append(f"  {one.package:24s}{state} ({one.purpose}{hint})")
    return "\n".join(lines)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"


def _must(holds: bool, otherwise: str) -> None:
    if not holds:
        raise RuntimeError(otherwise)


def _check_noise() -> str:
    """Philox-4x32 of key 7, stream 3, block 0, in Python's integers."""
    words, key = [0, 0, 3, 0], [7, 0]
    for _ in range(10):
        left, right = words[0] * 0xD2511F53, words[2] * 0xCD9E8D57
        words = [right >> 32 ^ words[1] ^ key[0], right & 0xFFFFFFFF, left >> 32 ^ words[3] ^ key[1], left & 0xFFFFFFFF]
        key = [(k + weyl) & 0xFFFFFFFF for k, weyl in zip(key, (0x9E3779B9, 0xBB67AE85), strict=True)]
    expected = [((word & (2**23 - 1)) + 0.5) * 2.0**-23 for word in words]
    found = noise.uniform(7, 3, 0, 1, 4).numpy()[0]
    _must(found.tolist() == expected, f"{found} is not {expected}")
    return "noise has the generator's bits"


def _line(seed: int = 0) -> tuple[kvae.VAE, np.ndarray]:
    """The model x = w z + 0.5 eps in two dimensions, with z's exact posterior for q, and draws of x."""
    encoder, decoder = kvae.networks.mlp((2,), 1, hidden=())
    vae = kvae.VAE(encoder, decoder, likelihood=kvae.likelihoods.Normal(scale=0.5), seed=seed)
    vae.compile(keras.optimizers.Adam(1e-3))
    w = np.array([[1.0, -2.0]])
    variance = 1.0 / (1.0 + np.square(w).sum() / 0.25)  # of z given x; the mean is variance * w x / 0.25
    kernel = np.concatenate([variance / 0.25 * w.T, np.zeros((2, 1))], axis=1)
    vae.posterior.projection.set_weights([kernel, np.array([0.0, math.log(math.expm1(math.sqrt(variance) - 1e-5))])])
    vae.likelihood.projection.set_weights([w, np.zeros(2)])
    random = np.random.default_rng(seed)
    x = random.normal(size=(200, 1)) @ w + 0.5 * random.normal(size=(200, 2))
    return vae, x.astype(np.float32)


def _check_likelihood() -> str:
    """The log-likelihood and the ELBO of a model whose marginal is N(0, w w^T + s^2 I)."""
    vae, x = _line()
    covariance = np.array([[1.0, -2.0], [-2.0, 4.0]]) + 0.25 * np.eye(2)
    square = np.einsum("ni,ij,nj->n", x, np.linalg.inv(covariance), x)
    exact = -0.5 * (square + np.linalg.slogdet(covariance)[1] + 2 * math.log(2 * math.pi)).mean()
    found = kvae.evaluate.log_likelihood(vae, x, samples=10, verbose=False).mean
    _must(abs(found - exact) < 1e-4, f"{found} is not {exact}")
    return f"log p(x) is the closed form's, {found:.4f} nats"


def _check_files() -> str:
    """Training, a file and a SavedModel: the same numbers on the way."""
    vae, x = _line()
    before = vae.evaluate(x, verbose=0, return_dict=True)["elbo"]
    vae.fit(x, batch_size=100, epochs=2, verbose=0)
    after = vae.evaluate(x, verbose=0, return_dict=True)["elbo"]
    _must(abs(after - before) < 0.2, f"training from the optimum moved the ELBO from {before} to {after}")
    with tempfile.TemporaryDirectory() as folder:
        vae.save(Path(folder, "model.keras"))
        again = kvae.load_model(Path(folder, "model.keras"))
        for one in (vae, again):
            one.fit(x, batch_size=100, epochs=1, verbose=0)
        for old, new in zip(vae.weights, again.weights, strict=True):
            _must(np.array_equal(old, new), f"{old.path} differs after save and load")
        served = tf.saved_model.load(vae.export(Path(folder, "1"), verbose=False))
        code = served.signatures["encode"](x=tf.constant(x))["mean"]
    difference = float(tf.reduce_max(tf.abs(code - vae.encode(x).mean())))
    _must(difference < 1e-5, f"the SavedModel's codes differ by {difference}")
    return "fit, save, load, go on and export agree"


_CHECKS: tuple[Callable[[], str], ...] = (_check_noise, _check_likelihood, _check_files)


def self_test() -> bool:
    """Run the checks, print a line for each, and return whether all passed."""
    whole, begun = True, time.perf_counter()
    for check in _CHECKS:
        try:
            print(f"  ok      {check()}")
        except Exception as error:  # any error at all: the other checks still run
            whole = False
            print(f"  FAILED  {check.__doc__} {type(error).__name__}: {error}")
    print(f"  {'All is well' if whole else 'Something is wrong'} ({time.perf_counter() - begun:.0f} s).")
    return whole


def main() -> int:
    """Print the report, run the self-test."""
    print(report())
    print("Self-test")
    return 0 if self_test() else 1


if __name__ == "__main__":
    sys.exit(main())
