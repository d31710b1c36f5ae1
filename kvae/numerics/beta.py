"""The beta distribution, with a log-density that stays accurate where it is narrow, and its quantile function."""

import math

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from kvae.numerics.elementary import polynomial


class Beta(tfd.Beta):
    """`tfd.Beta`: log p(x) = (a - 1) log x + (b - 1) log(1 - x) - log B(a, b).

    With k = a + b, m = a / k and d(a) = log G(a) - (a - 1/2) log a + a - log(2 pi) / 2, the error of Stirling's
    formula, it is a log(x / m) + b log((1 - x) / (1 - m)) - log(x (1 - x)) + log(a b / (2 pi k)) / 2
    + d(k) - d(a) - d(b): there no large numbers cancel. By m the first two terms together have no derivative.
    """

    def _log_prob(self, x):
        a, b = self.concentration1, self.concentration0
        k = a + b
        m, r = tf.stop_gradient(a / k), tf.stop_gradient(b / k)
        over = (m - 0.5) + (r - 0.5)  # what rounding adds to m + r = 1
        narrow = a * _log_ratio(x, m, x - m) + b * _log_ratio(1.0 - x, r, (m - x) - over)
        narrow += tf.stop_gradient(k * over)
        size = 0.5 * (tf.math.log(a) + tf.math.log(b) - tf.math.log(k) - math.log(2.0 * math.pi))
        return narrow - tf.math.log(x) - tf.math.log1p(-x) + size + _stirling(k) - _stirling(a) - _stirling(b)

    def _quantile(self, value):
        """Newton's method for the logit t of x, in float64: TFP's is wrong in the first digits for a = b = 1/2.

        The density of t is log-concave. So log F and log(1 - F) are concave, and the steps come to the root from one
        side. The smaller of F and 1 - F is taken.
        """
        a, b, u = (tf.cast(t, tf.float64) for t in (self.concentration1, self.concentration0, value))
        a, b, u = (t + tf.zeros_like(a + b + u) for t in (a, b, u))
        lower = u < 0.5  # otherwise x and 1 - x change places
        a, b, u = tf.where(lower, a, b), tf.where(lower, b, a), tf.where(lower, u, 1.0 - u)
        low, high = (tf.where(lower, *ends) for ends in ((_LOW, -_HIGH), (_HIGH, -_LOW)))
        low, high = tf.cast(low, tf.float64), tf.cast(high, tf.float64)
        log_beta = tf.math.lgamma(a) + tf.math.lgamma(b) - tf.math.lgamma(a + b)
        one = tf.ones_like(a)
        spread = tf.sqrt(tf.math.polygamma(one, a) + tf.math.polygamma(one, b))
        start = tf.math.digamma(a) - tf.math.digamma(b) + spread * tf.math.ndtri(u)  # by mean and spread of the logit

        def nearer(t):
            below = tf.maximum(tf.math.betainc(a, b, tf.sigmoid(t)), 1e-300)
            log_density = a * tf.math.log_sigmoid(t) + b * tf.math.log_sigmoid(-t) - log_beta
            step = (tf.math.log(u) - tf.math.log(below)) * tf.exp(tf.math.log(below) - log_density)
            return [tf.clip_by_value(t + tf.clip_by_value(step, -2.0 * spread, 2.0 * spread), low, high)]

        start = tf.clip_by_value(start, low, high)
        (t,) = tf.while_loop(lambda _: tf.constant(True), nearer, [start], maximum_iterations=_ROUNDS)
        return tf.cast(tf.sigmoid(tf.where(lower, t, -t)), self.dtype)


_LOW, _HIGH = -87.3, 16.6  # logits of the ends that float32 holds
_ROUNDS = 16

# d(a) = sum_k B_2k / (2k (2k - 1)) a^(1 - 2k), B_2k the Bernoulli numbers
_SERIES = [1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156, -3617 / 122400]
_FAR = 10.0  # where the series is used


def _stirling(a):
    """d(a)."""
    far = a > _FAR
    inverse = 1.0 / tf.where(far, a, _FAR * tf.ones_like(a))
    near = tf.where(far, _FAR * tf.ones_like(a), a)
    exact = tf.math.lgamma(near) - (near - 0.5) * tf.math.log(near) + near - 0.5 * math.log(2.0 * math.pi)
    return tf.where(far, inverse * polynomial(tf.square(inverse), _SERIES), exact)


def _log_ratio(x, mean, excess):
    """log(x / mean), accurate where they are close; `excess` is x - mean."""
    excess = excess / mean
    close = tf.abs(excess) < 0.5
    near = tf.math.log1p(tf.where(close, excess, tf.zeros_like(excess)))
    return tf.where(close, near, tf.math.log(x) - tf.math.log(mean))
