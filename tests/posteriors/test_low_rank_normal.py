"""The normal with a covariance of diagonal plus low rank, against SciPy and double precision."""

import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from scipy import stats
from tensorflow_probability import distributions as tfd

import kvae
from kvae.numerics import divergences
from kvae.numerics.low_rank import LowRankNormal


def given(batch, size, rank, seed=0, spread=1.0):
    random = np.random.default_rng(seed)
    shapes = (batch, size), (batch, size), (batch, size, rank)
    loc, raw, loadings = (random.normal(size=shape) for shape in shapes)
    return loc, np.exp(raw), spread * loadings


def covariance(scale, loadings):
    factor = scale[..., None] * loadings
    return np.square(scale)[..., None] * np.eye(scale.shape[-1]) + factor @ np.swapaxes(factor, -1, -2)


class LowRankNormalTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters((1, 1), (4, 1), (5, 2), (3, 5))
    def test_density(self, size, rank):
        loc, scale, loadings = given(3, size, rank)
        q, full = LowRankNormal(*map(tf.constant, (loc, scale, loadings))), covariance(scale, loadings)
        z = np.random.default_rng(1).normal(0.0, 3.0, (7, 3, size))
        exact = [stats.multivariate_normal(loc[b], full[b]) for b in range(3)]
        self.assertAllClose(q.log_prob(z), np.stack([exact[b].logpdf(z[:, b]).reshape(7) for b in range(3)], 1))
        self.assertAllClose(q.entropy(), [one.entropy() for one in exact])
        self.assertAllClose(q.covariance(), full)
        self.assertAllClose(q.stddev(), np.sqrt(np.diagonal(full, axis1=1, axis2=2)))
        self.assertAllEqual(q.mean(), loc)

    def test_kl_is_that_of_the_full_covariance(self):
        loc, scale, loadings = given(3, 5, 2)
        q = LowRankNormal(*map(tf.constant, (loc, scale, loadings)))
        full = tfd.MultivariateNormalFullCovariance(loc, covariance(scale, loadings))
        p = tfd.MultivariateNormalDiag(*map(tf.constant, (loc[0] + 1.0, scale[1])))
        self.assertAllClose(divergences.kl(q, p), tfd.kl_divergence(full, p), rtol=1e-10)
        self.assertIsNone(divergences.kl_per_dim(q, p))

    @parameterized.parameters(1.0, 100.0)
    def test_single_precision(self, spread):
        """Equal columns of W, as large as they become: to float32 C would be singular, and Woodbury's form cancel."""
        loc, scale, loadings = given(20, 16, 1, spread=spread)
        loadings = np.repeat(np.clip(loadings, -100.0, 100.0), 3, axis=2).astype(np.float32)
        loc, scale = loc.astype(np.float32), scale.astype(np.float32)
        q = LowRankNormal(*map(tf.constant, (loc, scale, loadings)))
        eps = np.random.default_rng(2).normal(size=(20, 19)).astype(np.float32)
        wide = [values.astype(np.float64) for values in (loc, scale, loadings, eps)]
        one, two = wide[3][:, :16], wide[3][:, 16:]
        r = one + np.einsum("bdr,br->bd", wide[2], two)
        inner = np.eye(16) + wide[2] @ np.swapaxes(wide[2], 1, 2)
        square = np.einsum("bd,bd->b", r, np.linalg.solve(inner, r[..., None])[..., 0])
        logs = np.linalg.slogdet(inner)[1] + 2.0 * np.log(wide[1]).sum(axis=1)
        exact = -0.5 * (square + logs + 16 * np.log(2 * np.pi))
        z, log_q = q.drawn(tf.constant(eps))
        self.assertAllClose(z, wide[0] + wide[1] * r, rtol=1e-5, atol=1e-4)
        self.assertAllClose(log_q, exact, rtol=1e-6, atol=2e-5)
        self.assertAllClose(q.log_prob(z), exact, atol=1e-3)  # to the rounding of z

    def test_xla(self):
        posterior = kvae.posteriors.LowRankNormal(2, project=False)
        posterior.build((16,), 4)
        parameters = tf.constant(np.random.default_rng(0).normal(size=(6, 16)), tf.float32)
        eps = tf.constant(np.random.default_rng(1).normal(size=(3, 6, 6)), tf.float32)
        prior = tfd.MultivariateNormalDiag(tf.zeros([4]), tf.ones([4]))

        def run(parameters):
            with tf.GradientTape() as tape:
                tape.watch(parameters)
                q = posterior.of(parameters)
                z, log_q = posterior.drawn(q, eps)
                kl = divergences.kl(q, prior)
                total = tf.reduce_sum(log_q) + tf.reduce_sum(q.log_prob(2.0 * z)) + tf.reduce_sum(kl)
            return z, log_q, kl, tape.gradient(total, parameters)

        for found, value in zip(tf.function(run, jit_compile=True)(parameters), run(parameters), strict=True):
            self.assertAllClose(found, value, rtol=1e-4, atol=1e-4)

    def test_sample(self):
        """The distribution's own `sample`, which kvae does not use."""
        loc, scale, loadings = given(2, 3, 2)
        z = LowRankNormal(*map(tf.constant, (loc, scale, loadings))).sample(40_000, seed=1).numpy()
        full = covariance(scale, loadings)
        for b in range(2):
            error = np.cov(z[:, b].T) - full[b]
            bound = np.sqrt((np.outer(*[np.diag(full[b])] * 2) + np.square(full[b])) / 40_000)
            self.assertLess(np.abs(error / bound).max(), 4.0)
