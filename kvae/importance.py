"""Log-densities at many draws of z for each example: what estimators are made of."""

import math

import keras
import tensorflow as tf

from kvae import families, noise
from kvae.parts import looped

_FLOATS_IN_CACHE = 1_000_000  # of the decoder's widest layer


class Draws:
    """The terms of log p(x|z) p(z) / q(z|x) at z ~ q(z|x), in parts.

    Args:
        vae: a `kvae.VAE` whose posterior has a density.

    Attributes:
        widest: the most numbers that one example is anywhere in the decoder.
    """

    def __init__(self, vae):
        self.vae = vae
        layers = [layer for layer in vae.decoder._flatten_layers() if layer._inbound_nodes]
        shapes = [tensor.shape[1:] for layer in layers for tensor in keras.tree.flatten(layer.output)]
        known = [shape for shape in shapes if None not in shape]
        self.widest = max(math.prod(shape) for shape in [*known, vae.event_shape, (vae.latent_dim,)])
        self._function = vae.methods.function

    def features(self, x, condition=None) -> tf.Tensor:
        """The encoder's features for x `[B, *event_shape]` and conditions `[B, *condition_shape]`."""
        return self._function(self.vae.encode_features)(tf.cast(x, self.vae.likelihood.compute_dtype), condition)

    def closed_form_kl(self, q, condition=None) -> tf.Tensor | None:
        """KL(q || prior) in nats, or None where it has no closed form."""
        return families.kl(q, self.vae.prior.distribution(self.vae.encode, condition))

    def terms(
        self, x, features, condition, seed: int, first: int, count: int, jit: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """log p(x|z) and log p(z) - log q(z|x), both `[count, B]`, at draws number `first`, `first + 1`, ...

        Example i has the draws first + i * count and on, so that one example's draws can be taken in parts. With
        `jit` XLA compiles it, once for every B and count (float32 only).
        """
        x = tf.cast(x, self.vae.likelihood.compute_dtype)
        if not jit or x.dtype != tf.float32:
            numbers = tf.constant(seed, tf.int64), tf.constant(first, tf.int64)
            eps = self._function(self._noise)(*numbers, tf.constant(len(x)), tf.constant(count))
            return self._function(self._terms)(x, features, condition, eps)
        eps = noise.many_normals(seed, noise.IMPORTANCE, first, len(x) * count, self.vae.latent_dim)
        eps = tf.reshape(eps, [len(x), count, self.vae.latent_dim])
        return self._function(self._terms_in_cache, jit_compile=True)(x, features, condition, eps)

    def _noise(self, seed, first, examples, count):
        size, dtype = self.vae.latent_dim, self.vae.posterior.compute_dtype
        eps = noise.normal(seed, noise.IMPORTANCE, first, examples * count, size, dtype)
        return tf.reshape(eps, [examples, count, size])

    def _terms(self, x, features, condition, eps, at_a_time=None):
        vae = self.vae
        q, prior = vae.posterior.distribution(features), vae.prior.distribution(vae.encode, condition)
        z = vae.posterior.draw(q, tf.transpose(eps, [1, 0, 2]))

        def log_px_z(z):
            return vae.likelihood.distribution(vae.decode_features(z, condition)).log_prob(x)

        decoded = log_px_z(z) if at_a_time is None else looped(log_px_z, z, at_a_time)
        return decoded, prior.log_prob(z) - q.log_prob(z)

    def _terms_in_cache(self, x, features, condition, eps):
        at_a_time = max(1, _FLOATS_IN_CACHE // (self.widest * x.shape[0]))
        return self._terms(x, features, condition, eps, at_a_time)
