"""Positive numbers out of real ones, and the gamma function."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import special

from kvae.numerics.elementary import log_gamma, positive


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_positive_is_the_cap_exactly_far_above_it(dtype):
    raw = tf.constant([-3.0, 0.0, 5.0, 1e3, 1.1e3, 1e9, 1e11, 1e13, 1e30], dtype)
    with tf.GradientTape() as tape:
        tape.watch(raw)
        value = positive(raw, 1e-3, 1e3)
    expected = np.minimum(1e-3 + np.logaddexp(0.0, raw.numpy().astype(np.float64)), 1e3)
    np.testing.assert_allclose(value[:3], expected[:3], rtol=1e-6)
    assert value[3:].numpy().tolist() == [1e3] * 6
    compiled = tf.function(lambda raw: positive(raw, 1e-3, 1e3))  # TensorFlow reorders sums with constants in a graph
    assert compiled(raw).numpy().tolist() == value.numpy().tolist()
    np.testing.assert_allclose(tape.gradient(value, raw), 1.0 / (1.0 + np.exp(-raw.numpy())), rtol=1e-6)


@pytest.mark.parametrize("jit", [False, True])
def test_log_gamma_and_its_derivative_are_those_of_scipy(jit):
    z = tf.constant(np.concatenate([[1e-217, 1e-30, 1.0, 2.0, 1e13], np.exp(np.linspace(-12, 20, 3000))]))

    @tf.function(jit_compile=jit)
    def both(z):
        with tf.GradientTape() as tape:
            tape.watch(z)
            value = log_gamma(z)
        return value, tape.gradient(value, z)

    for found, exact in zip(both(z), (special.gammaln(z), special.digamma(z)), strict=True):
        assert (np.abs(found - exact) / np.maximum(1.0, np.abs(exact))).max() < 1e-13
