"""The factorised normal posterior."""

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from kvae.numerics.elementary import UNIT_SOFTPLUS, positive
from kvae.numerics.normals import MultivariateNormalDiag
from kvae.posteriors.base import NormalPosterior


@keras.saving.register_keras_serializable("kvae")
class DiagonalNormal(NormalPosterior):
    """The factorised normal posterior of the classic VAE.

    q(z|x) = prod_j N(z_j; m_j, s_j^2),   s = min(floor + softplus(u), cap),   z = m + s * eps

    The parameters are (m, u): 2 D numbers in this order, so `project=False` takes an encoder with 2 D outputs.
    The projection's bias starts so that s is about 1, the scale of the prior.

    Args:
        floor, cap: the smallest and the largest scale s. At the cap the gradient passes straight through.
        project, name, dtype: see `kvae.posteriors.Posterior`.

    Reference: Kingma, Welling (2013), Auto-encoding variational Bayes, arXiv 1312.6114.
    """

    def _units(self, latent_dim):
        return 2 * latent_dim

    def _bias(self, latent_dim):
        return [0.0] * latent_dim + [UNIT_SOFTPLUS] * latent_dim

    def of(self, parameters) -> tfd.MultivariateNormalDiag:
        """q for parameters `[B, 2 D]`: batch `[B]`, event `[latent_dim]`."""
        loc, raw = tf.split(parameters, 2, axis=-1)
        return MultivariateNormalDiag(loc, positive(raw, self.floor, self.cap))
