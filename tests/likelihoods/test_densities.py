"""StudentT, LogNormal and Beta against scipy."""

import math

import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized
from scipy import special, stats

import kvae
from kvae.numerics import beta, noise
from tests.conformance import make_vae

SIZE = 6


def softplus(x):
    return np.logaddexp(0.0, x)


def assigned(weight, value) -> np.ndarray:
    """What a weight holds of a value, as float64."""
    weight.assign(value)
    return np.asarray(weight, np.float64)


def case(name, scale="local", shift=0.0, dtype=None):
    """A likelihood with weights drawn at random, features `[5, ...]` for it, and scipy's distribution for the same."""
    random = np.random.default_rng(0)
    options = {} if name == "Beta" else {"scale": scale}
    likelihood = getattr(kvae.likelihoods, name)(project=False, dtype=dtype, **options)
    likelihood.build(feature_shape=(likelihood.per_element * SIZE,), event_shape=(SIZE,))
    features = random.normal(size=(5, likelihood.per_element * SIZE)).astype(np.float32)
    features[:, SIZE:] += shift
    first, second = features[:, :SIZE].astype(np.float64), features[:, SIZE:].astype(np.float64)
    if name == "Beta":
        k = likelihood.floor + softplus(second)
        return likelihood, features, stats.beta(k * special.expit(first), k * special.expit(-first))
    wide = 2.0 if name == "LogNormal" else 50.0
    center = assigned(likelihood.center, wide * random.normal(size=SIZE))
    spread = assigned(likelihood.spread, np.exp(0.3 * random.normal(size=SIZE)))
    if scale == "local":
        s = 1e-3 + softplus(second)
    else:
        s = 1e-3 + softplus(assigned(likelihood.raw_scale, random.normal(size=SIZE)))
    m, s = center + spread * first, spread * s
    if name == "LogNormal":
        return likelihood, features, stats.lognorm(s, scale=np.exp(m))
    df = 2.01 + softplus(assigned(likelihood.raw_degrees, 3.0 * random.normal(size=SIZE)))
    return likelihood, features, stats.t(df, m, s)


KINDS = [("StudentT", "local"), ("StudentT", "learned"), ("LogNormal", "local"), ("LogNormal", "learned"), ("Beta", "")]


class DensitiesTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(*KINDS)
    def test_density_mean_and_spread(self, name, scale):
        likelihood, features, expected = case(name, scale)
        p = likelihood.distribution(tf.constant(features))
        x = expected.rvs(random_state=1, size=(5, SIZE)).astype(np.float32)
        x = np.clip(x, *likelihood.support.ends).astype(np.float32)
        each = p.distribution.log_prob(x).numpy()
        self.assertAllClose(each, expected.logpdf(x.astype(np.float64)), rtol=1e-5, atol=1e-5)
        self.assertAllClose(p.log_prob(x), each.sum(axis=-1), rtol=1e-6)
        self.assertAllClose(p.mean(), expected.mean(), rtol=1e-5)
        self.assertAllClose(p.stddev(), expected.std(), rtol=1e-4)
        mask = np.random.default_rng(2).random(x.shape) < 0.5
        self.assertAllClose(likelihood.log_prob(p, x, mask), (each * mask).sum(axis=-1), rtol=1e-5)

    @parameterized.parameters(*KINDS)
    @pytest.mark.slow
    def test_quantiles_into_the_tails(self, name, scale):
        """A draw from a uniform number is scipy's quantile, to the ends of the uniform numbers, also under XLA."""
        likelihood, features, expected = case(name, scale)
        u = np.array([2.0**-24, 1e-5, 0.01, 0.3, 0.5, 0.8, 0.999, 1.0 - 2.0**-24], np.float32)
        uniform = np.broadcast_to(u[:, None, None], (8, 5, SIZE))

        def draw(features, uniform):
            return likelihood.draw(likelihood.distribution(features), uniform)

        wanted = np.clip(expected.ppf(uniform.astype(np.float64)), *likelihood.support.ends)
        for jit in (False, True):
            found = tf.function(draw, jit_compile=jit)(tf.constant(features), tf.constant(uniform))
            self.assertAllClose(found, wanted, rtol=3e-5, atol=1e-36 if name != "StudentT" else 1e-4)

    @parameterized.parameters(*KINDS)
    def test_draws(self, name, scale):
        """Kolmogorov and Smirnov's test of 4,000 draws of each element, p-value above 0.001 / 6."""
        likelihood, features, expected = case(name, scale, shift=6.0 * (name == "Beta"))  # hardly any mass at the ends
        uniform = tf.reshape(noise.uniform(1, 2, 0, 4000, SIZE), [4000, 1, SIZE])
        x = likelihood.draw(likelihood.distribution(tf.constant(features[:1])), uniform).numpy()[:, 0]
        self.assertFalse(likelihood.support.outside(x).any())
        for j in range(SIZE):
            value = stats.kstest(expected.cdf(np.repeat(x[:, None], 5, axis=1))[:, 0, j], "uniform").pvalue
            self.assertGreater(value, 0.001 / SIZE)

    @parameterized.parameters(*KINDS)
    def test_gradient_by_differences(self, name, scale):
        likelihood, features, expected = case(name, scale, dtype="float64")
        x = tf.constant(expected.rvs(random_state=1, size=(5, SIZE)).clip(1e-12 if name != "StudentT" else None))
        x = tf.minimum(x, 1.0 - 1e-9) if name == "Beta" else x
        values = tf.constant(features.astype(np.float64))
        with tf.GradientTape() as tape:
            tape.watch(values)
            total = likelihood.distribution(values).log_prob(x)
        gradients = tape.gradient(total, [values, *likelihood.trainable_variables])

        def at(features):
            return likelihood.distribution(tf.constant(features)).log_prob(x).numpy()

        for i in range(features.shape[1]):
            step = np.zeros(features.shape[1])
            step[i] = 1e-6
            wanted = (at(values + step) - at(values - step)) / 2e-6
            self.assertAllClose(gradients[0][:, i], wanted, rtol=1e-5, atol=1e-6)
        for weight, gradient in zip(likelihood.trainable_variables, gradients[1:], strict=True):
            value = weight.numpy()
            for i in range(SIZE):
                step = np.zeros(SIZE)
                step[i] = 1e-6
                up = (weight.assign(value + step), at(values))[1]
                down = (weight.assign(value - step), at(values))[1]
                weight.assign(value)
                self.assertAllClose(gradient[i], (up - down).sum() / 2e-6, rtol=1e-5, atol=1e-6)

    @parameterized.parameters(*KINDS)
    def test_finite_at_the_extremes(self, name, scale):
        """Parameters to +-30 (+-1000 of Beta), x to the ends of the support and 1e6: value and gradients."""
        likelihood, _, _ = case(name, scale)
        raw = [-30.0, -5.0, 0.0, 5.0, 30.0, *([-1000.0, 1000.0] if name == "Beta" else [])]
        grid = np.stack(np.meshgrid(raw, raw), axis=-1).reshape(-1, 2).astype(np.float32)
        features = np.repeat(grid[:, : likelihood.per_element], SIZE, axis=1)
        low, high = likelihood.support.ends
        for x in (low, high, 0.5 * (low + high), min(1e6, high), 1e-7):
            x = np.full((len(features), SIZE), np.float32(x))
            values = tf.constant(features)
            with tf.GradientTape() as tape:
                tape.watch(values)
                p = likelihood.distribution(values)
                log_p = likelihood.log_prob(p, x, np.arange(SIZE) < 3)
            for found in (p.log_prob(x), log_p, *tape.gradient(log_p, [values, *likelihood.trainable_variables])):
                self.assertTrue(np.isfinite(found).all())

    @parameterized.parameters((0.3, 0.9), (2.0, 5.0), (8.0, 12.0), (3e3, 40.0), (2e4, 5e4), (5e4, 5e4))
    def test_narrow_beta(self, a, b):
        """log p and its derivatives by a and b, where the terms of the textbook formula cancel."""
        x = stats.beta.ppf([0.001, 0.2, 0.5, 0.9, 0.999], a, b).astype(np.float32)
        shapes = [tf.constant(np.full(5, t, np.float32)) for t in (a, b)]
        with tf.GradientTape() as tape:
            tape.watch(shapes)
            found = beta.Beta(*shapes).log_prob(x)
        wide = x.astype(np.float64)
        self.assertAllClose(found, stats.beta.logpdf(wide, a, b), rtol=1e-5, atol=1e-4)
        both = special.digamma(a + b)
        wanted = np.log(wide) - special.digamma(a) + both, np.log1p(-wide) - special.digamma(b) + both
        for gradient, exact in zip(tape.gradient(found, shapes), wanted, strict=True):
            self.assertAllClose(gradient, exact, rtol=1e-3, atol=1e-6)

    def test_heavy_tails_pay_less_for_outliers(self):
        """At 10 scales: a normal pays 50 nats, Student's t with 10 degrees of freedom 11 log(1 + 10) / 2."""
        likelihood = kvae.likelihoods.StudentT(project=False)
        likelihood.build(feature_shape=(2,), event_shape=(1,))
        p = likelihood.distribution(tf.constant([[0.0, *likelihood.starts()]]))
        lost = p.log_prob([[0.0]]) - p.log_prob([[10.0]])
        self.assertAllClose(lost, [5.5 * math.log(11.0)], rtol=1e-5)

    @parameterized.parameters("StudentT", "LogNormal")
    def test_another_unit(self, name):
        """x in another unit: after `adapt` log p is lower by log c for each element, and the codes are the same."""
        make, random = getattr(kvae.likelihoods, name), np.random.default_rng(0)
        x = np.exp(random.normal(size=(50, SIZE)) + np.arange(SIZE))
        z, found = random.normal(size=(50, 3)).astype(np.float32), []
        for c in (np.ones(SIZE), np.array([1e3, 0.3, 7.0, 1.0, 9.81, 1e-3])):
            vae, scaled = make_vae(likelihood=make), (c * x).astype(np.float32)
            vae.adapt(scaled)
            found.append((vae.decode(z).distribution.log_prob(scaled) + np.log(c), vae.encode(scaled).mean()))
        for one, other in zip(*found, strict=True):
            self.assertAllClose(one, other, rtol=1e-5, atol=2e-5)


class WithoutLatentsTest(tf.test.TestCase, parameterized.TestCase):
    """`independent_pixels`: nothing that scipy finds has a larger likelihood."""

    def check(self, likelihood, x, logpdf):
        """`logpdf` [N] of a column by scipy's own fit."""
        mask = np.random.default_rng(3).random(x.shape) < 0.9
        holes = {"x": np.where(mask, x, np.nan).astype(np.float32), "mask": mask}
        found = kvae.evaluate.independent_pixels(make_vae(likelihood=likelihood), holes, holes).mean
        wanted = sum(logpdf(x[mask[:, j], j].astype(np.float32).astype(np.float64)).sum() for j in range(SIZE))
        self.assertAllClose(found, wanted / len(x), rtol=1e-4)

    def test_log_normal(self):
        x = np.exp(np.random.default_rng(0).normal(size=(200, SIZE)) * 0.5 + np.arange(SIZE))

        def fit(x):
            return stats.lognorm(np.log(x).std(), scale=np.exp(np.log(x).mean())).logpdf(x)

        for scale in ("local", "learned"):
            self.check(lambda scale=scale: kvae.likelihoods.LogNormal(scale), x, fit)

    @parameterized.parameters("local", "learned")
    def test_student_t(self, scale):
        x = 3.0 * stats.t.rvs(4.0, size=(300, SIZE), random_state=0) + 7.0

        def fit(x):
            return stats.t(*stats.t.fit(x, 5.0, loc=np.median(x), scale=x.std())).logpdf(x)

        self.check(lambda: kvae.likelihoods.StudentT(scale), x, fit)

    def test_beta(self):
        x = stats.beta.rvs(0.8, 3.0, size=(300, SIZE), random_state=0).clip(1e-6, 1.0 - 1e-6)

        def fit(x):
            return stats.beta(*stats.beta.fit(x, floc=0.0, fscale=1.0)).logpdf(x)

        self.check(kvae.likelihoods.Beta, x, fit)


if __name__ == "__main__":
    tf.test.main()
