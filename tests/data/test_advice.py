"""What fit says, before the first step, of data that it takes but learns badly from."""

import warnings

import keras
import numpy as np
import pandas
import pytest

import kvae
from kvae.data import Split, advice

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(600, 4))
TIMES = 1.7e9 + np.arange(2400, dtype=np.float64).reshape(600, 4)
ONE_HOT = np.eye(3, dtype=np.float32)[RANDOM.integers(0, 3, size=(40, 5))]


def make(shape, likelihood="normal"):
    keras.utils.set_random_seed(0)
    vae = kvae.VAE(*kvae.networks.mlp(shape, 2, hidden=(4,)), likelihood=likelihood)
    vae.compile(jit_compile=False)
    return vae


def columns():
    x = X.copy()
    x[:, 1], x[:, 3] = RANDOM.integers(0, 2, (2, 600))
    return x


@pytest.mark.parametrize(
    ("x", "likelihood", "words"),
    [
        (1e6 * X, "normal", "x ranges from -3.*Standardize it"),
        (
            TIMES,
            "normal",
            r"x ranges from 1.7e\+09 to 1.7e\+09.*float32 keeps 20 of its 2400 different.*Standard",
        ),
        (TIMES.astype(np.int64), "normal", "float32 keeps 20 of its 2400 different values"),
        (ONE_HOT, "bernoulli", "x is one-hot along its last axis, but Bernoulli takes the 3 values for independent"),
        (1e6 * X, "normal", r"or take kvae.likelihoods.Normal\(per='element'\) and call vae.adapt\(x\) first"),
        (
            X * [1e-3, 1.0, 1.0, 50.0],
            kvae.likelihoods.Normal(per="element"),
            r"sizes from 0.001\d+ to 51.3 for the encoder.*Call vae.adapt\(x\) before fit",
        ),
        (columns(), "normal", r"The columns \[1, 3\] hold only 0 and 1. Normal takes them for real numbers"),
        (pandas.DataFrame(columns(), columns=list("abcd")), "normal", r"The columns \['b', 'd'\] hold only 0 and 1"),
    ],
    ids=["large", "times", "whole_times", "one_hot", "large_too", "units", "binary_columns", "named_columns"],
)
def test_said(x, likelihood, words):
    assert np.unique(TIMES.astype(np.float32)).size == 20
    vae = make(np.shape(x)[1:], likelihood)
    with pytest.warns(UserWarning, match=words):
        vae.fit(x, verbose=0)


@pytest.mark.parametrize(
    ("x", "likelihood"),
    [
        (X, "normal"),
        (100.0 * X, "normal"),
        ((X > 0).astype(np.float32), "bernoulli"),
        (np.where(ONE_HOT.sum(-1, keepdims=True) > 0, 1.0 - ONE_HOT, 0.0), "bernoulli"),
        (RANDOM.random((40, 5, 3)), "continuous_bernoulli"),
    ],
)
def test_not_said(x, likelihood):
    vae = make(x.shape[1:], likelihood)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vae.fit(x, verbose=0)


def test_what_is_masked_does_not_count():
    x, mask = X.copy(), np.ones(X.shape, bool)
    x[:5, 2], mask[:5, 2] = 1e9, False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        advice.advise(Split(x, mask=mask), make((4,)).likelihood)


@pytest.mark.slow
def test_single_examples_find_their_scale():
    """On batches of one example "optimal" trains to the scale of all errors, as "learned", not to each one's own."""
    x = (RANDOM.normal(size=(60, 1)) * np.linspace(1, 2, 6) + 0.3 * RANDOM.normal(size=(60, 6))).astype(np.float32)
    found = {}
    for scale in ("optimal", "learned"):
        keras.utils.set_random_seed(0)
        vae = kvae.VAE(*kvae.networks.mlp((6,), 1, hidden=()), likelihood=kvae.likelihoods.Normal(scale))
        vae.compile(keras.optimizers.Adam(1e-2))
        vae.fit(x, batch_size=1, epochs=60, verbose=0)
        ratio = kvae.evaluate.calibration(vae, x, samples=20)["mean_square"].mean
        found[scale] = kvae.evaluate.log_likelihood(vae, x, samples=200, verbose=False).mean
        assert 0.7 < ratio < 1.4
    assert found["optimal"] > found["learned"] - 0.3
    assert found["optimal"] > kvae.evaluate.independent_pixels(vae, x, x).mean + 3.0
