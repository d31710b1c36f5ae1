"""Gradients along the path from noise to z, weighted draw by draw."""

import tensorflow as tf


class WeightedPath:
    """An identity `path(z)` of z `[S, B, D]` whose gradient is the upstream one times `path.weight` `[S, B]`.

    The weight may be a function of what is computed from z. So it is set after the call, in the same graph and before
    the gradient is taken; None stands for 1.
    """

    def __init__(self):
        self.weight: tf.Tensor | None = None

    def __call__(self, z):
        """z as it is."""

        @tf.custom_gradient
        def identity(z):
            return tf.identity(z), lambda upstream: upstream if self.weight is None else self._weighted(upstream)

        return identity(z)

    def _weighted(self, upstream):
        return upstream * tf.cast(self.weight, upstream.dtype)[..., None]
