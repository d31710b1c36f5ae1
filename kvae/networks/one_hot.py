"""What an encoder of tables begins with that sees classes one-hot."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from kvae.numerics.arguments import shown, sizes


@keras.saving.register_keras_serializable("kvae")
class OneHot(keras.layers.Layer):
    """Columns as an encoder gets them, `[B, D]`, with classes one-hot: `[B, numbers + sum of K]`.

    A `Categorical(K)` shows its encoder k / (K - 1), in an order that classes do not have. The numbers come first.

    Args:
        classes: of each column K, or 0 where it holds numbers; `kvae.data.Table.classes`.

    Raises:
        ValueError: for x of another number of columns, and for K = 1.
    """

    def __init__(self, classes: Sequence[int], **options):
        super().__init__(**options)
        self.classes = sizes("classes", classes, 0)
        if not self.classes or 1 in self.classes:
            raise ValueError(f"classes must be 0 for numbers and K >= 2 for K classes, got {shown(self.classes)}.")

    def get_config(self):
        """The constructor's arguments."""
        return super().get_config() | {"classes": self.classes}

    def build(self, shape):
        """Check that x has so many columns."""
        if tuple(shape[1:]) != (len(self.classes),):
            raise ValueError(
                f"classes has {len(self.classes)} columns, but one example has shape {tuple(shape[1:])}. Give a number "
                "for each column, 0 where it holds numbers."
            )

    def call(self, x):
        """The numbers, then the classes of each column."""
        numbers = [i for i, k in enumerate(self.classes) if not k]
        parts = [tf.gather(x, numbers, axis=-1)] if numbers else []
        for i, k in enumerate(self.classes):
            if k:
                label = tf.cast(tf.round(tf.cast(x[:, i], tf.float32) * (k - 1.0)), tf.int32)
                parts.append(tf.one_hot(label, k, dtype=x.dtype))
        return tf.concat(parts, axis=-1)

    def compute_output_shape(self, shape):
        """`[B, numbers + sum of K]`."""
        return (shape[0], sum(k or 1 for k in self.classes))
