"""A projection of a feature map in which every position sees its neighbours."""

import itertools
import math

import keras
import tensorflow as tf


class ConvolutionTranspose(keras.layers.Layer):
    """y[t, u] = b[u] + sum_{d, c} x[t + (k-1)//2 - d, c] w[d, u, c], with zeros beyond the edge; one k for each axis.

    What `keras.layers.Conv2DTranspose(units, kernel_size, padding="same")` computes (and 1D and 3D), with the same
    weights. For one unit it is written as matrix products, which on a CPU is faster than a convolution.

    Args:
        units: numbers at each place.
        kernel_size: places along each axis.
        kernel_initializer, bias_initializer: of the weights.
    """

    def __init__(
        self,
        units: int,
        kernel_size: int,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        **options,
    ):
        super().__init__(**options)
        self.units, self.kernel_size = units, kernel_size
        self._initializers = kernel_initializer, bias_initializer

    def build(self, feature_shape):
        """Make the kernel `[k, ..., units, C]` and the bias, for features `[B, *places, C]`."""
        sizes = [self.kernel_size] * len(feature_shape[1:-1])
        kernel, bias = self._initializers
        shape = (*sizes, self.units, feature_shape[-1])
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer=kernel)
        self.bias = self.add_weight(name="bias", shape=(self.units,), initializer=bias)

    def call(self, features):
        """`[B, *places, units]`."""
        kernel = tf.convert_to_tensor(self.kernel)
        if self.units == 1:
            return overlap_add(features, kernel) + self.bias
        shape = tf.concat([tf.shape(features)[:-1], [self.units]], axis=0)
        return tf.nn.conv_transpose(features, kernel, shape, strides=1, padding="SAME") + self.bias


def overlap_add(features, kernel):
    """The transposed convolution to one unit: the products of all places with all weights, shifted and added."""
    *sizes, _, channels = kernel.shape
    places = features.shape[1:-1]
    weights = tf.reshape(kernel, [-1, channels])  # first in the product, so that the shifted arrays are contiguous
    products = tf.matmul(weights, tf.reshape(features, [-1, channels]), transpose_b=True)
    products = tf.reshape(products, [math.prod(sizes), -1, *places])
    beyond = [[size // 2, (size - 1) // 2] for size in sizes]
    shifted = zip(
        tf.unstack(tf.pad(products, [[0, 0], [0, 0], *beyond])),
        itertools.product(*(reversed(range(size)) for size in sizes)),
        strict=True,
    )
    # tf.slice, whose gradient is a pad: that of [...] takes two or three times as long.
    return tf.add_n([tf.slice(one, [0, *start], [-1, *places]) for one, start in shifted])[..., tf.newaxis]
