"""Elementary functions: power series, and positive numbers out of real ones."""

import math

import numpy as np
import tensorflow as tf

UNIT_SOFTPLUS = math.log(math.expm1(1.0))  # softplus of this is 1


def positive(raw, floor: float, cap: float):
    """Softplus with a floor and a cap: min(floor + log(1 + e^raw), cap).

    The cap is straight-through: above it the value is constant, but the gradient passes. So a scale that grew too large
    can shrink again.
    """
    value = floor + tf.math.softplus(raw)
    over = tf.nn.relu(value - cap)
    return tf.minimum(value, cap) + (over - tf.stop_gradient(over))  # exact: value - over would be 0 for a large value


def inverse_softplus(value) -> np.ndarray:
    """The raw number with softplus(raw) = value > 0, in NumPy."""
    return value + np.log(-np.expm1(-value))


def polynomial(x, coefficients):
    """sum_k c_k x^k, at least two terms, by Horner's rule: additions and multiplications alone."""
    value = coefficients[-1] * x
    for c in coefficients[-2:0:-1]:
        value = (value + c) * x
    return value + coefficients[0]
