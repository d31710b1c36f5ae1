"""Distributions over the levels 0, 1, ..., K - 1, element by element, in closed forms without cancellation."""

import tensorflow as tf

from kvae.numerics.masses import Mass, bisected, numbers, window


def log_difference(upper, lower, width):
    """log(sigmoid(upper) - sigmoid(lower)) for upper = lower + width, width > 0, without cancellation.

    sigmoid(b) - sigmoid(a) = sigmoid(b) sigmoid(-a) (1 - e^-(b - a)).
    """
    return tf.math.log_sigmoid(upper) + tf.math.log_sigmoid(-lower) + tf.math.log(-tf.math.expm1(-width))


def softmax(logits):
    """Of logits `[..., K]`; in two axes where they have more than five, which oneDNN's operation refuses."""
    if logits.shape.rank is not None and logits.shape.rank <= 5:
        return tf.nn.softmax(logits)
    flat = tf.nn.softmax(tf.reshape(logits, [-1, logits.shape[-1]]))
    return tf.ensure_shape(tf.reshape(flat, tf.shape(logits)), logits.shape)


class DiscretizedLogistic(Mass):
    """A mixture of logistic distributions, rounded to the next of `levels` levels; those beyond go to the end.

    p(x) = sum_c w_c [sigmoid((x + 1/2 - m_c) / s_c) - sigmoid((x - 1/2 - m_c) / s_c)], the first sigmoid being 1 at the
    highest level, and the second one 0 at 0.

    Args:
        loc, scale: m and s `[..., components]`, in levels.
        logits: of the weights w, `[..., components]`.
        levels: K.
    """

    wide = None

    def __init__(self, loc, scale, logits, levels: int):
        self.loc, self.scale, self.logits = loc, scale, logits
        parameters = {"loc": loc, "scale": scale, "logits": logits, "levels": levels}
        super().__init__(parameters, levels - 1.0)

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return numbers("loc", "scale", "logits", event_ndims=1)

    def _log_mass(self, x):
        x = x[..., tf.newaxis]
        upper, lower = (x + 0.5 - self.loc) / self.scale, (x - 0.5 - self.loc) / self.scale
        each = log_difference(upper, lower, 1.0 / self.scale)
        each = tf.where(x == 0.0, tf.math.log_sigmoid(upper), each)
        each = tf.where(x == self.highest, tf.math.log_sigmoid(-lower), each)
        if self.loc.shape[-1] == 1:
            return each[..., 0]
        return tf.reduce_logsumexp(each + tf.nn.log_softmax(self.logits), axis=-1)

    def _at_least(self, k):
        """P(X >= k) for k >= 1, a number for all elements or one for each; in the dtype of k."""
        loc, scale, logits = (tf.cast(p, k.dtype) for p in (self.loc, self.scale, self.logits))
        each = tf.sigmoid((loc - k[..., tf.newaxis] + 0.5) / scale)
        return each[..., 0] if loc.shape[-1] == 1 else tf.reduce_sum(softmax(logits) * each, axis=-1)

    def _moments(self):
        """E X = sum_k P(X >= k) and E X^2 = sum_k (2k - 1) P(X >= k), k from 1 on, one at a time."""

        def body(k, first, second):
            tail = self._at_least(k)
            return k + 1.0, first + tail, second + (2.0 * k - 1.0) * tail

        zero = tf.zeros(tf.shape(self.loc)[:-1], tf.float64)
        start = tf.ones([], tf.float64), zero, zero
        most = round(self.highest)
        return tf.while_loop(lambda k, *_: k <= self.highest, body, start, maximum_iterations=most)[1:]

    def _mean(self):
        return tf.cast(self._moments()[0], self.dtype)

    def _variance(self):
        mean, square = self._moments()
        return tf.cast(tf.maximum(square - tf.square(mean), 0.0), self.dtype)

    def _smallest(self, u):
        if self.loc.shape[-1] > 1:
            return bisected(lambda k: 1.0 - self._at_least(k + 1.0), u, tf.constant(self.highest, u.dtype))
        x = self.loc[..., 0] + self.scale[..., 0] * (tf.math.log(u) - tf.math.log1p(-u))
        return tf.clip_by_value(tf.math.ceil(x - 0.5), 0.0, self.highest)


class Levels(Mass):
    """Abstract: a mass that gives the probabilities of all levels at once, `_all_levels()`, `[..., K]`."""

    wide = None

    def _all_levels(self):
        raise NotImplementedError

    def table(self, first, width: int):
        """A part of all levels."""
        return window(self._all_levels(), first, width)

    def _numbers(self):
        return tf.range(self.highest + 1.0, dtype=self.dtype)

    def _mean(self):
        return tf.linalg.matvec(self._all_levels(), self._numbers())

    def _variance(self):
        """sum_k p_k (k - mean)^2."""
        p = self._all_levels()
        apart = self._numbers() - tf.linalg.matvec(p, self._numbers())[..., tf.newaxis]
        return tf.reduce_sum(p * tf.square(apart), axis=-1)

    def _mode(self):
        return tf.cast(tf.argmax(self._all_levels(), axis=-1), self.dtype)

    def _smallest(self, u):
        """How many of the partial sums, but for the last, lie below u."""
        below = tf.cumsum(self._all_levels(), axis=-1)[..., :-1] < u[..., tf.newaxis]
        return tf.reduce_sum(tf.cast(below, self.dtype), axis=-1)


class Categorical(Levels):
    """p(x) = softmax(logits)_x for logits `[..., K]`; the mean is that of the level's number."""

    def __init__(self, logits):
        self.logits = logits
        super().__init__({"logits": logits}, logits.shape[-1] - 1.0)

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return numbers("logits", event_ndims=1)

    def _all_levels(self):
        return softmax(self.logits)

    def _log_mass(self, x):
        chosen = tf.one_hot(tf.cast(x, tf.int32), self.logits.shape[-1], dtype=self.dtype)
        return tf.reduce_sum(chosen * tf.nn.log_softmax(self.logits), axis=-1)


class Ordinal(Levels):
    """P(X <= k) = sigmoid(c_k - f): proportional odds (McCullagh 1980).

    Args:
        location: f.
        first: c_0.
        steps: c_k - c_(k - 1) > 0 for k from 1 to K - 2, `[..., K - 2]`.
    """

    def __init__(self, location, first, steps):
        self.location, self.first, self.steps = location, first, steps
        super().__init__({"location": location, "first": first, "steps": steps}, steps.shape[-1] + 1.0)

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return numbers("location", "first") | numbers("steps", event_ndims=1)

    def _ends(self):
        """c_k - f, `[..., K - 1]`."""
        first = self.first[..., tf.newaxis]
        cutpoints = tf.concat([first, first + tf.cumsum(self.steps, axis=-1)], axis=-1)
        return cutpoints - self.location[..., tf.newaxis]

    def _each(self):
        """The logarithms of the probabilities of all levels, `[..., K]`."""
        ends = self._ends()
        inner = log_difference(ends[..., 1:], ends[..., :-1], self.steps)
        return tf.concat([tf.math.log_sigmoid(ends[..., :1]), inner, tf.math.log_sigmoid(-ends[..., -1:])], axis=-1)

    def _all_levels(self):
        return tf.exp(self._each())

    def _log_mass(self, x):
        chosen = tf.one_hot(tf.cast(x, tf.int32), round(self.highest) + 1, dtype=self.dtype)
        return tf.reduce_sum(chosen * self._each(), axis=-1)

    def _mean(self):
        """sum_k P(X > k)."""
        return tf.reduce_sum(tf.sigmoid(-self._ends()), axis=-1)
