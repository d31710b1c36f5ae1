"""The tables that x is coded by: sums, log-densities, and windows over both ends."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

import kvae
from kvae.compress.elements import MOST, Elements
from kvae.compress.stack import Stack
from tests.conformance import LIKELIHOODS, make_vae

NAMES = [name for name, make in LIKELIHOODS.items() if make().measure == "mass"]


def rows(*fast, of=NAMES):
    """Parameters: all but the fast ones are slow tests."""
    return [pytest.param(name, marks=() if name in fast else pytest.mark.slow) for name in of]


def decoded(name):
    vae = make_vae(likelihood=LIKELIHOODS[name], compiled=False)
    z = 3.0 * np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    return vae, vae.decode_features(tf.constant(z))


@pytest.mark.parametrize("name", rows("bernoulli", "beta_binomial", "ordinal", "poisson"))
def test_masses_are_those_of_the_log_densities(name):
    vae, features = decoded(name)
    p, high = vae.likelihood.distribution(features), vae.likelihood.support.high
    width = int(high) + 1 if np.isfinite(high) else 700
    found = vae.likelihood.masses(p, tf.zeros([4, 6]), width).numpy()
    for k in {0, 1, width // 2, width - 1}:
        expected = np.exp(p.distribution.log_prob(np.full((4, 6), k, np.float32)).numpy().astype(np.float64))
        np.testing.assert_allclose(found[..., k], expected, rtol=2e-5, atol=1e-12)
    np.testing.assert_allclose(found.sum(axis=-1, dtype=np.float64), 1.0, rtol=2e-5)


@pytest.mark.parametrize("name", rows("bernoulli", "beta_binomial", "categorical"))
def test_a_window_is_a_part_of_the_table(name):
    vae, features = decoded(name)
    p, high = vae.likelihood.distribution(features), vae.likelihood.support.high
    last = int(high) if np.isfinite(high) else 60
    whole = vae.likelihood.masses(p, tf.zeros([4, 6]), last + 1).numpy()
    first = np.random.default_rng(1).integers(-3, last, (4, 6)).astype(np.float32)
    found = vae.likelihood.masses(p, tf.constant(first), 8).numpy()
    k = first[..., None].astype(int) + np.arange(8)
    expected = np.take_along_axis(whole, np.clip(k, 0, last), axis=-1)
    known = (k < 0) | (k <= last) | np.isfinite(high)
    np.testing.assert_allclose(np.where(known, found, 0.0), np.where((k >= 0) & (k <= last), expected, 0.0), 1e-4, 1e-9)


@pytest.mark.parametrize("log_rate", [-3.0, 3.0, 9.0, 14.0])
def test_counts_have_the_length_of_their_masses(log_rate):
    """Poisson counts far and near, against SciPy; all but one of a million are inside the window at small rates."""
    encoder, decoder = kvae.networks.mlp((40,), 1, hidden=())
    vae = kvae.VAE(encoder, decoder, likelihood=kvae.likelihoods.Poisson())
    vae.likelihood.projection.bias.assign(np.full(40, log_rate))
    features = vae.decode_features(tf.zeros([5, 1]))
    x = np.random.default_rng(2).poisson(np.exp(log_rate), (5, 40)).astype(np.int64)
    stack = Stack()
    Elements(vae).push(stack, x, features)
    expected = -stats.poisson.logpmf(x, np.exp(np.float32(log_rate))).sum() / np.log(2.0)
    slack = 40 + 0.01 * expected if log_rate < 10.0 else 40 + 0.1 * expected  # at 10^6 some lie outside of 4,096
    assert -1.0 < stack.bits - expected < slack
    np.testing.assert_array_equal(Elements(vae).pop(stack, 5, features), x)
    assert stack.empty


@pytest.mark.parametrize("likelihood", [
    kvae.likelihoods.Poisson,
    *(pytest.param(make, marks=pytest.mark.slow) for make in (
        kvae.likelihoods.NegativeBinomial, lambda: kvae.likelihoods.BetaBinomial(6000),
        lambda: kvae.likelihoods.ZeroInflated(kvae.likelihoods.Poisson()),
    )),
])  # fmt: skip
def test_any_integer_can_be_coded(likelihood):
    """Far outside the windows, too."""
    vae = kvae.VAE(*kvae.networks.mlp((7,), 2, hidden=()), likelihood=likelihood())
    features = 0.1 * tf.ones([3, 2])
    features = vae.decode_features(features)
    high = min(vae.likelihood.support.high, MOST)
    edges = [0, 1, 2, 3, 4094, 4095, 4096, 4097, 2**12 - 1, 2**13, 2**20 + 5, MOST - 1, MOST]
    x = np.minimum(np.resize(edges, (3, 7)), int(high)).astype(np.int64)
    stack = Stack()
    Elements(vae).push(stack, x, features)
    np.testing.assert_array_equal(Elements(vae).pop(stack, 3, features), x)
    assert stack.empty
