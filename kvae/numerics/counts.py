"""Distributions of counts 0, 1, 2, ... without end, element by element."""

import math

import tensorflow as tf
from tensorflow_probability.python.internal import parameter_properties

from kvae.numerics.elementary import capped, log_gamma
from kvae.numerics.masses import Mass, bisected, numbers

LARGEST_MEAN = 2.0**24  # up to here float32 numbers are one apart
_MANY = 1e4  # a rate from which on the expansion of the Poisson quantile is exact in float32
_LEAST = 1e-12  # of a uniform number


class Poisson(Mass):
    """log p(x) = x l - e^l - log x! for the log-rate l, at most the logarithm of `LARGEST_MEAN`."""

    def __init__(self, log_rate):
        self.log_rate = capped(log_rate, math.log(LARGEST_MEAN))
        super().__init__({"log_rate": log_rate})

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return numbers("log_rate")

    def _log_mass(self, x):
        log_rate = tf.cast(self.log_rate, tf.float64)
        return x * log_rate - tf.exp(log_rate) - log_gamma(x + 1.0)

    def _mean(self):
        return tf.exp(self.log_rate)

    def _variance(self):
        return tf.exp(self.log_rate)

    def _smallest(self, u):
        rate = tf.exp(tf.cast(self.log_rate, tf.float64))
        few = tf.broadcast_to(tf.minimum(rate, _MANY), tf.shape(u))
        found = bisected(lambda k: tf.math.igammac(k + 1.0, few), u, tf.round(few + 9.0 * tf.sqrt(few) + 40.0))
        # Giles (2016), Algorithm 955: the expansion for large rates; its error is of order rate^(-3/2).
        w, root = tf.math.ndtri(u), tf.sqrt(tf.maximum(rate, _MANY))
        square = w * w
        series = (2.0 + square) / 6.0 - w * (2.0 + square) / (72.0 * root)
        series += (3.0 * square * square + 7.0 * square - 16.0) / (810.0 * root * root)
        return tf.where(rate > _MANY, tf.floor(root * root + root * w + series), found)


class NegativeBinomial(Mass):
    """Counts of mean m and variance m + m^2 / r: a Poisson of a gamma distributed rate.

    log p(x) = log Gamma(x + r) / (Gamma(r) x!) + r log(r / (r + m)) + x log(m / (r + m)).

    Args:
        log_mean: log m, at most the logarithm of `LARGEST_MEAN`.
        concentration: r > 0.
    """

    def __init__(self, log_mean, concentration):
        self.log_mean, self.concentration = capped(log_mean, math.log(LARGEST_MEAN)), concentration
        super().__init__({"log_mean": log_mean, "concentration": concentration})

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return numbers("log_mean", "concentration")

    def _log_mass(self, x):
        log_mean, r = (tf.cast(p, tf.float64) for p in (self.log_mean, self.concentration))
        odds = log_mean - tf.math.log(r)  # log m / r
        ratio = log_gamma(x + r) - log_gamma(r) - log_gamma(x + 1.0)
        return ratio - r * tf.math.softplus(odds) - x * tf.math.softplus(-odds)

    def _mean(self):
        return tf.exp(self.log_mean)

    def _variance(self):
        mean = tf.exp(self.log_mean)
        return mean + tf.square(mean) / self.concentration

    def _smallest(self, u):
        r, mean = tf.cast(self.concentration, tf.float64), tf.exp(tf.cast(self.log_mean, tf.float64))
        r, mean = tf.broadcast_to(r, tf.shape(u)), tf.broadcast_to(mean, tf.shape(u))
        far = mean + 9.0 * tf.sqrt(mean + mean * mean / r) + 40.0 * (1.0 + mean / r)  # beyond it are e^-40
        success = r / (r + mean)
        return bisected(lambda k: tf.math.betainc(r, k + 1.0, success), u, tf.round(far))


class ZeroInflated(Mass):
    """0 with the probability pi more often than a mass f has it: p(x) = pi [x = 0] + (1 - pi) f(x).

    Args:
        mass: f, a `Mass`.
        logits: log pi / (1 - pi).
    """

    def __init__(self, mass: Mass, logits):
        self.mass, self.logits = mass, logits
        super().__init__({"mass": mass, "logits": logits}, mass.highest)

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return numbers("logits") | {"mass": parameter_properties.BatchedComponentProperties()}

    def _log_mass(self, x):
        logits = tf.cast(self.logits, tf.float64)
        rest = self.mass.log_mass(x) - tf.math.softplus(logits)
        return tf.where(
            x == 0.0, tf.reduce_logsumexp([rest, tf.zeros_like(rest) - tf.math.softplus(-logits)], axis=0), rest
        )

    def _mean(self):
        return tf.sigmoid(-self.logits) * self.mass.mean()

    def _variance(self):
        more, mean = tf.sigmoid(self.logits), self.mass.mean()
        return tf.sigmoid(-self.logits) * (self.mass.variance() + more * tf.square(mean))

    def _smallest(self, u):
        """0 below pi, and the quantile of f at what is left, as a part of 1 - pi."""
        logits = tf.cast(self.logits, u.dtype)
        left = (u - tf.sigmoid(logits)) / tf.sigmoid(-logits)
        found = tf.cast(self.mass.quantile(tf.clip_by_value(left, _LEAST, 1.0 - _LEAST)), u.dtype)
        return tf.where(left <= 0.0, tf.zeros_like(found), found)
