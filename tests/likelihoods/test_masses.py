"""The likelihoods of integers, against SciPy in float64."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized
from scipy import optimize, special, stats

import kvae
from kvae.numerics import masses
from kvae.numerics.counts import NegativeBinomial, Poisson, ZeroInflated
from kvae.numerics.levels import Categorical, DiscretizedLogistic, Ordinal
from tests.conformance import LIKELIHOODS, NETWORKS

PARTS = [2.0**k for k in range(-10, 20, 3)]  # of means and concentrations
UNIFORM = np.concatenate([[1e-6, 2.0**-24], np.linspace(0.003, 0.997, 200), [1.0 - 1e-6, 1.0 - 2.0**-24]])


def built(likelihood, *event):
    """Without a projection: features are the parameters."""
    likelihood.build(feature_shape=(likelihood.per_element * int(np.prod(event)),), event_shape=event)
    return likelihood


def float32(values):
    return np.asarray(values, np.float32)


def everywhere(function):
    """Its results eagerly, in a graph and under XLA."""
    return [function(), tf.function(function)(), tf.function(function, jit_compile=True)()]


class Checks(parameterized.TestCase):
    def check_quantile(self, mass, reference):
        """The quantile is SciPy's wherever u is not within float32's rounding of a jump of the CDF."""
        u = float32(UNIFORM)[:, None]
        for found in everywhere(lambda: mass.quantile(tf.constant(u))):
            found = found.numpy().astype(np.float64)
            slack = 2e-6
            self.assertTrue((reference.cdf(found) >= u * (1 - slack)).all())
            self.assertTrue((reference.sf(found) <= (1.0 - u.astype(np.float64)) * (1 + slack) + slack).all())
            self.assertTrue((reference.cdf(found - 1.0) <= u * (1 + slack)).all())

    def check_moments(self, mass, reference, rtol=2e-6):
        self.assertAllClose(mass.mean(), np.broadcast_to(reference.mean(), mass.batch_shape), rtol=rtol)
        self.assertAllClose(mass.stddev(), np.broadcast_to(reference.std(), mass.batch_shape), rtol=rtol)

    def check_log_prob(self, mass, reference, x, atol=2e-6):
        """Relative to the size of log p, or absolute where it is small."""
        expected = reference.logpmf(x)
        for found in everywhere(lambda: mass.log_prob(float32(x))):
            self.assertAllClose(
                found / np.maximum(1.0, np.abs(expected)), expected / np.maximum(1.0, np.abs(expected)), atol=atol
            )
        self.assertAllEqual(mass.log_prob(x.astype(np.int64)), mass.log_prob(float32(x)))


class BetaBinomialTest(tf.test.TestCase, Checks):
    def test_sixteen_bits(self):
        """Of many levels a table holds its own, and the quantile is that of SciPy's masses."""
        n, logits, concentration = 65_535, float32([-6.0, 0.5, 3.0]), float32([0.3, 30.0, 1e5])
        mass = masses.BetaBinomial(tf.constant(logits), tf.constant(concentration), n)
        m = special.expit(logits.astype(np.float64))
        k = np.arange(n + 1.0)[:, None]
        reference = stats.betabinom(n, concentration * m, concentration * (1.0 - m)).pmf(k)  # [n + 1, 3]
        first = tf.constant([-5.0, 40_000.0, n - 20.0])
        table = tf.function(lambda first: mass.table(first, 64)).get_concrete_function(first)
        shapes = [out.shape for operation in table.graph.get_operations() for out in operation.outputs]
        self.assertEqual(max(size or 0 for shape in shapes if shape.rank for size in shape), 64)
        index = first.numpy().astype(int)[:, None] + np.arange(64)
        inside = (index >= 0) & (index <= n)
        expected = np.where(inside, reference[index.clip(0, n), np.arange(3)[:, None]], 0.0)
        self.assertAllClose(table(first), expected, rtol=1e-5, atol=1e-30)
        total = np.cumsum(reference, axis=0)
        for u in (2.0**-20, 0.25, 0.9, 1.0 - 2.0**-20):
            found = mass.quantile(tf.fill([3], np.float32(u))).numpy().astype(int)
            self.assertTrue((total[found, range(3)] >= u - 1e-9).all())
            self.assertTrue((np.where(found > 0, total[found - 1, range(3)], 0.0) < u + 1e-9).all())

    @parameterized.parameters(1, 7, 255)
    def test_mass(self, n):
        logits, concentration = (p.ravel() for p in np.meshgrid(float32([-9.0, -0.7, 0.0, 2.0, 14.0]), float32(PARTS)))
        wide = logits.astype(np.float64)
        a, b = concentration * special.expit(wide), concentration * special.expit(-wide)
        mass, reference = (
            masses.BetaBinomial(tf.constant(logits), tf.constant(concentration), n),
            stats.betabinom(n, a, b),
        )
        x = np.arange(n + 1.0)[:, None] + np.zeros(len(a))
        self.check_log_prob(mass, reference, x)
        self.assertAllClose(
            np.exp(mass.log_prob(float32(x)).numpy().astype(np.float64)).sum(0), np.ones(len(a)), atol=1e-6
        )
        self.check_moments(mass, reference)
        some = slice(0, len(a), 7)
        self.check_quantile(
            masses.BetaBinomial(tf.constant(logits[some]), tf.constant(concentration[some]), n),
            stats.betabinom(n, a[some], b[some]),
        )

    def test_outside_of_the_support(self):
        mass = masses.BetaBinomial(tf.zeros([]), tf.ones([]), 3)
        found = mass.log_prob(float32([-1.0, 0.5, 4.0, np.nan, 3.0]))
        self.assertAllEqual(found[:4], np.full(4, -np.inf))
        self.assertAllClose(found[4], stats.betabinom(3, 0.5, 0.5).logpmf(3), rtol=1e-6)

    def test_whole_images(self):
        """The sum over 784 elements to 0.001 nats."""
        random = np.random.default_rng(0)
        logits, raw = random.normal(size=(2, 5, 784)).astype("f") * [[[3.0]], [[8.0]]]
        likelihood = built(kvae.likelihoods.BetaBinomial(project=False), 28, 28, 1)
        p = likelihood.distribution(tf.constant(np.concatenate([logits, raw], axis=1), tf.float32))
        logits, raw = (float32(p).astype(np.float64) for p in (logits, raw))
        c = 1e-3 + np.logaddexp(0.0, raw)
        reference = stats.betabinom(255, c * special.expit(logits), c * special.expit(-logits))
        x = reference.rvs(random_state=1)
        expected = reference.logpmf(x).sum(axis=1)
        for found in everywhere(lambda: p.log_prob(float32(x.reshape(5, 28, 28, 1)))):
            self.assertAllClose(found, expected, atol=1e-3, rtol=0.0)

    def test_binomial_in_the_limit(self):
        likelihood = built(kvae.likelihoods.BetaBinomial(255, project=False), 1)
        x = np.arange(256.0)
        found = likelihood.distribution(tf.constant([[-1.2, 1e9]])).prob(float32(x[:, None]))
        m = special.expit(np.float64(np.float32(-1.2)))
        self.assertAllClose(
            found, stats.binom(255, m).pmf(x), atol=2e-5
        )  # the cap is at 1e6, 255 / 1e6 off in variance
        self.assertAllClose(found, stats.betabinom(255, 1e6 * m, 1e6 * (1 - m)).pmf(x), atol=1e-7)

    def test_gradient(self):
        """By differences of SciPy's log-mass."""
        x, at = np.array([0.0, 1.0, 100.0, 255.0]), np.array([-0.4, 3.0])
        likelihood = built(kvae.likelihoods.BetaBinomial(255, project=False), 1)
        features = tf.Variable(float32(np.tile(at, (4, 1))))
        with tf.GradientTape() as tape:
            log_p = likelihood.distribution(features).log_prob(float32(x[:, None]))
        found = tape.gradient(log_p, features)

        def by_scipy(p):
            c = 1e-3 + np.logaddexp(0.0, p[1])
            return stats.betabinom(255, c * special.expit(p[0]), c * special.expit(-p[0])).logpmf(x)

        self.assertAllClose(found, optimize.approx_fprime(at, by_scipy, 1e-6), rtol=1e-4, atol=1e-4)

    def test_adapt_to_a_beta_binomial(self):
        """The mean and the variance of the data, to the variance that `least` adds."""
        x = stats.betabinom(255, 2.0, 5.0).rvs(size=(4000, 3), random_state=0).astype("f")
        vae = kvae.VAE(*kvae.networks.mlp((3,), 2, hidden=(4,)), likelihood="beta_binomial")
        vae.adapt(x)
        p = vae.likelihood.distribution(tf.zeros([1, 4]))
        self.assertAllClose(p.mean()[0], x.mean(axis=0), rtol=1e-5)
        self.assertAllClose(p.variance()[0], x.var(axis=0, dtype=np.float64) + 1e-3 * 255 * 257 / 12, rtol=1e-4)
        baseline = kvae.evaluate.independent_pixels(vae, x, x).mean
        self.assertAllClose(baseline, 3 * stats.betabinom(255, 2.0, 5.0).entropy() * -1.0, rtol=2e-3)


class DiscretizedLogisticTest(tf.test.TestCase, Checks):
    def reference(self, loc, scale, weights, levels):
        """Log-masses of all levels `[K, ...]`, by SciPy: differences of the smaller tails."""
        edges = np.arange(levels - 1) + 0.5
        cdf = stats.logistic.logcdf((edges[:, None, None] - loc) / scale)
        sf = stats.logistic.logsf((edges[:, None, None] - loc) / scale)
        ends = cdf[:1], sf[-1:]
        with np.errstate(divide="ignore"):  # in the one that is not used
            lower = cdf[1:] + np.log(-np.expm1(cdf[:-1] - cdf[1:]))
            upper = sf[:-1] + np.log(-np.expm1(sf[1:] - sf[:-1]))
        inner = np.where(cdf[1:] < np.log(0.5), lower, upper)
        each = np.concatenate([ends[0], inner, ends[1]])
        return special.logsumexp(each + np.log(weights), axis=-1)

    @parameterized.parameters((2, 1), (5, 3), (256, 1), (256, 4))
    def test_mass(self, levels, components):
        random = np.random.default_rng(levels + components)
        loc = float32(random.uniform(-0.3, 1.3, (40, components)) * (levels - 1))
        scale, logits = float32(np.exp(random.uniform(-2, 6, loc.shape))), float32(random.normal(size=loc.shape))
        wide = (p.astype(np.float64) for p in (loc, scale))
        log_p = self.reference(*wide, special.softmax(logits.astype(np.float64), axis=-1), levels)
        mass = DiscretizedLogistic(*map(tf.constant, (loc, scale, logits)), levels)
        x = float32(np.arange(levels)[:, None] + np.zeros(40))
        for found in everywhere(lambda: mass.log_prob(x)):
            self.assertAllClose(found / np.maximum(1.0, -log_p), log_p / np.maximum(1.0, -log_p), atol=3e-6)
        p, k = np.exp(log_p), np.arange(levels)[:, None]
        self.assertAllClose(np.exp(mass.log_prob(x).numpy().astype(np.float64)).sum(axis=0), np.ones(40), atol=1e-6)
        for found in everywhere(mass.mean):
            self.assertAllClose(found, (k * p).sum(0), rtol=2e-6, atol=1e-6)
        self.assertAllClose(mass.stddev(), np.sqrt((p * (k - (k * p).sum(0)) ** 2).sum(0)), rtol=1e-5, atol=1e-5)
        u = float32(UNIFORM)[:, None]
        below = np.concatenate([np.zeros((1, 40)), np.cumsum(p, axis=0)])
        for found in everywhere(lambda: mass.quantile(u)):
            k = found.numpy().astype(int)
            self.assertTrue((np.take_along_axis(below[1:], k, 0) >= u - 1e-6).all())
            self.assertTrue((np.take_along_axis(below, k, 0) <= u + 1e-6).all())

    def test_whole_images(self):
        random = np.random.default_rng(0)
        features = float32(random.normal(size=(4, 2 * 784)) * np.repeat([1.0, 4.0], 784))
        p = built(kvae.likelihoods.DiscretizedLogistic(project=False), 784).distribution(tf.constant(features))
        u, v = np.split(features.astype(np.float64), 2, axis=-1)
        scale = np.minimum(0.1 + 127.5 * np.logaddexp(0.0, v), 1275.0)
        x = p.distribution.quantile(float32(random.uniform(0.01, 0.99, (4, 784)))).numpy().astype(int)
        loc = 127.5 * (1.0 + u)
        log_p = self.reference(loc.reshape(-1, 1), scale.reshape(-1, 1), np.ones(1), 256)
        expected = np.take_along_axis(log_p, x.reshape(1, -1), 0).reshape(4, 784).sum(axis=1)
        for found in everywhere(lambda: p.log_prob(float32(x))):
            self.assertAllClose(found, expected, rtol=0.0, atol=1e-3)

    def test_components_start_apart_with_the_mean_of_the_data(self):
        x = np.random.default_rng(0).integers(100, 200, (500, 3))
        vae = kvae.VAE(
            *kvae.networks.mlp((3,), 2, hidden=(4,)), likelihood=kvae.likelihoods.DiscretizedLogistic(256, 3)
        )
        vae.adapt(x)
        p = vae.likelihood.distribution(tf.zeros([1, 4]))
        self.assertAllClose(p.mean()[0], x.mean(axis=0), rtol=1e-4)
        self.assertAllClose(np.diff(p.distribution.loc), np.full((1, 3, 2), 127.5), rtol=1e-5)


class LevelsTest(tf.test.TestCase, Checks):
    def check_levels(self, mass, p):
        """All figures of a mass with the probabilities p `[B, K]`."""
        k = np.arange(p.shape[-1])
        x = float32(k[:, None] + np.zeros(len(p)))
        for found in everywhere(lambda: mass.log_prob(x)):
            self.assertAllClose(found, np.log(p).T, rtol=1e-5, atol=2e-6)
        mean = (k * p).sum(-1)
        self.assertAllClose(mass.mean(), mean, rtol=1e-6, atol=1e-6)
        self.assertAllClose(mass.variance(), (p * (k - mean[:, None]) ** 2).sum(-1), rtol=1e-5, atol=1e-6)
        self.assertAllEqual(mass.mode(), p.argmax(-1))
        u = float32(UNIFORM)[:, None]
        below = np.concatenate([np.zeros((len(p), 1)), np.cumsum(p, axis=-1)], axis=-1).T
        for found in everywhere(lambda: mass.quantile(u)):
            found = found.numpy().astype(int)
            self.assertTrue((np.take_along_axis(below[1:], found, 0) >= u - 1e-6).all())
            self.assertTrue((np.take_along_axis(below, found, 0) <= u + 1e-6).all())

    @parameterized.parameters(2, 5, 40)
    def test_categorical(self, levels):
        logits = float32(np.random.default_rng(0).normal(size=(9, levels)) * 5.0)
        self.check_levels(Categorical(tf.constant(logits)), special.softmax(logits.astype(np.float64), axis=-1))

    @parameterized.parameters(3, 5, 40)
    def test_ordinal(self, levels):
        random = np.random.default_rng(0)
        location, first = float32(random.normal(size=(2, 9)) * 4.0)
        steps = float32(random.exponential(size=(9, levels - 2)) + 0.01)
        wide = steps.astype(np.float64)
        ends = (
            first[:, None] + np.concatenate([np.zeros((9, 1)), np.cumsum(wide, axis=-1)], axis=-1) - location[:, None]
        )
        p = -np.diff(np.concatenate([np.ones((9, 1)), special.expit(-ends), np.zeros((9, 1))], axis=-1), axis=-1)
        self.check_levels(Ordinal(tf.constant(location), tf.constant(first), tf.constant(steps)), p)

    def test_many_axes(self):
        """Several draws of z for images of two channels: six axes with that of the levels."""
        logits = float32(np.random.default_rng(0).normal(size=(3, 2, 2, 3, 2, 4)))
        p = special.softmax(logits.astype(np.float64), axis=-1)
        for mean in everywhere(lambda: Categorical(tf.constant(logits) + tf.zeros([1])).mean()):
            self.assertAllClose(mean, (np.arange(4) * p).sum(-1), rtol=1e-6)
        scale, k = tf.ones_like(logits), np.arange(1, 5)[:, None]
        tails = special.expit(1.5 - k + 0.5).sum()  # of every component alike
        for mean in everywhere(lambda: DiscretizedLogistic(1.5 * scale, scale, tf.constant(logits), 5).mean()):
            self.assertAllClose(mean, np.full(logits.shape[:-1], tails), rtol=1e-5)

    def test_ordinal_starts_with_equal_levels(self):
        likelihood = built(kvae.likelihoods.Ordinal(7, project=False), 3)
        p = likelihood.distribution(tf.zeros([1, 3]))
        self.assertAllClose(
            p.distribution.prob(np.arange(7.0, dtype="f")[:, None, None]), np.full((7, 1, 3), 1 / 7), rtol=1e-5
        )

    @parameterized.parameters("mlp_image", "conv_odd")
    def test_adapt_to_frequencies(self, network):
        """Of the levels in each element, or in each channel over the places; NumPy counts them."""
        shape, networks = NETWORKS[network]
        x = np.random.default_rng(0).binomial(3, 0.3, (50, *shape))
        counts = np.stack([x == k for k in range(4)], -1).mean(axis=0 if network == "mlp_image" else (0, 1, 2))
        for likelihood in (kvae.likelihoods.Categorical(4), kvae.likelihoods.Ordinal(4)):
            vae = kvae.VAE(*networks(shape), likelihood=likelihood)
            vae.adapt(x)
            kernel = likelihood.projection.kernel
            kernel.assign(tf.zeros_like(kernel))
            found = vae.decode(np.zeros((1, 3), "f")).distribution.prob(
                np.arange(4.0, dtype="f").reshape(4, *[1] * x.ndim)
            )
            expected = np.broadcast_to(counts, (*shape, 4))
            self.assertAllClose(np.moveaxis(found, 0, -1)[0], expected, atol=1e-3)

    def test_independent_elements(self):
        """Frequencies with one observation more, spread over the levels."""
        x = np.random.default_rng(0).binomial(3, 0.3, (60, 6)).astype("f")
        p = (np.stack([(x[:40] == k).sum(0) for k in range(4)]) + 0.25) / 41
        expected = np.log(np.take_along_axis(p, x[40:].astype(int), 0)).sum(1).mean()
        for likelihood in (kvae.likelihoods.Categorical(4), kvae.likelihoods.Ordinal(4)):
            vae = kvae.VAE(*kvae.networks.mlp((6,), 2, hidden=()), likelihood=likelihood)
            before = [np.array(w) for w in vae.weights]
            found = kvae.evaluate.independent_pixels(vae, x[:40], x[40:])
            self.assertAllClose(found.mean, expected, rtol=1e-5)
            self.assertAllEqual(before[-1], vae.weights[-1])  # the model's own cutpoints stay


class CountsTest(tf.test.TestCase, Checks):
    def check_counts(self, mass, reference):
        """All figures of masses `[B]`, at their quantiles and far beyond."""
        x = reference.ppf(np.array([1e-9, 1e-3, 0.1, 0.5, 0.9, 0.999, 1 - 1e-9])[:, None])
        self.check_log_prob(mass, reference, np.concatenate([x, np.zeros_like(x[:1]), 3.0 * x.max(0, keepdims=True)]))
        self.check_moments(mass, reference, rtol=3e-6)
        self.check_quantile(mass, reference)

    def test_poisson(self):
        log_rate = float32(np.log([0.001, 0.7, 20.0, 3000.0, 2e4, 1e7]))
        self.check_counts(Poisson(tf.constant(log_rate)), stats.poisson(np.exp(log_rate.astype(np.float64))))

    def test_negative_binomial(self):
        means, concentrations = np.meshgrid([0.01, 1.0, 300.0, 1e6], [0.01, 1.0, 70.0, 1e5])
        log_mean, r = float32(np.log(means.ravel())), float32(concentrations.ravel())
        wide = r.astype(np.float64)
        reference = stats.nbinom(wide, wide / (wide + np.exp(log_mean.astype(np.float64))))
        self.check_counts(NegativeBinomial(tf.constant(log_mean), tf.constant(r)), reference)

    def test_poisson_in_the_limit(self):
        x = np.arange(30.0)
        found = NegativeBinomial(tf.math.log([4.0]), tf.constant([1e6])).prob(float32(x[:, None]))[:, 0]
        self.assertAllClose(found, stats.poisson(4.0).pmf(x), atol=2e-6)

    @pytest.mark.slow
    def test_zero_inflated(self):
        x = np.arange(40.0)[:, None]
        for logit in (-30.0, -2.0, 0.3, 6.0):
            pi = special.expit(np.float64(np.float32(logit)))
            p = (1 - pi) * stats.poisson(3.0).pmf(x) + pi * (x == 0)
            mass = ZeroInflated(Poisson(tf.math.log([3.0])), tf.constant([logit]))
            for found in everywhere(lambda mass=mass: mass.log_prob(float32(x))):
                self.assertAllClose(found, np.log(p), rtol=2e-6, atol=2e-6)
            mean = (x * p).sum(0)
            self.assertAllClose(mass.mean(), mean, rtol=1e-5)
            self.assertAllClose(mass.variance(), (x**2 * p).sum(0) - mean**2, rtol=1e-4)
            below, u = np.concatenate([[0.0], np.cumsum(p)]), float32(UNIFORM)[:, None]
            for found in everywhere(lambda mass=mass, u=u: mass.quantile(u)):
                k = found.numpy().astype(int)
                self.assertTrue((below[k + 1] >= u - 1e-6).all())
                self.assertTrue((below[k] <= u + 1e-6).all())

    def test_rates_beyond_the_cap(self):
        """The value stays, the gradient shows the way back, and nothing overflows."""
        likelihood = built(kvae.likelihoods.Poisson(project=False), 1)
        features = tf.Variable([[16.0], [17.0], [200.0]])
        with tf.GradientTape() as tape:
            p = likelihood.distribution(features)
            log_p = p.log_prob(tf.zeros([3, 1]))
        self.assertAllClose(p.mean()[:, 0], [np.exp(16.0), 2.0**24, 2.0**24], rtol=2e-6)
        self.assertAllClose(tape.gradient(log_p, features)[:, 0], [-np.exp(16.0), -(2.0**24), -(2.0**24)], rtol=2e-6)

    @parameterized.parameters("poisson", "negative_binomial", "zero_inflated_poisson", "zero_inflated_beta_binomial")
    def test_fitted(self, name):
        """Independent elements fitted to draws have the log-mass of the truth, to the errors of the fit."""
        random = np.random.default_rng(0)
        n = 4000
        x, truth = {
            "poisson": lambda: (random.poisson(3.0, (n, 2)), stats.poisson(3.0).logpmf),
            "negative_binomial": lambda: (random.negative_binomial(2, 0.2, (n, 2)), stats.nbinom(2, 0.2).logpmf),
            "zero_inflated_poisson": lambda: (
                random.poisson(3.0, (n, 2)) * (random.random((n, 2)) < 0.6),
                lambda x: np.log(0.6 * stats.poisson(3.0).pmf(x) + 0.4 * (x == 0)),
            ),
            "zero_inflated_beta_binomial": lambda: (
                stats.betabinom(20, 3.0, 2.0).rvs((n, 2), random) * (random.random((n, 2)) < 0.6),
                lambda x: np.log(0.6 * stats.betabinom(20, 3.0, 2.0).pmf(x) + 0.4 * (x == 0)),
            ),
        }[name]()
        vae = kvae.VAE(*kvae.networks.mlp((2,), 2, hidden=()), likelihood=LIKELIHOODS[name]())
        found = kvae.evaluate.independent_pixels(vae, x, x)
        self.assertAllClose(found.mean, truth(x).sum(axis=1).mean(), atol=0.005)
        vae.adapt(x)
        p = vae.likelihood.distribution(tf.zeros([1, 2]))
        self.assertAllClose(p.mean()[0], x.mean(axis=0), rtol=1e-3)
        self.assertAllClose(p.variance()[0], x.var(axis=0), rtol=0.03)
        zeros = (x == 0).mean(axis=0)
        self.assertAllClose(p.distribution.prob(0.0)[0], zeros, atol=4.0 * np.sqrt(zeros.max() / n), rtol=0.0)
        if "inflated" in name:  # by the zeros themselves
            self.assertAllClose(p.distribution.prob(0.0)[0], zeros, rtol=1e-4)


class EncoderTest(tf.test.TestCase, parameterized.TestCase):
    def test_what_the_encoder_sees(self):
        counts = np.random.default_rng(0).poisson(4.0, (200, 6))
        vae = kvae.VAE(*NETWORKS["mlp"][1]((6,)), likelihood="poisson")
        vae.adapt(counts)
        seen = vae.likelihood.seen(tf.constant(counts, tf.float32)).numpy()
        self.assertAllClose(seen.mean(axis=0), np.zeros(6), atol=1e-5)
        self.assertAllClose(seen.std(axis=0), np.ones(6), rtol=1e-4)
        self.assertAllEqual(vae.likelihood.neutral, np.rint(np.expm1(np.log1p(counts).mean(axis=0))))
        for likelihood, high in ((kvae.likelihoods.BetaBinomial(), 255.0), (kvae.likelihoods.Ordinal(5), 4.0)):
            self.assertAllClose(built(likelihood, 2).seen(tf.constant([[0.0, high]])), [[0.0, 1.0]])
            self.assertEqual(likelihood.neutral, high // 2)

    def test_float_and_integer_arrays(self):
        x = np.random.default_rng(0).integers(0, 256, (8, 6))
        vae = kvae.VAE(*NETWORKS["mlp"][1]((6,)), likelihood="beta_binomial")
        expected = vae.elbo(x.astype(np.float32), seed=0)
        for dtype in (np.uint8, np.int64, np.float64):
            self.assertAllEqual(vae.elbo(x.astype(dtype), seed=0), expected)

    def test_a_class_out_of_what_the_encoder_sees(self):
        """Rescaling by K - 1 and an offset of 0.5, as the documents say, and the whole part is the class."""
        for levels in (2, 3, 4, 7, 50, 255, 256, 1000):
            likelihood = built(kvae.likelihoods.Categorical(levels), 1)
            k = np.arange(levels, dtype=np.float32)[:, None]
            number = keras.layers.Rescaling(levels - 1, offset=0.5)(likelihood.seen(tf.constant(k)))
            self.assertAllEqual(tf.cast(number, tf.int32), k)

    def test_zero_inflated_keeps_its_inner_likelihood(self):
        inner = kvae.likelihoods.BetaBinomial(9, kernel_size=3)
        one, other = kvae.likelihoods.ZeroInflated(inner), kvae.likelihoods.ZeroInflated(inner)
        self.assertFalse(inner.taken or inner.built)
        self.assertIsNot(one.likelihood, other.likelihood)
        again = kvae.likelihoods.ZeroInflated.from_config(one.get_config())
        self.assertEqual((again.likelihood.count, again.support.high, again.kernel_size), (9, 9.0, 1))

    @pytest.mark.slow
    def test_served(self):
        """Rows that hold no integers are marked; the others are those of the model."""
        for name in ("beta_binomial", "poisson"):
            vae = kvae.VAE(*NETWORKS["mlp"][1]((6,)), likelihood=name)
            x = np.random.default_rng(0).integers(0, 9, (4, 6)).astype(np.float32)
            wrong = x.copy()
            wrong[1, 2], wrong[2, 3] = 0.5, -1.0
            path = vae.export(f"{self.create_tempdir().full_path}/1", verbose=False)
            served = tf.saved_model.load(path).signatures
            found = served["score"](x=tf.constant(wrong), seed=tf.range(4))
            self.assertAllEqual(found["valid"], [True, False, False, True])
            self.assertTrue(all(np.isfinite(value).all() for value in found.values()))
            expected = served["score"](x=tf.constant(x), seed=tf.range(4))["elbo"]
            self.assertAllClose(found["elbo"].numpy()[[0, 3]], expected.numpy()[[0, 3]], rtol=1e-5)
            support = json.loads((Path(path) / "assets.extra" / "manifest.json").read_text())["support"]
            high = 255.0 if name == "beta_binomial" else None
            name = "the integers 0..255" if high else "the integers 0, 1, 2, ..."
            self.assertEqual(support, {"name": name, "low": 0.0, "high": high, "integer": True})


if __name__ == "__main__":
    tf.test.main()
