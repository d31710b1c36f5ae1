"""The aggregated posterior, against quadrature in one dimension."""

import math
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized
from scipy import integrate, stats

import kvae
from kvae.evaluate import aggregate_posterior
from tests.conformance import make_vae


def model(slope: float, scale: float, posterior="diagonal_normal") -> kvae.VAE:
    """q(z|x) = N(slope x, scale^2), of one x and one z."""
    networks = kvae.networks.mlp((1,), 1, hidden=())
    vae = kvae.VAE(*networks, posterior=posterior)
    raw = math.log(math.expm1(scale - vae.posterior.floor))
    vae.posterior.projection.set_weights([np.array([[slope, 0.0]]), np.array([0.0, raw])])
    return vae


def by_quadrature(means, scale):
    """I(x; z) and KL(q(z) || N(0, 1)) of a mixture of equal normals."""

    z = np.linspace(min(means) - 12 * scale, max(means) + 12 * scale, 200_001)
    density = stats.norm(np.array(means)[:, None], scale).pdf(z).mean(axis=0)
    entropy = -integrate.simpson(density * np.log(density + 1e-300), x=z)
    cross = -integrate.simpson(density * stats.norm.logpdf(z), x=z)
    return entropy - stats.norm(0.0, scale).entropy(), cross - entropy


class RateTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.product(slope=[0.0, 0.3, 1.0, 50.0], posterior=["diagonal_normal", "full_normal"])
    def test_quadrature(self, slope, posterior):
        x, scale = np.array([[-1.0], [-0.2], [0.1], [0.9], [2.0]], np.float32), 0.6
        found = kvae.evaluate.rate(model(slope, scale, posterior), x, samples=4000)
        information, marginal = by_quadrature(slope * x[:, 0].astype(np.float64), scale)
        kl = (0.5 * (scale**2 + (slope * x) ** 2 - 1.0) - math.log(scale)).mean()
        for name, exact in (("mutual_information", information), ("marginal_kl", marginal), ("kl", kl)):
            self.assertLess(abs(found[name].mean - exact), 4 * found[name].monte_carlo_error + 1e-5)
        self.assertAllClose(found["mutual_information"].mean + found["marginal_kl"].mean, found["kl"].mean, atol=1e-4)
        self.assertAllClose(found["cap"].mean, math.log(5))
        if slope == 50.0:  # far apart, a code tells everything
            self.assertAllClose(found["mutual_information"].mean, math.log(5), atol=1e-3)

    @pytest.mark.slow
    def test_errors_cover_the_spread_over_seeds(self):
        x = np.random.default_rng(0).normal(size=(30, 1)).astype(np.float32)
        vae = model(1.0, 0.6)
        runs = [kvae.evaluate.rate(vae, x, samples=20, seed=seed)["mutual_information"] for seed in range(40)]
        spread = np.std([run.mean for run in runs], ddof=1)
        self.assertBetween(np.mean([run.monte_carlo_error for run in runs]) / spread, 0.7, 1.4)

    def test_parts_and_forms_of_data(self):
        vae = make_vae()
        x = np.random.default_rng(0).normal(size=(23, 6)).astype(np.float32)
        whole = kvae.evaluate.rate(vae, x, samples=3)
        with mock.patch.object(aggregate_posterior, "_PAIRS_AT_A_TIME", 23 * 3 * 5):
            parts = kvae.evaluate.rate(vae, tf.data.Dataset.from_tensor_slices(x).batch(4), samples=3)
        for name, estimate in whole.items():
            self.assertAllClose(parts[name][:3], estimate[:3], rtol=1e-5, atol=1e-6)
        self.assertTrue(math.isnan(kvae.evaluate.rate(vae, x)["kl"].monte_carlo_error))  # one draw has no spread

    def test_errors(self):
        x = np.zeros((4, 6), np.float32)
        with self.assertRaisesRegex(ValueError, "samples must be at least 1, got 0"):
            kvae.evaluate.rate(make_vae(), x, samples=0)
        points = make_vae(posterior=kvae.posteriors.Deterministic, objective=lambda: kvae.objectives.ELBO(beta=0))
        with self.assertRaisesRegex(ValueError, "mutual information needs a density"):
            kvae.evaluate.rate(points, x)
        networks = kvae.networks.mlp((6,), 2, condition=3)
        with self.assertRaisesRegex(ValueError, "ConditionalNormal has one for each"):
            kvae.evaluate.rate(kvae.VAE(*networks, prior="conditional_normal"), (x, np.zeros(4, int)))


if __name__ == "__main__":
    tf.test.main()
