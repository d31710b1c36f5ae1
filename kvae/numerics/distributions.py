"""Bernoulli and continuous Bernoulli distributions over whole events, with a faster and more accurate log-density.

Only `log_prob` differs from TensorFlow Probability's. It sums over the event in groups and takes one logarithm of a
product, where TFP takes the logarithm of each factor. The gradient is written out. Derivations: docs/theory.md.
"""

import math

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from kvae.numerics.elementary import polynomial
from kvae.numerics.gradients import custom_gradient


class Independent(tfd.Independent):
    """`tfd.Independent` of a distribution that gives the log-density of a whole event at once.

    Args:
        distribution: one with `event_log_prob(x, ndims)`, the sum of its log_prob over the last `ndims` axes.
        reinterpreted_batch_ndims: how many axes make an event.
    """

    def _log_prob(self, x):
        return self.distribution.event_log_prob(x, self.event_shape.rank)


def independent(elementwise, ndims: int) -> tfd.Distribution:
    """The distribution of the last `ndims` axes together, by its own sum over an event where it has one."""
    kind = Independent if hasattr(elementwise, "event_log_prob") else tfd.Independent
    return kind(elementwise, reinterpreted_batch_ndims=ndims)


class Bernoulli(tfd.Bernoulli):
    """`tfd.Bernoulli` of logits: log p(x) = x l - log(1 + e^l)."""

    def event_log_prob(self, x, ndims: int):
        """The sum of log_prob over the last `ndims` axes."""
        return _bernoulli(_flat(self.logits, ndims), _flat(x, ndims))


class ContinuousBernoulli(tfd.ContinuousBernoulli):
    """`tfd.ContinuousBernoulli` of logits: log p(x) = x l - log((e^l - 1) / l) for x in [0, 1], else -inf."""

    def event_log_prob(self, x, ndims: int):
        """The sum of log_prob over the last `ndims` axes."""
        return _continuous_bernoulli(_flat(self.logits, ndims), _flat(x, ndims))


@custom_gradient
def _bernoulli(logits, x):
    """sum_j x_j l_j - max(l_j, 0) - log(1 + e_j), e_j = exp(-|l_j|), over the last axis."""
    e = tf.exp(tf.where(logits < 0.0, logits, -logits))  # the kink of |l| at 0 would spoil second derivatives
    total = _summed(x * logits - tf.nn.relu(logits), 1.0 + e, group_size=16)

    def gradient(upstream):
        mean = tf.where(logits < 0.0, e, tf.ones_like(e))  # over 1 + e
        return _gradients(upstream, logits, x, x * (1.0 + e) - mean, 1.0 + e)

    return total, gradient


@custom_gradient
def _continuous_bernoulli(logits, x):
    """sum_j l_j (x_j - 1/2) - |l_j|/2 - log((1 - exp(-|l_j|)) / |l_j|) over the last axis."""
    size = tf.abs(logits)
    small = size < 0.5
    far = tf.where(small, tf.ones_like(size), size)
    near = tf.where(small, size, tf.zeros_like(size))
    ratio = tf.where(small, _polynomial(near, _RATIO), (1.0 - tf.exp(-far)) / far)
    outside = (x < 0.0) | (x > 1.0)
    terms = tf.where(outside, tf.constant(-math.inf, x.dtype), logits * (x - 0.5) - 0.5 * size)
    total = _summed(terms, ratio, group_size=4)  # four, so that huge logits do not make the product underflow

    def gradient(upstream):
        # The mean is 1/2 + coth(l/2)/2 - 1/l = 1/2 + (l/2 - t) / (l t), t = tanh(l/2); a series where |l| < 1.
        small = size < 1.0
        near = tf.where(small, logits, tf.zeros_like(logits))
        far = tf.where(small, tf.ones_like(logits), logits)
        t = tf.tanh(0.5 * far)
        mean = tf.where(small, near * _polynomial(near * near, _MEAN), 0.5 * far - t)
        over = tf.where(small, tf.ones_like(t), far * t)
        return _gradients(upstream, logits, x, (x - 0.5) * over - mean, over)

    return total, gradient


# (1 - e^-a) / a = sum_k (-a)^k / (k + 1)!, for a < 1/2.
_RATIO = [(-1.0) ** k / math.factorial(k + 1) for k in range(16)]
# coth(l/2)/2 - 1/l = sum_k B_2k l^(2k-1) / (2k)! for |l| < 1, B_2k the Bernoulli numbers.
_BERNOULLI_NUMBERS = [1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66]
_BERNOULLI_NUMBERS += [-691 / 2730, 7 / 6, -3617 / 510, 43867 / 798, -174611 / 330]
_MEAN = [number / math.factorial(2 * k) for k, number in enumerate(_BERNOULLI_NUMBERS, start=1)]


def _polynomial(x, coefficients):
    """sum_k c_k x^k; for float32 the first half of the coefficients is enough."""
    return polynomial(x, coefficients if x.dtype == tf.float64 else coefficients[: len(coefficients) // 2])


def _summed(terms, factors, group_size: int):
    """sum_j t_j - log f_j over the last axis, with one logarithm for the product of `group_size` factors.

    Adding in groups also keeps the rounding error of the sum of D numbers far below that of D additions in a row.
    """
    sums = tf.reduce_sum(_grouped(terms, group_size, 0.0), axis=-2)
    products = tf.reduce_prod(_grouped(factors, group_size, 1.0), axis=-2)
    return tf.reduce_sum(sums - tf.math.log(products), axis=-1)


def _grouped(x, group_size: int, filling: float):
    """x `[..., D]` as `[..., group_size, groups]`, filled up at the end."""
    groups = -(-x.shape[-1] // group_size)
    missing = groups * group_size - x.shape[-1]
    if missing:
        x = tf.pad(x, [[0, 0]] * (x.shape.rank - 1) + [[0, missing]], constant_values=tf.constant(filling, x.dtype))
    return tf.reshape(x, tf.concat([tf.shape(x)[:-1], [group_size, groups]], axis=0))


def _gradients(upstream, logits, x, numerator, denominator):
    """The gradients with respect to logits, numerator / denominator, and with respect to x, the logits.

    Each gradient has the shape of its argument. XLA repeats cheap operations for every consumer. The division comes
    last, so that XLA computes the whole gradient once.
    """
    upstream = upstream[..., None]
    axes = tf.raw_ops.BroadcastGradientArgs(s0=tf.shape(logits), s1=tf.shape(x))
    full = upstream * numerator / denominator, upstream * logits
    return [tf.reshape(tf.reduce_sum(g, axis), tf.shape(t)) for g, axis, t in zip(full, axes, (logits, x), strict=True)]


def _flat(x, ndims: int):
    """x with its last `ndims` axes as one."""
    if ndims == 1:
        return x
    size = x.shape[x.shape.rank - ndims :].num_elements()
    return tf.reshape(x, tf.concat([tf.shape(x)[: x.shape.rank - ndims], [size]], axis=0))
