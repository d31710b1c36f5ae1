"""Approximate posteriors q(z|x)."""

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from kvae.families import UNIT_SOFTPLUS, Posterior, positive


class _Normal(Posterior):
    """Abstract: the arguments that the normal posteriors share."""

    def __init__(
        self,
        floor: float = 1e-5,
        cap: float = 1e3,
        project: bool = True,
        name: str | None = None,
        dtype: str | None = None,
    ):
        super().__init__(project=project, name=name, dtype=dtype)
        if not 0.0 < floor < cap:
            raise ValueError(f"{type(self).__name__} needs 0 < floor < cap, got floor={floor} and cap={cap}.")
        self.floor, self.cap = float(floor), float(cap)

    def get_config(self):
        """Plain configuration: the constructor's arguments."""
        return super().get_config() | {"floor": self.floor, "cap": self.cap}


@keras.saving.register_keras_serializable("kvae")
class DiagonalNormal(_Normal):
    """The factorised normal posterior of the classic VAE.

    q(z|x) = prod_j N(z_j; m_j, s_j^2),   s = min(floor + softplus(u), cap),   z = m + s * eps

    The parameters are (m, u): 2 D numbers in this order, so `project=False` takes an encoder with 2 D outputs.
    The projection's bias starts so that s is about 1, the scale of the prior.

    Args:
        floor, cap: the smallest and the largest scale s. At the cap the gradient passes straight through.
        project, name, dtype: see `kvae.families.Family`.

    Reference: Kingma, Welling (2013), Auto-encoding variational Bayes, arXiv 1312.6114.
    """

    def _units(self, latent_dim):
        return 2 * latent_dim

    def _bias(self, latent_dim):
        return [0.0] * latent_dim + [UNIT_SOFTPLUS] * latent_dim

    def of(self, parameters) -> tfd.MultivariateNormalDiag:
        """q for parameters `[B, 2 D]`: batch `[B]`, event `[latent_dim]`."""
        loc, raw = tf.split(parameters, 2, axis=-1)
        return tfd.MultivariateNormalDiag(loc, positive(raw, self.floor, self.cap))


@keras.saving.register_keras_serializable("kvae")
class FullNormal(_Normal):
    """The normal posterior with full covariance, by its Cholesky factor.

    q(z|x) = N(z; m, L L^T),   z = m + L eps,   L_ii = min(floor + softplus(u_ii), cap),   L_ij = u_ij below

    The parameters are (m, u): D + D (D + 1) / 2 numbers, u filling the lower triangle in the order of
    `tfp.math.fill_triangular`. It can follow correlations that a diagonal posterior cannot, at a cost that
    grows with D^2. The projection's bias starts so that L is about the identity.

    Args:
        floor, cap: the smallest and the largest diagonal element of L.
        project, name, dtype: see `kvae.families.Family`.
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
        order = _triangle(self.latent_dim)
        is_diagonal = np.isin(np.arange(raw.shape[-1]), np.diagonal(order))
        elements = tf.where(is_diagonal, positive(raw, self.floor, self.cap), raw)
        return tfd.MultivariateNormalTriL(loc, _filled(elements, order))

    def export(self, q) -> dict:
        """The mean, the marginal standard deviations and the Cholesky factor of the covariance."""
        factor = q.scale_tril
        return {"mean": q.mean(), "scale": tf.norm(factor, axis=-1), "scale_tril": factor}


@keras.saving.register_keras_serializable("kvae")
class Deterministic(Posterior):
    """The encoder of the classical autoencoder: a point mass, z = m(x).

    It has no density, so there is no KL divergence, no ELBO and no log-likelihood, only the reconstruction
    log p(x | m(x)): it wants `objective=kvae.objectives.ELBO(beta=0)`, fits and evaluates with `loss` and
    `reconstruction` alone, and what needs a density raises a ValueError. `sample` decodes draws from the prior,
    to which nothing has drawn the codes.

    The parameters are m: D numbers, so `project=False` takes an encoder with D outputs.

    Args:
        project, name, dtype: see `kvae.families.Family`.
    """

    has_density = False

    def _units(self, latent_dim):
        return latent_dim

    def _bias(self, latent_dim):
        return [0.0] * latent_dim

    def of(self, parameters) -> tfd.VectorDeterministic:
        """The point mass at parameters `[B, D]`: batch `[B]`, event `[latent_dim]`."""
        return tfd.VectorDeterministic(parameters)

    def draw(self, q, eps):
        """m(x) `[S, B, D]`, whatever the noise."""
        return tf.broadcast_to(q.mean(), tf.shape(eps))

    def export(self, q) -> dict:
        """The code."""
        return {"mean": q.mean()}


def _triangle(n: int) -> np.ndarray:
    """Which of n (n + 1) / 2 numbers stands where in the lower triangle `[n, n]`, as `tfp.math.fill_triangular` has it.

    Above the diagonal it means nothing.
    """
    numbers = np.arange(n * (n + 1) // 2, dtype=np.int32)
    return np.concatenate([numbers[n:], numbers[::-1]]).reshape(n, n)


def _filled(elements, order):
    """The lower triangle `[..., n, n]` of elements `[..., n (n + 1) / 2]`."""
    lower = np.tril(np.ones(order.shape, bool))  # both ways by gathers: the fastest under XLA
    back = np.zeros(elements.shape[-1], np.int32)
    back[order[lower]] = np.flatnonzero(lower)

    @tf.custom_gradient
    def fill(elements):
        def gradient(upstream):
            flat = tf.reshape(upstream, tf.concat([tf.shape(elements)[:-1], [order.size]], axis=0))
            return tf.gather(flat, back, axis=-1)

        return tf.gather(elements, order, axis=-1) * lower.astype(elements.dtype.as_numpy_dtype), gradient

    return fill(elements)
