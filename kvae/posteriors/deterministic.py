"""The posterior of an autoencoder: a point."""

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from kvae.posteriors.base import Posterior


@keras.saving.register_keras_serializable("kvae")
class Deterministic(Posterior):
    """The encoder of the classical autoencoder: a point mass, z = m(x).

    It has no density, so there is no KL divergence, no ELBO and no log-likelihood, only the reconstruction
    log p(x | m(x)). It needs `objective=kvae.objectives.ELBO(beta=0)`. `fit` and `evaluate` report `loss` and
    `reconstruction` alone. What needs a density raises a ValueError. `sample` decodes draws from the prior, but
    training does not bring the codes close to the prior.

    The parameters are m: D numbers, so `project=False` takes an encoder with D outputs.

    Args:
        project, name, dtype: see `kvae.posteriors.Posterior`.
    """

    has_density = False
    has_bijector = False

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
        return {"mean": self.center(q)}
