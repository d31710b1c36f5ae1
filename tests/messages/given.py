"""What the calls of the tables are given: one small model of each kind, data, files, and stand-ins for packages."""

import functools
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import tensorflow as tf

import kvae
from tests.conformance import LIKELIHOODS, make_vae

X = np.linspace(0.0, 1.0, 60, dtype=np.float32).reshape(10, 6)
BITS = X.round()
_FOLDER = tempfile.TemporaryDirectory()


@functools.cache
def vae(likelihood: str = "normal_learned", **parts) -> kvae.VAE:
    """A model of 6 elements and 3 latents, compiled: the same one for all rows."""
    model = make_vae(likelihood=LIKELIHOODS[likelihood], compiled=False, **parts)
    model.compile("adam", run_eagerly=True)
    return model


@functools.cache
def conditional(condition=4, prior: str = "standard_normal") -> kvae.VAE:
    """A model of labels 0..3, or of vectors."""
    model = kvae.VAE(*kvae.networks.mlp((6,), 3, hidden=(8,), condition=condition), prior=prior)
    model.compile("adam", run_eagerly=True)
    return model


@functools.cache
def autoencoder() -> kvae.VAE:
    """A model without a density."""
    return kvae.VAE(*mlp(), posterior="deterministic", objective=kvae.objectives.ELBO(beta=0))


def mlp(event_shape=(6,), latent=3):
    """Networks of one layer."""
    return kvae.networks.mlp(event_shape, latent, hidden=(8,))


def batches(*arrays, size=5) -> tf.data.Dataset:
    """A dataset of batches, of x or of (x, y)."""
    return tf.data.Dataset.from_tensor_slices(arrays[0] if len(arrays) == 1 else arrays).batch(size)


def path(name: str, content: bytes | None = None) -> Path:
    """A path in this run's own folder, with a file of this content there, if any."""
    found = Path(_FOLDER.name, name)
    found.parent.mkdir(parents=True, exist_ok=True)
    if content is not None:
        found.write_bytes(content)
    return found


def image(name: str, shape=(4, 4, 1)) -> Path:
    """The path of a PNG."""
    return path(name, tf.io.encode_png(np.zeros(shape, np.uint8)).numpy())


def stand_in(package: str, **attributes) -> SimpleNamespace:
    """An object of a class of that package, which need not be installed."""
    return type("Given", (SimpleNamespace,), {"__module__": package})(**attributes)
