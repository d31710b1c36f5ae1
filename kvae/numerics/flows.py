"""Flows: several invertible maps in a row, each an element map whose parameters depend on the numbers before.

The numbers of an event have degrees. The parameters of a number depend on the numbers of lower degree and on a context.
So the Jacobian is triangular in the order of the degrees, and one pass of the network gives the image and its
log-determinant. The way back takes one pass for each degree.

- autoregressive: the degrees are 1, ..., D in some order (MADE).
- coupling: the first half of an order has degree 1 and stays as it is; the second half has degree 2.

Each second map reverses the order. With more than two, the orders take turns with those of even numbers first.

References: Germain, Gregor, Murray, Larochelle (2015), MADE, arXiv 1502.03509. Dinh, Sohl-Dickstein, Bengio (2017),
Density estimation using Real NVP, arXiv 1605.08803.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from kvae.numerics.bijections import Elements


class Map(keras.layers.Layer):
    """One map of a flow, with its network: dense layers with masks, ELU between them, zeros in the last at first.

    A layer without `call`; it is built from the start.

    Args:
        degrees: of the D numbers, from 1 on.
        first: the lowest degree that moves; numbers of lower degrees stay as they are.
        elements: the element maps.
        hidden: sizes of the network's hidden layers; () for none, so that it is linear.
        context: how many numbers the context has; 0 for none.
        dtype, name: of the layer.
    """

    def __init__(
        self, degrees: np.ndarray, first: int, elements: Elements, hidden: Sequence[int], context: int, dtype: str,
        name: str,
    ):  # fmt: skip
        super().__init__(dtype=dtype, name=name)
        self.degrees, self.first, self.elements, last = degrees, first, elements, int(degrees.max())
        known, self.masks = degrees, []
        for size in hidden:  # a unit sees the numbers up to its degree; those of degree 0 see the context alone
            units = first - 1 + np.arange(size) * (last + 1 - first) // size
            self.masks.append(known[:, None] <= units)
            known = units
        outputs = np.where(degrees >= first, degrees, 0).repeat(elements.size)
        self.masks.append(known[:, None] < outputs)
        self.kernels, self.biases = [], []
        for number, mask in enumerate(self.masks):
            start = "glorot_uniform" if number < len(hidden) else "zeros"
            self.kernels.append(self.add_weight(name=f"kernel_{number}", shape=mask.shape, initializer=start))
            self.biases.append(self.add_weight(name=f"bias_{number}", shape=mask.shape[1:], initializer="zeros"))
        if context:
            shape, start = (context, self.masks[0].shape[1]), "glorot_uniform" if hidden else "zeros"
            self.context_kernel = self.add_weight(name="context_kernel", shape=shape, initializer=start)
        self.built = True

    def _parameters(self, x, offset):
        """Those of the element maps, `[..., D, size]`; `offset` is what the context adds to the first layer."""
        for number, (kernel, bias, mask) in enumerate(zip(self.kernels, self.biases, self.masks, strict=True)):
            x = tf.nn.elu(x) if number else x
            x = tf.tensordot(x, kernel * mask.astype(self.dtype), 1) + bias
            x = x if number or offset is None else x + offset
        return tf.reshape(x, tf.concat([tf.shape(x)[:-1], [len(self.degrees), self.elements.size]], axis=0))

    def _offset(self, context):
        return None if context is None else tf.matmul(context, tf.convert_to_tensor(self.context_kernel))

    def forward(self, x, context=None):
        """y `[..., D]` and log|det dy/dx| `[...]`: one pass; context `[B, C]` belongs to the last axes of `...`."""
        y, log_slope = self.elements.forward(x, self._parameters(x, self._offset(context)))
        return self._moved(y, x, log_slope)

    def inverse(self, y, context=None):
        """x `[..., D]` and log|det dx/dy| `[...]`: one pass for each degree that moves."""
        offset, degrees = self._offset(context), tf.constant(self.degrees)
        passes = int(self.degrees.max()) + 1 - self.first
        x, log_slope = self.elements.inverse(y, self._parameters(y, offset))
        if passes == 1:
            return self._moved(x, y, log_slope)

        def body(degree, x, log_slope):
            new = self.elements.inverse(y, self._parameters(x, offset))
            known = tf.equal(degrees, degree)  # by now; the others keep to numbers of a sound size
            return degree + 1, *(tf.where(known, a, b) for a, b in zip(new, (x, log_slope), strict=True))

        x = tf.where(tf.equal(degrees, 1), x, y + tf.zeros_like(x))
        state = tf.constant(2, degrees.dtype), x, log_slope
        state = tf.while_loop(lambda *_: True, body, state, maximum_iterations=passes - 1)
        return state[1], tf.reduce_sum(state[2], axis=-1)

    def _moved(self, new, old, log_slope):
        """The new numbers where they move, and the sum of the log-derivatives."""
        if self.first > 1:
            moves = self.degrees >= self.first
            new, log_slope = tf.where(moves, new, old), tf.where(moves, log_slope, tf.zeros_like(log_slope))
        return new, tf.reduce_sum(log_slope, axis=-1)


def maps(
    autoregressive: bool, count: int, elements: Elements, size: int, context: int, hidden: Sequence[int], dtype: str
) -> list[Map]:
    """The maps of a flow over `size` numbers, see the module."""
    made = []
    for number in range(count):
        order = np.arange(size)
        order = np.concatenate([order[::2], order[1::2]]) if number % 4 > 1 else order
        degrees = 1 + np.argsort(order[::-1] if number % 2 else order)
        if not autoregressive:
            degrees = np.where(degrees > size // 2, 2, 1)
        first = 1 if autoregressive else 2
        made.append(Map(degrees, first, elements, hidden, context, dtype, f"map_{number + 1}"))
    return made


def forward(flow: Sequence[Map], x, context=None):
    """Through all maps: y `[..., D]` and log|det dy/dx| `[...]`."""
    total = tf.zeros_like(x[..., 0])
    for one in flow:
        x, log_det = one.forward(x, context)
        total += log_det
    return x, total


def inverse(flow: Sequence[Map], y, context=None):
    """Back through all maps: x `[..., D]` and log|det dx/dy| `[...]`."""
    total = tf.zeros_like(y[..., 0])
    for one in reversed(flow):
        y, log_det = one.inverse(y, context)
        total += log_det
    return y, total


class Bijector(NamedTuple):
    """The two ways between noise and z, without their log-determinants."""

    forward: Callable
    inverse: Callable


class Pushforward(tfd.Distribution):
    """The distribution of z = f(eps), eps ~ N(0, I): log p(z) = log N(eps; 0, I) - log|det dz/deps|.

    It has no mean and no scale in closed form.

    Args:
        forward: from eps `[..., D]` to z and log|det dz/deps|.
        inverse: from z to eps and log|det deps/dz|.
        like: a tensor of the shape `[*batch, D]`.
    """

    def __init__(self, forward: Callable, inverse: Callable, like):
        parameters = dict(locals())
        self._forward, self._inverse, self._like = forward, inverse, like
        self.bijector = Bijector(lambda eps: forward(eps)[0], lambda z: inverse(z)[0])
        reparameterized = tfd.FULLY_REPARAMETERIZED
        super().__init__(like.dtype, reparameterized, validate_args=False, allow_nan_stats=True, parameters=parameters)

    def _batch_shape(self):
        return self._like.shape[:-1]

    def _batch_shape_tensor(self):
        return tf.shape(self._like)[:-1]

    def _event_shape(self):
        return self._like.shape[-1:]

    def _event_shape_tensor(self):
        return tf.shape(self._like)[-1:]

    def drawn(self, eps):
        """z of noise, and log p(z), exactly and in the direction of draws."""
        z, log_det = self._forward(eps)
        return z, _log_normal(eps) - log_det

    def _log_prob(self, z):
        eps, log_det = self._inverse(z)
        return _log_normal(eps) + log_det

    def _sample_n(self, n, seed=None):
        shape = tf.concat([[n], tf.shape(self._like)], axis=0)
        normal = tfd.Normal(tf.zeros([], self.dtype), tf.ones([], self.dtype))
        return self._forward(normal.sample(shape, seed=seed))[0]


def _log_normal(eps):
    """log N(eps; 0, I)."""
    return -0.5 * (tf.reduce_sum(tf.square(eps), axis=-1) + eps.shape[-1] * math.log(2.0 * math.pi))
