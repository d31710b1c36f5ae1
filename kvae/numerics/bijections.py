"""Element maps of flows: increasing functions of one number, with parameters.

Each takes x `[..., D]` and parameters `[..., D, size]` and returns the image and the logarithm of the map's own
derivative, both `[..., D]`. Parameters of zero give the identity. Derivations: docs/theory.md.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

BOUND = 5.0  # of a spline: outside [-BOUND, BOUND] it is the identity
_LOG_SCALE = 3.0  # the largest |log scale| of an affine map
_LEAST = 1e-3  # the smallest width and height of a bin, as a part of all, and the smallest derivative at a knot
_UNIT = math.log(math.expm1(1.0 - _LEAST))  # the least plus softplus of this is 1


class Elements(NamedTuple):
    """A kind of element map.

    Attributes:
        size: how many parameters an element has.
        forward, inverse: functions of x and the parameters; see the module.
    """

    size: int
    forward: Callable
    inverse: Callable


def elements(kind: str, bins: int) -> Elements:
    """The element maps "affine", or "spline" with so many bins."""
    return Elements(2, affine, affine_inverse) if kind == "affine" else Elements(3 * bins - 1, spline, spline_inverse)


def affine(x, parameters):
    """y = e^s x + t for parameters (t, r), s = 3 tanh(r / 3)."""
    shift, s = _affine(parameters)
    return tf.exp(s) * x + shift, s + tf.zeros_like(x)


def affine_inverse(y, parameters):
    """x = e^-s (y - t)."""
    shift, s = _affine(parameters)
    return tf.exp(-s) * (y - shift), tf.zeros_like(y) - s


def _affine(parameters):
    return parameters[..., 0], _LOG_SCALE * tf.tanh(parameters[..., 1] / _LOG_SCALE)


def spline(x, parameters):
    """The monotonic rational-quadratic spline of K bins on [-5, 5], the identity outside; 3 K - 1 parameters.

    They are the logits of K widths and K heights, and raw derivatives at the K - 1 inner knots. The derivative at both
    ends is 1.

    Reference: Durkan, Bekasov, Murray, Papamakarios (2019), Neural spline flows, arXiv 1906.04032.
    """
    inside = tf.abs(x) < BOUND
    x = x + tf.zeros_like(parameters[..., 0])
    safe = tf.where(inside, x, tf.zeros_like(x))  # where the spline is not used its gradient must be finite, too
    left, width, low, height, d0, d1 = _bin(safe, parameters, by_height=False)
    t = (safe - left) / width
    slope = height / width
    y, log_slope = _rational_quadratic(t, slope, d0, d1)
    return tf.where(inside, low + height * y, x), tf.where(inside, log_slope, tf.zeros_like(x))


def spline_inverse(y, parameters):
    """The inverse of `spline`: the root of a quadratic equation."""
    inside = tf.abs(y) < BOUND
    y = y + tf.zeros_like(parameters[..., 0])
    safe = tf.where(inside, y, tf.zeros_like(y))
    left, width, low, height, d0, d1 = _bin(safe, parameters, by_height=True)
    u, slope = (safe - low) / height, height / width
    bend = d0 + d1 - 2.0 * slope
    # slope t^2 + d0 t (1 - t) = u (slope + bend t (1 - t)), as a t^2 + b t = c with c >= 0
    a, b, c = slope - d0 + u * bend, d0 - u * bend, u * slope
    root = tf.sqrt(tf.maximum(tf.square(b) + 4.0 * a * c, _tiny(y)))
    t = 2.0 * c / (b + root)  # without cancellation: b + root > 0
    _, log_slope = _rational_quadratic(t, slope, d0, d1)
    return tf.where(inside, left + width * t, y), tf.where(inside, -log_slope, tf.zeros_like(y))


def _rational_quadratic(t, slope, d0, d1):
    """At the part t of a bin's width: the part of its height, and the logarithm of the spline's derivative."""
    inner = t * (1.0 - t)
    below = slope + (d0 + d1 - 2.0 * slope) * inner
    above = d1 * tf.square(t) + 2.0 * slope * inner + d0 * tf.square(1.0 - t)
    part = (slope * tf.square(t) + d0 * inner) / below
    return part, 2.0 * (tf.math.log(slope) - tf.math.log(below)) + tf.math.log(above)


def _bin(value, parameters, by_height: bool):
    """Of the bin that each value is in: left end, width, lower end, height, and the derivatives at its ends."""
    bins = (parameters.shape[-1] + 1) // 3
    widths, heights, raw = tf.split(parameters, [bins, bins, bins - 1], axis=-1)
    widths, heights = (2.0 * BOUND * (_LEAST + (1.0 - bins * _LEAST) * tf.nn.softmax(w)) for w in (widths, heights))
    lefts, lows = (tf.cumsum(sizes, axis=-1, exclusive=True) - BOUND for sizes in (widths, heights))
    ends = tf.ones_like(widths[..., :1])
    inner = _LEAST + tf.math.softplus(raw + _UNIT)
    known = lefts, widths, lows, heights, tf.concat([ends, inner], -1), tf.concat([inner, ends], -1)
    knots = (lows if by_height else lefts)[..., 1:]
    number = tf.reduce_sum(tf.cast(value[..., None] >= knots, tf.int32), axis=-1)
    here = tf.one_hot(number, bins, dtype=parameters.dtype)  # a gather of each row is slower under XLA
    return [tf.reduce_sum(here * each, axis=-1) for each in known]


def _tiny(x):
    return tf.constant(1e-30, x.dtype)
