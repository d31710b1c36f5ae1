"""The maximum mean discrepancy of codes and draws of the prior."""

import math

import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

import kvae
from kvae.data.batch import Batch
from kvae.objectives import Terms
from tests.conformance import conditional_networks, make_vae
from tests.objectives import linear

MMD = kvae.objectives.MMD
X = np.random.default_rng(0).normal(size=(24, 6)).astype(np.float32)


def by_hand(a, b, kernel, bandwidths) -> float:
    """In NumPy, pair by pair."""

    def k(u, v):
        t = np.square(u - v).sum() / (2 * len(u))
        return np.mean([c / (c + t) if kernel == "imq" else math.exp(-t / c) for c in bandwidths])

    n, total = len(a), 0.0
    for i in range(n):
        for j in range(n):
            if i != j:
                total += (k(a[i], a[j]) + k(b[i], b[j])) / (n * (n - 1))
            total -= 2 * k(a[i], b[j]) / n**2
    return total


def terms(z, other) -> Terms:
    z = tf.constant(z)
    zero = tf.zeros(z.shape[:2], z.dtype)
    return Terms(zero, zero, zero, None, None, z, prior_z=tf.constant(other))


class DistanceTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.product(kernel=("imq", "rbf"), bandwidths=((1.0,), (0.1, 2.0, 7.0)))
    def test_pair_by_pair(self, kernel, bandwidths):
        random = np.random.default_rng(1)
        a, b = random.normal(1.0, 2.0, (2, 9, 3)), random.normal(size=(2, 9, 3))
        expected = np.mean([by_hand(x, y, kernel, bandwidths) for x, y in zip(a, b, strict=True)])
        objective = MMD(7.0, kernel=kernel, bandwidths=bandwidths)
        self.assertAllClose(objective.distance(terms(a, b)), expected, rtol=1e-9)
        self.assertAllClose(objective.loss(terms(a, b), 0), np.full(9, 7.0 * expected), rtol=1e-9)
        self.assertAllClose(objective.details(terms(a, b))["mmd"], np.full(9, expected), rtol=1e-9)

    @parameterized.parameters("imq", "rbf")
    @pytest.mark.slow
    def test_equal_laws(self, kernel):
        """The mean over 60,000 batches of 16 is 0 within 4 standard errors: no bias, as U-statistics have none."""
        a, b = np.random.default_rng(2).normal(size=(2, 100, 600, 16, 2))
        objective = MMD(kernel=kernel)
        found = np.array([objective.distance(terms(x, y)) for x, y in zip(a, b, strict=True)])  # means of 600
        self.assertLess(abs(found.mean()), 4 * found.std() / math.sqrt(100))
        self.assertLess(found.min(), 0.0)
        self.assertLess(found.std() / math.sqrt(100), 2e-3 / 16)  # the bias with the pairs of equals is about 1 / 16

    def test_normals_in_closed_form(self):
        """E k of two normals, k = exp(-|z - z'|^2 / 2 h^2): prod_j h / sqrt(h^2 + v) exp(-m_j^2 / 2 (h^2 + v))."""
        mean, scale, c, d = np.array([0.6, -0.3]), 1.5, 0.7, 2
        h2 = c * d

        def expected(m, v):
            return np.prod(np.sqrt(h2 / (h2 + v)) * np.exp(-np.square(m) / (2 * (h2 + v))))

        nought = np.zeros(d)
        exact = expected(nought, 2 * scale**2) + expected(nought, 2.0) - 2 * expected(mean, scale**2 + 1.0)
        random = np.random.default_rng(3)
        objective = MMD(kernel="rbf", bandwidths=[c])
        found = []
        for _ in range(50):  # means of 200 batches of 20
            z, other = random.normal(mean, scale, (200, 20, d)), random.normal(size=(200, 20, d))
            found.append(float(objective.distance(terms(z, other))))
        error = np.std(found) / math.sqrt(len(found))
        self.assertLess(abs(np.mean(found) - exact), 4 * error)
        self.assertGreater(exact, 20 * error)

    def test_one_example(self):
        self.assertEqual(float(MMD().distance(terms(np.zeros((2, 1, 3)), np.ones((2, 1, 3))))), 0.0)


class ModelTest(tf.test.TestCase, parameterized.TestCase):
    def test_by_hand(self):
        """The noise of a row is that of z, then that of z'; the KL term is the closed form."""
        vae = linear.model(MMD(9.0, beta=0.4, samples=3))
        self.assertEqual(vae._noise_size(), 4)
        eps = linear.draws(3, 8, size=4)
        found = linear.terms(vae, linear.OTHER, eps)
        mean, scale = linear.OTHER
        self.assertAllClose(found.z, mean + scale * eps[..., :2], atol=1e-12)
        self.assertAllClose(found.prior_z, eps[..., 2:], atol=1e-12)
        kl = 0.5 * (scale**2 + mean**2 - 1.0 - 2.0 * np.log(scale)).sum()
        distance = vae.objective.distance(found).numpy()
        expected = 9.0 * distance + 0.4 * kl - found.log_px_z.numpy().mean(0)
        self.assertAllClose(vae.objective.loss(found, 0), expected, rtol=1e-6)

    def test_draws_of_a_conditional_prior(self):
        vae = kvae.VAE(*conditional_networks((6,)), prior="conditional_normal", objective=MMD(samples=2))
        vae.prior.projection.kernel.assign(np.float32([[3.0, -3.0, 1.0, 0.5, 0.1, 2.0], [0.0] * 6]))
        labels = tf.one_hot([0, 1] * 12, 2)
        eps = vae._noise(0, 1, 0, 24, 2)
        found = vae._terms(Batch(tf.constant(X), labels, weight=tf.ones(24)), eps)
        p = vae.prior_distribution(labels)
        self.assertAllClose(found.prior_z, p.mean() + p.stddev() * eps[..., 3:], rtol=1e-5, atol=1e-6)

    @pytest.mark.slow
    def test_a_wasserstein_autoencoder(self):
        """A point mass in place of q(z|x): the codes come to where the prior draws, and elsewhere they do not."""
        x = np.random.default_rng(4).normal(5.0, 3.0, (256, 6)).astype(np.float32)
        spreads = []
        for objective in (lambda: MMD(300.0), lambda: kvae.objectives.ELBO(beta=0)):
            vae = make_vae(posterior=kvae.posteriors.Deterministic, objective=objective)
            logs = vae.fit(x, batch_size=64, epochs=100, verbose=0).history
            z = vae.encode(x).mean().numpy()
            spreads.append(np.abs(z.mean(0)).max() + np.abs(z.std(0) - 1.0).max())
            self.assertEqual("mmd" in logs, len(spreads) == 1)
            self.assertNotIn("elbo", logs)
        self.assertLess(spreads[0], 0.4)
        self.assertGreater(spreads[1], 2 * spreads[0])

    def test_a_weighted_kl_needs_a_density(self):
        networks = kvae.networks.mlp((6,), 2)
        with self.assertRaisesRegex(ValueError, "has no density, so MMD cannot weigh its KL"):
            kvae.VAE(*networks, posterior="deterministic", objective=MMD(beta=0.1))

    def test_terms_of_no_step(self):
        vae = make_vae(objective=MMD)
        with self.assertRaisesRegex(ValueError, "MMD needs prior_z, which only the Terms of a step have"):
            vae.objective.loss(vae.terms(X), 0)

    @parameterized.parameters(
        ({"weight": -1.0}, "0 <= weight, got -1.0"), ({"beta": -1.0}, "MMD needs beta >= 0"),
        ({"kernel": "linear"}, "kernel must be 'imq' or 'rbf', got 'linear'"),
        ({"bandwidths": ()}, "at least one of bandwidths"), ({"bandwidths": 1.0}, "bandwidths must be a list, got 1.0"),
        ({"bandwidths": (1.0, 0.0)}, "0 < bandwidths, got 0.0"),
    )  # fmt: skip
    def test_wrong_arguments(self, options, message):
        with self.assertRaisesRegex(ValueError, message):
            MMD(**options)


if __name__ == "__main__":
    tf.test.main()
