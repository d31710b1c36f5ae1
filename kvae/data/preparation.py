"""From stored rows to examples."""

from typing import NamedTuple

import tensorflow as tf

from kvae.numerics import noise

DATA_KEY = 1 << 40  # keeps the noise of data apart from a model's noise, and a user's, of the same seed


class Preparation(NamedTuple):
    """From stored rows to examples: scaled to float32, binarised where `dynamic`."""

    scale: float
    dynamic: bool
    seed: int
    size: int

    def __call__(self, rows, first, stream):
        """Examples `[B, *event_shape]`, float32.

        Args:
            rows: `[B, *event_shape]`, stored values.
            first, stream: the number of the first row, and of the noise stream, for the binarisation.
        """
        x = tf.cast(rows, tf.float32)
        if self.scale != 1.0:
            x *= self.scale
        if not self.dynamic:
            return x
        u = noise.uniform(self.seed + DATA_KEY, stream, first, tf.shape(x)[0], self.size)
        return tf.cast(tf.reshape(u, tf.shape(x)) < x, tf.float32)
