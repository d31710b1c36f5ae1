"""The normal posterior with full covariance."""

import math

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from kvae.numerics.elementary import UNIT_SOFTPLUS, positive
from kvae.numerics.gradients import custom_gradient
from kvae.numerics.normals import MultivariateNormalTriL
from kvae.posteriors.base import NormalPosterior


@keras.saving.register_keras_serializable("kvae")
class FullNormal(NormalPosterior):
    """The normal posterior with full covariance, by its Cholesky factor.

    q(z|x) = N(z; m, L L^T),   z = m + L eps,   L_ii = min(floor + softplus(u_ii), cap),   L_ij = u_ij below

    The parameters are (m, u): D + D (D + 1) / 2 numbers, u filling the lower triangle in the order of
    `tfp.math.fill_triangular`. It can follow correlations that a diagonal posterior cannot, at a cost that
    grows with D^2. The projection's bias starts so that L is about the identity.

    Args:
        floor, cap: the smallest and the largest diagonal element of L.
        project, name, dtype: see `kvae.posteriors.Posterior`.
    """

    def _units(self, latent_dim):
        return latent_dim + latent_dim * (latent_dim + 1) // 2

    def _bias(self, latent_dim):
        start = np.zeros(latent_dim * (latent_dim + 1) // 2)
        start[np.diagonal(_triangle(latent_dim))] = UNIT_SOFTPLUS
        return [0.0] * latent_dim + start.tolist()

    def of(self, parameters) -> tfd.MultivariateNormalTriL:
        """q for parameters `[B, D + D (D + 1) / 2]`: batch `[B]`, event `[latent_dim]`."""
        units = self._units(self.latent_dim)
        loc, raw = tf.split(parameters, [self.latent_dim, units - self.latent_dim], axis=-1)
        is_diagonal = np.isin(np.arange(raw.shape[-1]), np.diagonal(_triangle(self.latent_dim)))
        elements = tf.where(is_diagonal, positive(raw, self.floor, self.cap), raw)
        return MultivariateNormalTriL(loc, _filled(elements))

    def export(self, q) -> dict:
        """The mean, the marginal standard deviations and the Cholesky factor of the covariance."""
        factor = q.scale_tril
        return {"mean": self.center(q), "scale": tf.norm(factor, axis=-1), "scale_tril": factor}


def _triangle(n: int) -> np.ndarray:
    """The index of each element of the lower triangle `[n, n]`, in the order of `tfp.math.fill_triangular`.

    The indices are those of n (n + 1) / 2 numbers. Above the diagonal they have no meaning.
    """
    numbers = np.arange(n * (n + 1) // 2, dtype=np.int32)
    return np.concatenate([numbers[n:], numbers[::-1]]).reshape(n, n)


@custom_gradient
def _filled(elements):
    """The lower triangle `[..., n, n]` of elements `[..., n (n + 1) / 2]`: gathers are the fastest under XLA."""
    n = (math.isqrt(8 * elements.shape[-1] + 1) - 1) // 2
    order, lower = _triangle(n), np.tril(np.ones([n, n], bool))
    back = np.zeros(elements.shape[-1], np.int32)
    back[order[lower]] = np.flatnonzero(lower)

    def gradient(upstream):
        flat = tf.reshape(upstream, tf.concat([tf.shape(elements)[:-1], [order.size]], axis=0))
        return tf.gather(flat, back, axis=-1)

    return tf.gather(elements, order, axis=-1) * lower.astype(elements.dtype.as_numpy_dtype), gradient
