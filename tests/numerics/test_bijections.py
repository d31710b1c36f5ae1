"""Element maps of flows, against differentiation and double precision."""

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from kvae.numerics.bijections import BOUND, elements

KINDS = (("affine", "affine", 8), ("spline", "spline", 8), ("spline_of_two_bins", "spline", 2))
AWAY = [-100.0, -10.0, -5.0, -3.0, 0.0, 3.0, 5.0, 10.0, 100.0]


def parameters(maps, shape, seed=0, size=1.5, dtype="float64"):
    values = np.random.default_rng(seed).normal(0.0, size, (*shape, maps.size))
    return tf.constant(values, dtype)


class BijectionTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.named_parameters(*KINDS)
    def test_inverse(self, kind, bins):
        maps = elements(kind, bins)
        x = tf.constant(np.linspace(-8.0, 8.0, 1001), tf.float64)
        for size in (0.5, 3.0):
            raw = parameters(maps, (1001,), size=size)
            y, log_slope = maps.forward(x, raw)
            again, log_back = maps.inverse(y, raw)
            self.assertAllClose(again, x, atol=1e-9)
            self.assertAllClose(log_back, -log_slope, atol=1e-8)

    @parameterized.named_parameters(*KINDS)
    def test_the_derivative_is_that_of_autodiff(self, kind, bins):
        maps, x = elements(kind, bins), tf.constant(np.linspace(-8.0, 8.0, 401), tf.float64)
        raw = parameters(maps, (401,))
        for function in (maps.forward, maps.inverse):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y, log_slope = function(x, raw)
            slope = tape.gradient(y, x).numpy()
            self.assertTrue((slope > 0.0).all())
            self.assertAllClose(log_slope, np.log(slope), atol=1e-10)

    def test_affine_by_hand(self):
        y, log_slope = elements("affine", 8).forward(tf.constant([2.0]), tf.constant([[0.5, 1.2]]))
        s = 3.0 * np.tanh(0.4)
        self.assertAllClose(y, [2.0 * np.exp(s) + 0.5], rtol=1e-6)
        self.assertAllClose(log_slope, [s], rtol=1e-6)

    def test_a_spline_of_two_bins_by_hand(self):
        """The formulas of Durkan et al. (2019), eq. 4 and 5, at one number of the second bin."""
        raw = np.array([0.3, -0.2, 0.1, 0.4, 0.7])
        softmax = [np.exp(pair) / np.exp(pair).sum() for pair in (raw[:2], raw[2:4])]
        widths, heights = (10.0 * (1e-3 + (1.0 - 2e-3) * part) for part in softmax)
        inner = 1e-3 + np.log1p(np.exp(raw[4] + np.log(np.expm1(0.999))))
        x = 2.2
        xi, s = (x + 5.0 - widths[0]) / widths[1], heights[1] / widths[1]
        below = s + (1.0 + inner - 2.0 * s) * xi * (1.0 - xi)
        y = heights[0] - 5.0 + heights[1] * (s * xi**2 + inner * xi * (1.0 - xi)) / below
        slope = s**2 * (1.0 * xi**2 + 2.0 * s * xi * (1.0 - xi) + inner * (1.0 - xi) ** 2) / below**2
        found, log_slope = elements("spline", 2).forward(tf.constant([x], tf.float64), tf.constant(raw[None]))
        self.assertAllClose(found, [y], atol=1e-12)
        self.assertAllClose(log_slope, [np.log(slope)], atol=1e-12)

    @parameterized.named_parameters(*KINDS)
    def test_zeros_are_the_identity(self, kind, bins):
        maps, x = elements(kind, bins), tf.constant(np.linspace(-8.0, 8.0, 1001), tf.float32)
        raw = tf.zeros([1001, maps.size])
        for function in (maps.forward, maps.inverse):
            y, log_slope = function(x, raw)
            if kind == "affine":
                self.assertAllEqual(y, x)
                self.assertAllEqual(log_slope, tf.zeros_like(x))
            self.assertAllClose(y, x, atol=2e-6, rtol=0.0)
            self.assertAllClose(log_slope, tf.zeros_like(x), atol=2e-6)

    @parameterized.product(kind=("affine", "spline"), way=("forward", "inverse"), size=(0.0, 1.0, 30.0, 1e6))
    def test_finite_far_away(self, kind, way, size):
        """Value and gradient at |z| to 100, on both sides of the ends of a spline and for large parameters."""
        maps = elements(kind, 8)
        x, raw = tf.constant(AWAY), parameters(maps, (len(AWAY),), size=size, dtype="float32")
        with tf.GradientTape(persistent=True) as tape:
            tape.watch([x, raw])
            y, log_slope = getattr(maps, way)(x, raw)
        found = [y, log_slope, *tape.gradient(y, [x, raw]), *tape.gradient(log_slope, [x, raw])]
        for values in found:
            if values is not None:
                self.assertTrue(np.isfinite(values.numpy()).all())
        if kind == "spline":
            beyond = np.abs(AWAY) > BOUND
            self.assertAllEqual(y[beyond], x[beyond])
            self.assertAllEqual(tape.gradient(y, x)[beyond], np.ones(beyond.sum()))
            self.assertAllEqual(tape.gradient(log_slope, raw)[beyond], np.zeros((beyond.sum(), maps.size)))

    @parameterized.named_parameters(*KINDS)
    def test_single_precision(self, kind, bins):
        """Beside double precision of the same numbers; a narrow or steep bin magnifies the rounding of its ends."""
        maps, x = elements(kind, bins), np.random.default_rng(1).normal(0.0, 3.0, 20_000).astype(np.float32)
        raw = parameters(maps, (20_000,), dtype="float32")
        for function in (maps.forward, maps.inverse):
            exact = function(tf.constant(x, tf.float64), tf.cast(raw, tf.float64))
            for found, value in zip(function(tf.constant(x), raw), exact, strict=True):
                error = np.abs(found.numpy() - value.numpy())
                self.assertLess(error.mean(), 2e-6)
                self.assertLess(np.quantile(error, 0.999), 2e-4)
                self.assertLess(error.max(), 2e-3)
