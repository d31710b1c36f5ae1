"""One Gaussian with a full covariance, against SciPy, against numerical maximisation, and where the answer is exact."""

import math

import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized
from scipy import optimize, stats

import kvae
from kvae.evaluate import Gaussian, gaussian
from tests.conformance import make_vae


def correlated(n, d, seed=0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.normal(size=(n, d)) @ random.normal(size=(d, d)) + np.arange(d)


class GaussianTest(tf.test.TestCase, parameterized.TestCase):
    def test_all_observed(self):
        x = correlated(300, 6).astype(np.float32)
        train, test = x[:200], x[200:]
        exact = stats.multivariate_normal(train.mean(0, np.float64), np.cov(train.T, bias=True)).logpdf(test)
        found = gaussian(make_vae(), train, test)
        self.assertAllClose(found.mean, exact.mean(), rtol=1e-10)
        self.assertAllClose(found.standard_error, exact.std(ddof=1) / 10, rtol=1e-8)
        self.assertEqual((found.unit, found.measure, found.monte_carlo_error), ("nats", "density", 0.0))
        self.assertAllClose(Gaussian.fit(train).log_prob(test), exact, rtol=1e-10)

    def test_what_is_no_normal_distribution(self):
        for mean, covariance, message in (
            ([0.0, np.nan], np.eye(2), "mean holds values that are not finite"),
            (None, np.eye(2), "mean must be an array of numbers"),
            ([0.0, 0.0], "eye", "covariance must be an array of numbers"),
            ([0.0, 0.0], np.eye(3), r"covariance must have shape \(2, 2\), got \(3, 3\)"),
            ([0.0, 0.0], [[1.0, 2.0], [2.0, 1.0]], "symmetric and positive definite"),
            ([0.0, 0.0], [[1.0, 0.5], [0.0, 1.0]], "symmetric and positive definite"),
            ([0.0, 0.0], np.diag([1.0, 0.0]), "symmetric and positive definite"),
        ):
            with self.assertRaisesRegex(ValueError, message):
                Gaussian(mean, covariance)
        with self.assertRaisesRegex(ValueError, "x must hold real numbers"):
            Gaussian([0.0, 0.0], np.eye(2)).impute(np.array([["a", "b"]]))
        with self.assertRaisesRegex(ValueError, "ridge must hold real numbers"):
            Gaussian.fit(correlated(20, 2), ridge=["a", "b"])
        masked = np.ma.masked_array([[2.0, 7.0]], [[False, True]])  # E[x_2 | x_1 = 2] = 1
        self.assertAllClose(Gaussian([0.0, 0.0], [[1.0, 0.5], [0.5, 1.0]]).impute(masked), [[2.0, 1.0]])

    def test_columns_of_unlike_units(self):
        """The density changes by the logarithm of the units alone, over fifteen orders of magnitude."""
        x, units = correlated(100, 4), np.array([1e-6, 1.0, 1e3, 1e9])
        plain, scaled = Gaussian.fit(x.astype(np.float32)), Gaussian.fit((units * x).astype(np.float32))
        self.assertAllClose(
            scaled.log_prob((units * x).astype(np.float32)),
            plain.log_prob(x.astype(np.float32)) - np.log(units).sum(),
            atol=1e-4,
        )

    def test_events_of_any_shape(self):
        x = correlated(50, 6).astype(np.float32)
        flat, whole = Gaussian.fit(x), Gaussian.fit(x.reshape(50, 3, 2))
        self.assertEqual(whole.mean.shape, (3, 2))
        self.assertAllEqual(whole.covariance, flat.covariance)
        self.assertAllEqual(whole.log_prob(x.reshape(50, 3, 2)), flat.log_prob(x))
        dataset = tf.data.Dataset.from_tensor_slices(x).batch(7)
        self.assertAllClose(Gaussian.fit(dataset).covariance, flat.covariance, rtol=1e-12)

    def test_marginals_and_conditionals(self):
        """Of what was observed, by SciPy's marginals; the conditional means by the textbook's formula."""
        x = correlated(40, 5).astype(np.float32)
        model = Gaussian.fit(x)
        mask = np.random.default_rng(1).random(x.shape) < 0.5
        mask[0], mask[1] = False, True
        holes = np.where(mask, x, np.nan)
        filled = model.impute(holes)
        found = model.log_prob({"x": holes, "mask": mask})
        for row, seen, log_density, full in zip(x.astype(np.float64), mask, found, filled, strict=True):
            m, s = model.mean, model.covariance
            exact, mean = 0.0, m
            if seen.any():
                exact = stats.multivariate_normal(m[seen], s[np.ix_(seen, seen)]).logpdf(row[seen])
                mean = m + s[:, seen] @ np.linalg.inv(s[np.ix_(seen, seen)]) @ (row - m)[seen]
            self.assertAllClose(log_density, exact, rtol=1e-9)
            self.assertAllClose(full, np.where(seen, row, mean), rtol=1e-8)
        self.assertAllEqual(model.impute(x, mask), filled)

    def test_ridge(self):
        """The maximum of the penalised likelihood is the covariance and the ridge, where all is observed."""
        x = correlated(5, 6).astype(np.float32)
        for ridge in (0.3, np.arange(1.0, 7.0)):
            exact = np.cov(x.T.astype(np.float64), bias=True) + ridge * np.eye(6)
            self.assertAllClose(Gaussian.fit(x, ridge).covariance, exact, rtol=1e-9)

    def test_errors(self):
        x = correlated(40, 6).astype(np.float32)
        with self.assertRaisesRegex(ValueError, "Bernoulli explains x in {0, 1}. Compare with .*independent_pixels"):
            gaussian(make_vae(likelihood=kvae.likelihoods.Bernoulli), x, x)
        with self.assertRaisesRegex(TypeError, "A kvae.VAE is needed"):
            gaussian(x, x, x)
        with self.assertRaisesRegex(ValueError, "covariance of 6 rows of 6 elements is singular.*give ridge="):
            Gaussian.fit(x[:6])
        with self.assertRaisesRegex(ValueError, "All training data agree on element 2 of x"):
            Gaussian.fit(x * [1, 1, 0, 1, 1, 1])
        with self.assertRaisesRegex(ValueError, "covariance of 40 rows of 6 elements is singular"):
            Gaussian.fit(np.concatenate([x[:, :5], x[:, :1]], axis=1))
        with self.assertRaisesRegex(ValueError, "Nothing was observed of elements 0, 3 of x"):
            Gaussian.fit({"x": x, "mask": np.ones_like(x) * [0, 1, 1, 0, 1, 1]})
        for ridge in (-1.0, math.nan, "1", np.ones(3), -np.ones(6)):
            with self.assertRaisesRegex(ValueError, "^ridge must be"):
                Gaussian.fit(x, ridge)
        with self.assertRaisesRegex(ValueError, r"must have shape \(3, 3\), got \(2, 2\)"):
            Gaussian(np.zeros(3), np.eye(2))


class MissingValuesTest(tf.test.TestCase):
    def test_one_column_with_gaps(self):
        """Anderson (1957), exact: the second column's regression on the first, from the rows that have both."""
        x = correlated(60, 2).astype(np.float32)
        mask = np.ones((60, 2), bool)
        mask[25:, 1] = False
        found = Gaussian.fit({"x": np.where(mask, x, np.nan), "mask": mask}, tolerance=1e-13)
        a, b = x[:, 0].astype(np.float64), x[:25].astype(np.float64)
        slope, offset = np.polyfit(b[:, 0], b[:, 1], 1)
        rest = np.square(b[:, 1] - offset - slope * b[:, 0]).mean()
        self.assertAllClose(found.mean, [a.mean(), offset + slope * a.mean()], rtol=1e-5)
        covariance = [[a.var(), slope * a.var()], [slope * a.var(), slope**2 * a.var() + rest]]
        self.assertAllClose(found.covariance, covariance, rtol=1e-5)

    @pytest.mark.slow
    def test_against_numerical_maximisation(self):
        """Any pattern: the likelihood of what was observed, climbed by BFGS over the mean and a Cholesky factor."""
        x = correlated(50, 3).astype(np.float32)
        mask = np.random.default_rng(1).random(x.shape) < 0.7
        rows = [(row[seen].astype(np.float64), seen) for row, seen in zip(x, mask, strict=True) if seen.any()]

        def parts(theta):
            factor = np.zeros((3, 3))
            factor[np.tril_indices(3)] = theta[3:]
            return theta[:3], factor @ factor.T + 1e-9 * np.eye(3)

        def loss(theta, ridge=0.0):
            mean, s = parts(theta)
            log_p = [stats.multivariate_normal(mean[o], s[np.ix_(o, o)]).logpdf(row) for row, o in rows]
            return -sum(log_p) / len(x) + 0.5 * ridge * np.trace(np.linalg.inv(s))

        for ridge in (0.0, 0.2):
            start = np.concatenate([x.mean(0), np.diag(x.std(0))[np.tril_indices(3)]]).astype(np.float64)
            best = optimize.minimize(loss, start, args=(ridge,), options={"gtol": 1e-7})
            mean, covariance = parts(best.x)
            found = Gaussian.fit({"x": np.where(mask, x, 9e9), "mask": mask}, ridge, tolerance=1e-13)
            self.assertAllClose(found.mean, mean, atol=1e-4)
            self.assertAllClose(found.covariance, covariance, rtol=1e-3, atol=1e-3)
            if not ridge:
                self.assertAllClose(found.log_prob({"x": x, "mask": mask}).mean(), -best.fun, atol=1e-7)

    def test_masks_that_hide_nothing(self):
        x = correlated(30, 4).astype(np.float32)
        self.assertAllEqual(Gaussian.fit({"x": x, "mask": np.ones_like(x)}).covariance, Gaussian.fit(x).covariance)

    def test_too_few_steps(self):
        x = correlated(30, 4).astype(np.float32)
        mask = np.random.default_rng(1).random(x.shape) < 0.7
        with self.assertWarnsRegex(UserWarning, "not settled after 2 steps.*Give steps=20"):
            Gaussian.fit({"x": x, "mask": mask}, steps=2)


if __name__ == "__main__":
    tf.test.main()
