"""KL by dimension and collapse, against the formula in NumPy."""

import math

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import kvae
from tests.conformance import make_vae

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(300, 4)).astype(np.float32)


def model(slopes, scale) -> kvae.VAE:
    """q(z_j|x) = N(slopes_j x_j, scale_j^2)."""
    vae = kvae.VAE(*kvae.networks.mlp((4,), 4, hidden=()))
    raw = np.log(np.expm1(np.asarray(scale) - vae.posterior.floor))
    kernel = np.concatenate([np.diag(slopes), np.zeros((4, 4))], axis=1)
    vae.posterior.projection.set_weights([kernel, np.concatenate([np.zeros(4), raw])])
    return vae


class DimensionsTest(tf.test.TestCase, parameterized.TestCase):
    SLOPES, SCALE = np.array([1.0, 0.0, 0.05, 0.1]), np.array([0.3, 1.0, 1.0, 1.0])

    def exact(self):
        return 0.5 * (self.SCALE**2 + (self.SLOPES * X.astype(np.float64)) ** 2 - 1.0) - np.log(self.SCALE)

    def test_kl_per_dimension(self):
        vae, exact = model(self.SLOPES, self.SCALE), self.exact()
        found = kvae.evaluate.kl_per_dimension(vae, X)
        self.assertAllClose([e.mean for e in found], exact.mean(0), rtol=1e-5, atol=1e-7)
        self.assertAllClose(
            [e.standard_error for e in found], exact.std(0, ddof=1) / math.sqrt(300), rtol=1e-4, atol=1e-7
        )
        total = kvae.evaluate.summary(vae, X, samples=2)["kl"].mean
        self.assertAllClose(sum(e.mean for e in found), total, rtol=1e-5)

    @parameterized.parameters((0.01, 0.01), (0.01, 0.5), (0.05, 0.01), (1e-9, 0.01), (5.0, 0.0))
    def test_collapsed(self, epsilon, delta):
        expected = np.mean(self.exact() < epsilon, axis=0) >= 1 - delta
        vae = model(self.SLOPES, self.SCALE)
        found = kvae.evaluate.collapsed(vae, X, epsilon, delta)
        self.assertAllEqual(found, expected)
        parts = kvae.evaluate.collapse(vae, X, epsilon)
        share = np.mean(self.exact() < epsilon, axis=0)
        self.assertAllClose([e.mean for e in parts], share, atol=1e-12)
        self.assertAllClose([e.standard_error for e in parts], np.sqrt(share * (1 - share) / 299), atol=1e-12)

    def test_collapsed_by_the_definition(self):
        """KL_j = (a x)^2 / 2 < 0.01 for |x| < 0.141 / a: 2.83 for a = 0.05, almost all; 1.41 for a = 0.1, 84 %."""
        found = kvae.evaluate.collapsed(model(self.SLOPES, self.SCALE), X)
        self.assertAllEqual(found, [False, True, True, False])

    def test_errors(self):
        full = make_vae(posterior=kvae.posteriors.FullNormal)
        with self.assertRaisesRegex(ValueError, "of FullNormal from StandardNormal does not split into dimensions"):
            kvae.evaluate.kl_per_dimension(full, np.zeros((3, 6), np.float32))
        points = make_vae(posterior=kvae.posteriors.Deterministic, objective=lambda: kvae.objectives.ELBO(beta=0))
        with self.assertRaisesRegex(ValueError, "needs a density"):
            kvae.evaluate.collapsed(points, np.zeros((3, 6), np.float32))


if __name__ == "__main__":
    tf.test.main()
