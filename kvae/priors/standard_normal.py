"""The standard normal prior."""

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from kvae.numerics.normals import MultivariateNormalDiag
from kvae.priors.base import Prior


@keras.saving.register_keras_serializable("kvae")
class StandardNormal(Prior):
    """p(z) = N(z; 0, I)."""

    def distribution(self, encode=None, condition=None) -> tfd.MultivariateNormalDiag:
        """N(0, I): batch `[]`, event `[latent_dim]`."""
        del encode, condition
        zeros = tf.zeros([self.latent_dim], self.compute_dtype)
        return MultivariateNormalDiag(zeros, tf.ones_like(zeros))
