"""Messages about compression: place to (call, message[, type])."""

import functools
import importlib.metadata
import sys
from unittest import mock

import numpy as np

import kvae
from kvae import compress
from kvae.compress import container
from kvae.compress.blocks import Blocks
from tests.messages.given import BITS, X, mlp, vae

ARITHMETIC = FloatingPointError


@functools.cache
def _model(weights: float | None = None, likelihood="bernoulli", **parts) -> kvae.VAE:
    model = kvae.VAE(*mlp(), likelihood=likelihood, **parts)
    if weights is not None:
        model.likelihood.projection.kernel.assign(np.full((8, 6), weights))
    return model


@functools.cache
def _file() -> bytes:
    return compress.encode(_model(), BITS)


def _decoded(content: bytes):
    return compress.decode(_model(), content)


def _of_another():
    compress.decode(_model(1.0), _file())


def _other_numbers(raised):
    """Decoding gives another x, where the file is decoded or where it is made."""

    def wrong(self, block, n, condition=None, done=int):
        return np.zeros((n, 6), np.int64)

    content = _file()
    with mock.patch.object(Blocks, "decode", wrong):
        return compress.encode(_model(), BITS) if raised == "encode" else _decoded(content)


def _conditions():
    model = kvae.VAE(*kvae.networks.mlp((6,), 3, hidden=(8,), condition=4), likelihood="bernoulli")
    content = compress.encode(model, BITS, np.arange(10) % 4)
    compress.decode(model, content, np.zeros(10, int))


def _overflowed():
    model = kvae.VAE(*mlp(), likelihood="bernoulli")
    model.posterior.projection.kernel.assign(np.full((8, 6), np.nan))
    return model


def _without():
    """Neither the module nor what was noted when it was installed."""
    missing = importlib.metadata.PackageNotFoundError("constriction")
    with mock.patch("importlib.metadata.version", side_effect=missing), mock.patch.dict(sys.modules, constriction=None):
        compress.encode(_model(), BITS)


def _joint():
    parts = {"a": ((0, 1, 2, 3), kvae.likelihoods.Bernoulli()), "b": ((4, 5), kvae.likelihoods.Poisson())}
    return kvae.likelihoods.Joint(parts)


def _poisson():
    return _model(likelihood="poisson")


START = len(container.MAGIC)
ROWS = {
    "compress.stack.check_installed": [
        (_without, r'needs the package constriction: pip install "kvae-keras\[compress\]"', ImportError),
    ],
    "compress.stack._rows": [
        (
            lambda: compress.encode(_model(np.nan), BITS),
            "probabilities of x or of codes that are not finite, so that nothing can be coded with them. Its weights "
            r"may have overflowed: kvae.evaluate.diagnose\(vae, x\)",
            ARITHMETIC,
        ),
    ],
    "compress.latents.latents_of": [
        (
            lambda: compress.encode(_model(posterior="full_normal"), BITS),
            "codes z with the posterior DiagonalNormal and the prior StandardNormal or ConditionalNormal, or with "
            r"codes \(FiniteScalar or VectorQuantized\) and the prior Codes, got FullNormal and StandardNormal. Train",
        ),
        (
            lambda: compress.encode(_model(prior="mixture_of_normals"), BITS),
            "got DiagonalNormal and MixtureOfNormals. Train a model with these for compression",
        ),
    ],
    "compress.latents.NormalLatents.posterior": [
        (
            lambda: compress.encode(_overflowed(), BITS),
            r"mean or the scale of q\(z\|x\) is not finite, so that nothing can be coded with it. The weights may",
            ARITHMETIC,
        ),
    ],
    "compress.container.header_of": [
        (
            lambda: _decoded(b"words, and more words"),
            "not what kvae.compress.encode made: it begins with b'words, a'. Give its bytes as they are; if the file "
            "went through a transfer as text, transfer it as binary",
        ),
        (
            lambda: _decoded(_file()[:START] + b"\x07" + _file()[START + 1 :]),
            "have the format 7, and this kvae reads 1. They are damaged, or of another version of kvae. Take a copy",
        ),
        (lambda: _decoded(_file()[:50]), "header is damaged or cut off, so that nothing can be decoded. Take a copy"),
    ],
    "compress.container.blocks_of": [
        (
            lambda: _decoded(_file()[:-1]),
            "The block from example 0 on is damaged or cut off, so that nothing is decoded. Take a copy that is whole",
        ),
        (lambda: _decoded(_file() + b"more"), "4 bytes follow the last block: the data are not as they were. Take a"),
    ],
    "compress.files.encode": [
        (
            lambda: compress.encode(_model(), BITS[:0]),
            "The data are empty: kvae.compress codes one example or more. Give x with some",
        ),
        (
            lambda: compress.encode(_model(), {"x": BITS, "mask": X < 0.5}),
            r"missing values, which kvae.compress does not code. Fill them in first: vae.impute\(x\)",
        ),
        (
            lambda: compress.encode(_poisson(), np.full((2, 6), 2**24 + 2)),
            r"counts up to 2\^24 = 16777216, and the largest is 1.67772e\+07: beyond, float32 numbers are more than "
            "one apart. Give x in another unit",
        ),
        (
            lambda: _other_numbers("encode"),
            "encoded does not decode to the same x, since the networks do not give the same numbers twice here. On a "
            r"GPU, call tf.config.experimental.enable_op_determinism\(\) first, or use the CPU",
            ArithmeticError,
        ),
    ],
    "compress.files.decode": [
        (lambda: _decoded("text"), "data must be the bytes that kvae.compress.encode gave, got 'text'"),
        (
            _of_another,
            "Another model encoded these data: its hash is [0-9a-f]{32}, and this one's [0-9a-f]{32}. Give the model "
            "with the weights that it had then",
        ),
        (_conditions, "encoded with another condition. Give the same, in the same order"),
        (
            lambda: _other_numbers("decode"),
            "The data are whole, but the networks give other numbers here than where they were encoded, so that they "
            "cannot be decoded. They were made with kvae .*, TensorFlow .*; here are kvae .*. Decode with the same "
            "versions and variables on the same kind of processor",
        ),
    ],
    "compress.files._coder": [
        (
            lambda: compress.encode(_model(likelihood=_joint()), BITS),
            "codes elements of one kind, and Joint has columns of several. Train a model for each kind of column",
        ),
        (
            lambda: compress.encode(vae(), X),
            "codes integers by a likelihood with a mass, and Normal has none: a density gives no length of a code. "
            r"Images of 8 bits fit kvae.likelihoods.BetaBinomial\(255\) or DiscretizedLogistic\(256\), binary data "
            "Bernoulli, counts Poisson or NegativeBinomial",
        ),
    ],
    "compress.files._dtype": [
        (
            lambda: compress.encode(_model(), BITS.astype(np.float64) * (1.0 + 1e-12)),
            r"numbers that are whole only after rounding to float32. Round them: numpy.rint\(x\)",
        ),
    ],
    "models.resolve.check_model": [
        (lambda: compress.encode(3, X), r"A kvae.VAE is needed, got 3. kvae.load_model\(path\) reads one", TypeError),
        (lambda: compress.decode(None, b""), "A kvae.VAE is needed, got None", TypeError),
    ],
}
