"""Distributions over the integers 0, 1, 2, ..., element by element.

Their logarithms are differences of large numbers, such as log Gamma at 1e6. So they are computed in float64, from
parameters in the family's dtype, and rounded at the end. The sum over an event is float64, too.
"""

import math

import tensorflow as tf
from tensorflow_probability import distributions as tfd
from tensorflow_probability.python.internal import parameter_properties

from kvae.numerics.elementary import capped, log_gamma

_FARTHEST = 300.0  # of a logit: e^-300 is far from the smallest float64 number
_AT_ONCE = 1 << 20  # masses


class Mass(tfd.Distribution):
    """Abstract: a mass on the integers from 0 to `highest`, which may be infinite; other x have the log-mass -inf.

    A subclass defines `_log_mass(x)` for float64 numbers x of the support, `_mean`, `_variance`, and
    `_smallest(u)`, the smallest integer k with P(X <= k) >= u, the quantile.
    """

    wide = tf.float64  # what `_log_mass` computes in

    def __init__(self, parameters: dict, highest: float = math.inf):
        """`parameters` are the subclass's arguments; the tensors among them have one dtype."""
        dtype = next(p.dtype for p in parameters.values() if tf.is_tensor(p))
        self.highest = highest
        super().__init__(dtype, tfd.NOT_REPARAMETERIZED, False, True, parameters=parameters, name=type(self).__name__)

    def _event_shape_tensor(self):
        return tf.constant([], tf.int32)

    def _event_shape(self):
        return tf.TensorShape([])

    def log_mass(self, x):
        """log p(x), float64 where it is computed so; x may be integers or floating-point numbers."""
        x = tf.cast(x, self.wide or self.dtype)
        inside = (x >= 0.0) & (x <= self.highest) & (x == tf.round(x))
        each = self._log_mass(tf.where(inside, x, tf.zeros_like(x)))
        return tf.where(inside, each, tf.constant(-math.inf, each.dtype))

    def table(self, first, width: int):
        """The masses of first, first + 1, ..., first + width - 1, `[..., width]`, for whole numbers first `[...]`."""
        return tf.cast(tabulated(self.log_mass, first, width), self.dtype)

    def _log_prob(self, x):
        return tf.cast(self.log_mass(x), self.dtype)

    def event_log_prob(self, x, ndims: int):
        """The sum of log_prob over the last `ndims` axes."""
        each = tf.cast(self.log_mass(x), tf.float64)
        return tf.cast(tf.reduce_sum(each, axis=list(range(-ndims, 0))), self.dtype)

    def _log_mass(self, x):
        raise NotImplementedError

    def _quantile(self, u):
        shape = tf.broadcast_dynamic_shape(tf.shape(u), self.batch_shape_tensor())
        return tf.cast(self._smallest(tf.cast(tf.broadcast_to(u, shape), self.wide or self.dtype)), self.dtype)

    def _smallest(self, u):
        raise NotImplementedError


def numbers(*names: str, event_ndims: int = 0) -> dict:
    """What TensorFlow Probability asks about parameters: how many axes of each belong to one element."""
    return {name: parameter_properties.ParameterProperties(event_ndims=event_ndims) for name in names}


def tabulated(log_mass, first, width: int):
    """The masses of first, ..., first + width - 1, `[..., width]`, by a function from x to log p(x)."""
    steps = tf.reshape(tf.range(width, dtype=first.dtype), [width] + [1] * first.shape.rank)
    return tf.transpose(tf.exp(log_mass(first + steps)), [*range(1, first.shape.rank + 1), 0])


def window(whole, first, width: int):
    """Of the masses of 0, 1, ..., K - 1, `[..., K]`, those of first, ..., first + width - 1, 0 beyond both ends."""
    levels = whole.shape[-1]
    index = tf.cast(first, tf.int32)[..., tf.newaxis] + tf.range(width)
    inside = (index >= 0) & (index < levels)
    found = tf.gather(whole, tf.clip_by_value(index, 0, levels - 1), batch_dims=first.shape.rank)
    return tf.where(inside, found, tf.zeros_like(found))


def bisected(cdf, u, highest):
    """The smallest integer k in 0..highest with cdf(k) >= u, where cdf(highest) counts as 1."""
    low, high = tf.fill(tf.shape(u), tf.constant(-1.0, u.dtype)), tf.broadcast_to(highest, tf.shape(u))

    def halve(low, high):
        middle = tf.floor(0.5 * (low + high))
        enough = cdf(middle) >= u
        open_ = high - low > 1.0
        return tf.where(open_ & ~enough, middle, low), tf.where(open_ & enough, middle, high)

    return tf.while_loop(lambda low, high: tf.reduce_any(high - low > 1.0), halve, (low, high))[1]


class BetaBinomial(Mass):
    """How many of `count` trials succeed, whose probability is beta distributed: see the likelihood.

    Args:
        logits: log m / (1 - m) of the mean probability m = a / (a + b).
        concentration: a + b > 0.
        count: of the trials.
    """

    def __init__(self, logits, concentration, count: int):
        parameters = {"logits": logits, "concentration": concentration, "count": count}
        self.logits, self.concentration, self.count = parameters.values()
        super().__init__(parameters, float(count))

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return numbers("logits", "concentration")

    def _ends(self):
        """a and b, float64, above 0."""
        logits = tf.cast(self.logits, tf.float64)
        logits = -capped(-capped(logits, _FARTHEST), _FARTHEST)
        concentration = tf.cast(self.concentration, tf.float64)
        return concentration * tf.sigmoid(logits), concentration * tf.sigmoid(-logits)

    def _log_mass(self, x):
        (a, b), n = self._ends(), float(self.count)
        g = log_gamma
        choose = math.lgamma(n + 1.0) - g(x + 1.0) - g(n - x + 1.0)
        return choose + (g(x + a) - g(a)) + (g(n - x + b) - g(b)) - (g(a + b + n) - g(a + b))

    def _ratios(self, k):
        """log p(k + 1) / p(k), float64; -inf from k = n on."""
        (a, b), n = self._ends(), float(self.count)
        a, b = a[..., tf.newaxis], b[..., tf.newaxis]
        inside = k < n
        k = tf.where(inside, k, tf.zeros_like(k))
        ratio = tf.math.log((n - k) * (k + a) / ((k + 1.0) * (n - k - 1.0 + b)))
        return tf.where(inside, ratio, tf.constant(-math.inf, tf.float64))

    def table(self, first, width: int):
        """By the ratios p(k + 1) / p(k), which take one logarithm each."""
        begin = tf.clip_by_value(tf.cast(first, tf.float64), 0.0, float(self.count))
        ratios = self._ratios(begin[..., tf.newaxis] + tf.range(width - 1, dtype=tf.float64))
        start = self._log_mass(begin)[..., tf.newaxis]
        part = tf.exp(tf.concat([start, start + tf.cumsum(ratios, axis=-1)], axis=-1))
        return window(tf.cast(part, self.dtype), tf.cast(first, tf.float64) - begin, width)

    def _mean(self):
        return self.count * tf.sigmoid(self.logits)

    def _variance(self):
        over = (self.concentration + self.count) / (self.concentration + 1.0)
        return self.count * tf.sigmoid(self.logits) * tf.sigmoid(-self.logits) * over

    def _smallest(self, u):
        """How many of the partial sums of p(0), p(1), ... lie below u: as many at a time as fit into the memory."""
        n, elements = self.count, u.shape.num_elements()
        size = min(n, max(1, _AT_ONCE // max(1, elements))) if elements is not None else 1
        start = tf.broadcast_to(self._log_mass(tf.zeros([], tf.float64)), tf.shape(u))

        def body(first, log_p, total, found):
            k = first + tf.range(size, dtype=tf.float64)
            more = tf.cumsum(self._ratios(k), axis=-1)
            log_ps = log_p[..., tf.newaxis] + tf.concat([tf.zeros_like(more[..., :1]), more], axis=-1)
            totals = total[..., tf.newaxis] + tf.cumsum(tf.exp(log_ps[..., :-1]), axis=-1)
            below = tf.reduce_sum(tf.cast((totals < u[..., tf.newaxis]) & (k < float(n)), u.dtype), axis=-1)
            return first + float(size), log_ps[..., -1], totals[..., -1], found + below

        def unfinished(first, log_p, total, found):
            del log_p, found
            return (first < float(n)) & tf.reduce_any(total < u)

        state = tf.zeros([], tf.float64), start, tf.zeros_like(u), tf.zeros_like(u)
        return tf.while_loop(unfinished, body, state, maximum_iterations=-(-n // size))[3]
