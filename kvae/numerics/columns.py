"""Distributions of single numbers side by side: some of the columns have one, some another."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

from kvae.numerics.distributions import independent


class Order:
    """Groups of columns, in which they are cut out of an array `[..., D]` and put together again.

    Args:
        groups: the columns of each group; each of 0..D-1 is in one of them.
    """

    def __init__(self, groups: Sequence[Sequence[int]]):
        self.groups = [list(columns) for columns in groups]
        every = np.concatenate([np.asarray(columns, int) for columns in self.groups])
        self.size = len(every)
        self._back = np.argsort(every)
        self._in_order = bool((self._back == np.arange(self.size)).all())

    def split(self, x) -> list:
        """x `[..., D]` in parts `[..., columns]`."""
        if self._in_order:
            return tf.split(x, [len(columns) for columns in self.groups], axis=-1)
        return [tf.gather(x, columns, axis=-1) for columns in self.groups]

    def join(self, parts: Sequence):
        """The x of which these are the parts."""
        together = tf.concat(parts, axis=-1)
        return together if self._in_order else tf.gather(together, self._back, axis=-1)


class Columns(tfd.Distribution):
    """Independent numbers `[..., D]`, whose distributions are those of groups of columns.

    Args:
        parts: of each group, with the batch `[..., columns]`, of one dtype.
        order: which columns these are.
    """

    def __init__(self, parts: Sequence[tfd.Distribution], order: Order):
        parameters = {"parts": parts, "order": order}
        self.parts, self.order = list(parts), order
        kinds = {part.reparameterization_type for part in parts}
        kind = kinds.pop() if len(kinds) == 1 else tfd.NOT_REPARAMETERIZED
        super().__init__(parts[0].dtype, kind, False, True, parameters=parameters, name="Columns")

    def _event_shape(self):
        return tf.TensorShape([])

    def _event_shape_tensor(self):
        return tf.constant([], tf.int32)

    def _batch_shape(self):
        return self.parts[0].batch_shape[:-1].concatenate(self.order.size)

    def _batch_shape_tensor(self):
        lead = self.parts[0].batch_shape_tensor()[:-1]
        return tf.concat([lead, [self.order.size]], axis=0)

    def _joined(self, values):
        """Of the columns' own kinds, such as the integers of a Bernoulli distribution."""
        return self.order.join([tf.cast(value, self.dtype) for value in values])

    def event_log_prob(self, x, ndims: int):
        """The sum of log_prob over the last `ndims` axes, of which the columns are the only one."""
        del ndims
        return tf.add_n(self.group_log_probs(x))

    def group_log_probs(self, x) -> list:
        """The log-density of the columns of each group together, `[...]`."""
        each = zip(self.parts, self.order.split(x), strict=True)
        return [independent(part, 1).log_prob(some) for part, some in each]

    def _log_prob(self, x):
        each = zip(self.parts, self.order.split(x), strict=True)
        return self._joined([part.log_prob(some) for part, some in each])

    def _mean(self):
        return self._joined([part.mean() for part in self.parts])

    def _mode(self):
        return self._joined([part.mode() for part in self.parts])

    def _variance(self):
        return self._joined([part.variance() for part in self.parts])

    def _sample_n(self, n, seed=None):
        seeds = tf.unstack(tfp.random.split_seed(seed, len(self.parts)))
        return self._joined([part.sample(n, seed=one) for part, one in zip(self.parts, seeds, strict=True)])
