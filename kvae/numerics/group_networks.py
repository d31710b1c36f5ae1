"""Dense networks between the groups of a hierarchy of latents."""

import keras
import tensorflow as tf

from kvae.numerics.elementary import UNIT_SOFTPLUS


class GroupNetwork(keras.layers.Layer):
    """The mean m and the raw scale u of a group of z, given other groups: a dense network, tanh between its layers.

    Args:
        size: of the group; the output has 2 size numbers, and its bias starts at m = 0, softplus(u) = 1.
        hidden: the sizes of the hidden layers.
        beside: True for a network of the groups and of features of x, which are the features' part of its first
            layer already. The part of the groups begins at zero, and has no bias.
        flat: True for an output that begins at its bias, whatever the input.
        names: what the names of the layers begin with.
    """

    def __init__(self, size: int, hidden: tuple[int, ...], beside=False, flat=False, names="", **options):
        super().__init__(name=f"{names}network", **options)
        self.dense = []
        for number, units in enumerate([*hidden, 2 * size]):
            first, last = beside and number == 0, number == len(hidden)
            layer = keras.layers.Dense(
                units,
                dtype=self.compute_dtype,
                use_bias=not first,
                kernel_initializer="zeros" if first or (last and flat) else "glorot_uniform",
                bias_initializer=keras.initializers.Constant(unit_normal(size)) if last else "zeros",
                name=f"{names}dense_{number + 1}",
            )
            self.dense.append(layer)

    def build(self, given_shape):
        """Build the layers, for groups `[..., n]` in all."""
        for layer in self.dense:
            layer.build(given_shape)
            given_shape = (None, layer.units)

    def call(self, given, features=None):
        """`[..., 2 size]` for the groups `[..., n]`, side by side."""
        for number, layer in enumerate(self.dense):
            given = tf.tanh(given) if number else given
            given = layer(given)
            if number == 0 and features is not None:
                given += features
        return given


def unit_normal(size: int) -> list[float]:
    """The parameters (m, u) of N(0, I): zeros, and what softplus takes to one."""
    return [0.0] * size + [UNIT_SOFTPLUS] * size
