"""Multivariate normal distributions that leave nothing behind.

TensorFlow Probability computes them by bijectors, which keep what they have computed in a cache. It holds every graph
in which a density or a draw was ever traced, with all that belongs to it. Here both are written out: the same numbers
by the same operations, without a bijector.
"""

import math

import tensorflow as tf
from tensorflow_probability import distributions as tfd


class _ByScale:
    """The log-density of N(loc, L L^T) by its scale L, a linear operator."""

    def _log_prob(self, z):
        return self.log_prob_at(self.scale.solvevec(z - self.loc))

    def log_prob_at(self, eps):
        """The log-density at loc + L eps."""
        terms = -0.5 * tf.square(eps) - 0.5 * math.log(2.0 * math.pi)
        return tf.reduce_sum(terms, axis=-1) - self.scale.log_abs_determinant()


class MultivariateNormalDiag(_ByScale, tfd.MultivariateNormalDiag):
    """`tfd.MultivariateNormalDiag(loc, scale_diag)`."""


class MultivariateNormalTriL(_ByScale, tfd.MultivariateNormalTriL):
    """`tfd.MultivariateNormalTriL(loc, scale_tril)`."""


def reparameterized(distribution, eps):
    """g(eps) with the distribution's law, for eps ~ N(0, I): loc + L eps, or by the distribution's bijector."""
    if isinstance(distribution, _ByScale):
        return distribution.loc + distribution.scale.matvec(eps)
    return distribution.bijector.forward(eps)


def log_prob_of(distribution, z, eps):
    """The log-density at z = g(eps), without the way back from z where the noise is enough."""
    return distribution.log_prob_at(eps) if isinstance(distribution, _ByScale) else distribution.log_prob(z)
