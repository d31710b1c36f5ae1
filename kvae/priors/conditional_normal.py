"""A normal prior for each condition."""

import math

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from kvae.families import scale_range
from kvae.numerics.elementary import UNIT_SOFTPLUS, positive
from kvae.numerics.normals import MultivariateNormalDiag
from kvae.priors.base import Prior


@keras.saving.register_keras_serializable("kvae")
class ConditionalNormal(Prior):
    """A normal prior that depends on the condition of a conditional VAE: p(z|c) = N(z; m(c), diag(s(c)^2)).

    m and the softplus of s are affine in c: for a one-hot class each has a mean and a scale of its own. They
    start near N(0, I). Draws from it need a condition too.

    Args:
        floor, cap: the smallest and the largest scale.
        name, dtype: of the layer.

    Reference: Sohn, Lee, Yan (2015), Learning structured output representation using deep conditional
    generative models.
    """

    conditional = True

    def __init__(self, floor: float = 1e-3, cap: float = 1e3, name: str | None = None, dtype: str | None = None):
        super().__init__(name=name, dtype=dtype)
        self.floor, self.cap = scale_range(floor, cap)

    def get_config(self):
        """Plain configuration: the constructor's arguments."""
        return super().get_config() | {"floor": self.floor, "cap": self.cap}

    def build(self, latent_dim, condition_shape=None):
        """Make the affine map from one flattened condition to the parameters."""
        super().build(latent_dim)
        start = [0.0] * self.latent_dim + [UNIT_SOFTPLUS] * self.latent_dim
        self.projection = keras.layers.Dense(
            2 * self.latent_dim,
            dtype=self.compute_dtype,
            bias_initializer=keras.initializers.Constant(start),
            name="projection",
        )
        self.projection.build((None, math.prod(condition_shape)))

    def distribution(self, encode=None, condition=None) -> tfd.MultivariateNormalDiag:
        """p(z|c) for conditions `[B, *condition_shape]`: batch `[B]`, event `[latent_dim]`."""
        del encode
        flat = tf.reshape(condition, [-1, self.projection.kernel.shape[0]])
        loc, raw = tf.split(self.projection(tf.cast(flat, self.compute_dtype)), 2, axis=-1)
        return MultivariateNormalDiag(loc, positive(raw, self.floor, self.cap))
