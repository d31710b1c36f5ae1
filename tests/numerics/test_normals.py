"""Normal distributions without a cache: against SciPy, on one device and in graphs."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from kvae.numerics import normals

LOC = np.array([[0.3, -1.0, 2.0], [5.0, 0.0, -0.5]])
FACTOR = np.array([[[0.5, 0, 0], [0.3, 2.0, 0], [-1.0, 0.2, 0.7]], [[1.5, 0, 0], [0.0, 0.1, 0], [0.4, -0.2, 3.0]]])
EPS = np.random.default_rng(0).normal(size=(4, 2, 3))


def made(kind):
    """The distribution of float64 and its covariances."""
    if kind == "diagonal":
        diagonal = np.diagonal(FACTOR, axis1=1, axis2=2)
        return normals.MultivariateNormalDiag(LOC, diagonal), [np.diag(one**2) for one in diagonal]
    return normals.MultivariateNormalTriL(LOC, FACTOR), [one @ one.T for one in FACTOR]


@pytest.mark.parametrize("wrapped", [False, True], ids=["eager", "graph"])
@pytest.mark.parametrize("kind", ["diagonal", "full"])
def test_densities_and_draws(kind, wrapped):
    """z = loc + L eps, its density by both ways, and that of other points."""

    def both(eps):
        p, _ = made(kind)
        z = normals.reparameterized(p, eps)
        return z, normals.log_prob_of(p, z, eps), p.log_prob(z), p.log_prob(eps)

    z, of_noise, of_z, elsewhere = (t.numpy() for t in (tf.function(both) if wrapped else both)(tf.constant(EPS)))
    _, covariances = made(kind)
    factors = [np.linalg.cholesky(one) for one in covariances]
    np.testing.assert_allclose(z, np.stack([LOC[b] + EPS[:, b] @ factors[b].T for b in range(2)], axis=1), rtol=1e-12)
    for points, found in ((z, of_noise), (z, of_z), (EPS, elsewhere)):
        exact = [stats.multivariate_normal(LOC[b], covariances[b]).logpdf(points[:, b]) for b in range(2)]
        np.testing.assert_allclose(found, np.stack(exact, axis=1), rtol=1e-10)
