"""A mixture of posteriors as the prior."""

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from kvae.numerics import mixtures
from kvae.numerics.arguments import flag, whole
from kvae.priors.base import Prior


class _Within(keras.constraints.Constraint):
    """Values from low to high."""

    def __init__(self, low: float, high: float):
        self.low, self.high = low, high

    def __call__(self, w):
        return tf.clip_by_value(tf.convert_to_tensor(w), self.low, self.high)


@keras.saving.register_keras_serializable("kvae")
class VampPrior(Prior):
    """p(z) = sum_k w_k q(z|u_k): a mixture of the model's posteriors at pseudo-inputs u_k that are trained.

    The pseudo-inputs are in the unit of the encoder's input. They begin at random there; `vae.adapt(data)` and
    `vae.fit_prior(data, ...)` begin at examples. Where x is bounded on both sides, an optimizer step that leaves the
    bounds ends on them (the paper clips u in the network instead, which stops the gradient there). To an encoder that
    takes a mask all of u is observed. In a conditional model each u_k has a pseudo-condition, trained as well, and p(z)
    is the same for all conditions.

    A step encodes K more rows than the batch has, without dropout and with the moving statistics of a batch
    normalisation. The KL term has no closed form and is estimated at the draws of z.

    Args:
        components: K, at least 1.
        learned_weights: whether w is trained; otherwise each is 1 / K.
        name, dtype: of the layer.

    Raises:
        ValueError: in a model whose posterior has no density.

    Reference: Tomczak, Welling (2018), VAE with a VampPrior, arXiv 1705.07120.
    """

    has_bijector = False
    of_inputs = True

    def __init__(
        self, components: int = 500, learned_weights: bool = False, name: str | None = None, dtype: str | None = None
    ):
        super().__init__(name=name, dtype=dtype)
        self.components = whole("components", components, 1)
        self.learned_weights = flag("learned_weights", learned_weights)

    def get_config(self):
        """Plain configuration: the constructor's arguments."""
        return super().get_config() | {"components": self.components, "learned_weights": self.learned_weights}

    def build(self, latent_dim, condition_shape=None, event_shape=None, bounds=None):
        """Make the pseudo-inputs `[K, *event_shape]` and, in a conditional model, their conditions."""
        super().build(latent_dim, condition_shape)
        start, within = keras.initializers.RandomNormal(stddev=1.0), None
        if bounds is not None:
            within = _Within(*map(float, bounds))
            start = keras.initializers.RandomUniform(within.low, within.high)
        shape = self.components, *event_shape
        self.pseudo_inputs = self.add_weight(name="pseudo_inputs", shape=shape, initializer=start, constraint=within)
        self.pseudo_conditions = self.logits = None
        if condition_shape is not None:
            shape, start = (self.components, *condition_shape), keras.initializers.RandomUniform(0.0, 1.0)
            self.pseudo_conditions = self.add_weight(name="pseudo_conditions", shape=shape, initializer=start)
        if self.learned_weights:
            self.logits = self.add_weight(name="logits", shape=(self.components,), initializer="zeros")

    def pair(self, posterior) -> None:
        """Take the posterior's way to draw."""
        if not posterior.has_density:
            raise ValueError(
                f"VampPrior is a mixture of q(z|u), but the {type(posterior).__name__} posterior has no density. Take "
                "kvae.priors.MixtureOfNormals, which vae.fit_prior fits to the codes of an autoencoder."
            )
        self._draw, self._noise_size = posterior.draw, posterior.noise_size  # a method: Keras must not count its layer

    def adapt(self, examples) -> None:
        """Begin at K examples."""
        seen, conditions = examples(self.components)
        self.pseudo_inputs.assign(seen)
        if self.pseudo_conditions is not None:
            self.pseudo_conditions.assign(conditions)

    def distribution(self, encode, condition=None) -> mixtures.Mixture:
        """The mixture: batch `[]`, event `[latent_dim]`, the same for all conditions."""
        del condition
        inputs, conditions = self.pseudo_inputs, self.pseudo_conditions
        inputs = tf.convert_to_tensor(inputs)
        conditions = None if conditions is None else tf.convert_to_tensor(conditions)
        logits = tf.zeros([self.components], self.compute_dtype) if self.logits is None else self.logits
        p = mixtures.Mixture(tfd.Categorical(logits=tf.convert_to_tensor(logits)), encode(inputs, conditions))
        p.component = lambda k: encode(tf.gather(inputs, k), None if conditions is None else tf.gather(conditions, k))
        return p

    @property
    def noise_size(self) -> int:
        """One more than the posterior's."""
        return self._noise_size + 1

    @property
    def widest(self) -> int:
        """A z for each component."""
        return self.components * self.latent_dim

    def draw(self, p, eps):
        """z ~ q(z|u_k), `[..., D]`; the first number of the noise `[..., noise_size]` chooses k."""
        flat = tf.reshape(eps, [-1, self.noise_size])
        q = p.component(mixtures.chosen(p.mixture_distribution.logits, flat[:, 0]))
        z = self._draw(q, flat[None, :, 1:])
        return tf.reshape(z, tf.concat([tf.shape(eps)[:-1], [self.latent_dim]], axis=0))
