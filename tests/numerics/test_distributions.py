"""The log-densities of whole events: against closed forms in float64, and their gradients."""

import math

import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from tensorflow_probability import distributions as tfd

from kvae.numerics import distributions

SIZES = (0.0, 1e-9, 1e-4, 1e-2, 0.3, 0.4999, 0.5001, 0.9999, 1.0001, 3.0, 16.0, 60.0, 1e3)
KINDS = ("Bernoulli", "ContinuousBernoulli")


def numbers(kind, events, size, seed=0):
    """Logits of every magnitude `[events * len(SIZES), size]` and x in the support, its ends among them."""
    random = np.random.default_rng(seed)
    logits = np.concatenate([scale * random.choice([-1.0, 1.0], (events, size)) for scale in SIZES])
    logits[: len(logits) // 2] *= random.uniform(0.5, 1.0, (len(logits) // 2, size))
    x = random.uniform(size=logits.shape)
    x[::3] = np.rint(x[::3])
    return logits, np.rint(x) if kind == "Bernoulli" else x


def exact(kind, logits, x):
    """log p and its derivative by the logits, elementwise, in float64."""
    a = np.abs(logits)
    if kind == "Bernoulli":
        value = x * logits - np.maximum(logits, 0.0) - np.log1p(np.exp(-a))
        return value, x - np.where(logits < 0, np.exp(-a), 1.0) / (1.0 + np.exp(-a))
    safe = np.where(a < 0.02, 1.0, a)  # below 0.02 the next terms of the series are less than 1e-15
    log_partition = np.where(
        a < 0.02, a**2 / 24 - a**4 / 2880 + a**6 / 181440, safe / 2 + np.log(-np.expm1(-safe) / safe)
    )
    safe = np.where(a < 0.02, 1.0, logits)
    series = logits / 12 - logits**3 / 720 + logits**5 / 30240
    mean = 0.5 + np.where(a < 0.02, series, 0.5 / np.tanh(safe / 2) - 1.0 / safe)
    return logits * (x - 0.5) - log_partition, x - mean


def build(kind, logits, ndims=1, library=distributions):
    elementwise = getattr(distributions if library is distributions else tfd, kind)(logits=logits, dtype=logits.dtype)
    return library.Independent(elementwise, ndims)


class EventLogProbTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.product(kind=KINDS, size=[1, 3, 16, 50, 784], dtype=["float32", "float64"], jit=[False, True])
    def test_value_and_gradient(self, kind, size, dtype, jit):
        logits, x = (a.astype(dtype) for a in numbers(kind, 20, size))

        @tf.function(jit_compile=jit)
        def both(logits, x):
            with tf.GradientTape() as tape:
                tape.watch([logits, x])
                value = build(kind, logits).log_prob(x)
            return value, *tape.gradient(value, [logits, x])

        value, slope, by_x = both(tf.constant(logits), tf.constant(x))
        terms, derivative = exact(kind, logits.astype(np.float64), x.astype(np.float64))
        eps = np.finfo(dtype).eps
        sizes = 1.0 + np.abs(terms).sum(-1) + np.abs(logits).sum(-1)
        self.assertAllLess(np.abs(value - terms.sum(-1)) / sizes, 8 * eps * math.sqrt(size))
        # Where 1 / l and coth(l / 2) / 2 cancel, eps grows by the ratio of what cancels to what is left.
        self.assertAllClose(slope, derivative, rtol=0, atol=(2 if kind == "Bernoulli" else 60) * eps)
        self.assertAllEqual(by_x, logits)

    def test_sums_are_more_accurate_than_elementwise(self):
        logits, x = numbers("Bernoulli", 200, 784)
        rows = np.abs(logits).max(axis=1) == 3.0
        logits, x = (a[rows].astype("float32") for a in (logits, x))
        expected = exact("Bernoulli", logits.astype(np.float64), x.astype(np.float64))[0].sum(-1)
        errors = [
            np.abs(build("Bernoulli", tf.constant(logits), library=library).log_prob(x) - expected).mean()
            for library in (distributions, tfd)
        ]
        self.assertLessEqual(errors[0], 1.5 * errors[1])

    @parameterized.parameters(*KINDS)
    def test_broadcasting_and_events_of_several_axes(self, kind):
        logits, x = (a.astype("float32") for a in numbers(kind, 2, 24, seed=1))
        logits, x = logits.reshape(13, 2, 4, 3, 2)[:, :1], x[:2].reshape(2, 4, 3, 2)
        with tf.GradientTape(persistent=True) as tape:
            variables = tf.constant(logits), tf.constant(x)
            tape.watch(variables)
            values = [build(kind, variables[0], 3, library).log_prob(variables[1]) for library in (distributions, tfd)]
        self.assertEqual(values[0].shape, [13, 2])
        self.assertAllClose(*values, rtol=1e-5, atol=1e-4)
        for gradients in zip(*(tape.gradient(v, variables) for v in values), strict=True):
            self.assertAllClose(*gradients, rtol=1e-4, atol=1e-4)

    @parameterized.parameters(*KINDS)
    def test_second_derivatives(self, kind):
        logits = tf.constant(np.linspace(-4.0, 4.0, 33)[:, None])  # 0 is among them
        with tf.GradientTape() as outer:
            outer.watch(logits)
            with tf.GradientTape() as inner:
                inner.watch(logits)
                value = build(kind, logits).log_prob(tf.zeros_like(logits))
            slope = inner.gradient(value, logits)
        steps = [exact(kind, logits.numpy() + h, 0.0)[1] for h in (1e-4, -1e-4)]
        self.assertAllClose(outer.gradient(slope, logits), (steps[0] - steps[1]) / 2e-4, rtol=1e-5, atol=1e-7)

    def test_x13_where_series_and_formula_meet(self):
        """X13: the log-partition's series ends at |l| = 1/2, the mean's at 1; both sides are exact and smooth."""
        for end in (0.5, 1.0):
            for sign in (-1.0, 1.0):
                logits = sign * (end + np.array([-0.02, -1e-9, 0.0, 1e-9, 0.02]))[:, None]
                at = tf.constant(logits)
                with tf.GradientTape() as tape:
                    tape.watch(at)
                    value = build("ContinuousBernoulli", at).log_prob(tf.zeros_like(at))
                slope = tape.gradient(value, at).numpy()
                terms, derivative = exact("ContinuousBernoulli", logits, 0.0)
                self.assertAllClose(value, terms[:, 0], rtol=0, atol=6e-12)
                self.assertAllClose(slope, derivative, rtol=0, atol=8e-11)
                across = (value[4] - value[0]) / (logits[4, 0] - logits[0, 0])  # a step would show, or a kink
                self.assertAllClose(across, slope[2, 0], rtol=0, atol=1e-5)

    def test_outside_the_unit_interval(self):
        x = np.array([[0.5, 0.2], [1.01, 0.2], [0.5, -0.01], [np.nan, 0.5]])
        value = build("ContinuousBernoulli", tf.ones([4, 2], tf.float64)).log_prob(x).numpy()
        self.assertTrue(np.isfinite(value[0]))
        self.assertAllEqual(value[1:3], [-np.inf, -np.inf])
        self.assertTrue(np.isnan(value[3]))

    @parameterized.parameters("float32", "float64")
    def test_huge_logits(self, dtype):
        logits = tf.constant([[1e8] * 20, [-1e8] * 20], dtype)
        for kind in KINDS:
            value = build(kind, logits).log_prob(tf.constant([[1.0] * 20, [0.0] * 20], dtype))
            expected = 0.0 if kind == "Bernoulli" else 20 * math.log(1e8)
            self.assertAllClose(value, [expected, expected], rtol=1e-6)

    def test_the_continuous_density_integrates_to_one(self):
        nodes, weights = np.polynomial.legendre.leggauss(60)
        x, weights = (nodes[:, None, None] + 1) / 2, weights / 2
        logits = tf.constant(np.array(SIZES[:-2])[:, None])
        density = np.exp(build("ContinuousBernoulli", logits).log_prob(x))
        self.assertAllClose(weights @ density, np.ones(len(SIZES) - 2), rtol=1e-12)
