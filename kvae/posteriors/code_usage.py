"""How many of the codes an epoch uses, and how evenly."""

import keras
import tensorflow as tf


class CodeUsage(keras.metrics.Metric):
    """The part of the codes that were used since the metric was reset, all positions taken together.

    Args:
        codes: K.
        name: in the logs.

    Attributes:
        counts: the sum of the examples' weights for each code, `[K]`.
    """

    def __init__(self, codes: int, name: str = "usage"):
        super().__init__(name=name)
        self.codes = codes
        self.counts = self.add_variable((codes,), "zeros", name="counts")

    def update_state(self, indices, sample_weight=None):
        """Count indices `[B, M]` with weights `[B]`."""
        weight = tf.ones_like(indices, self.counts.dtype)
        if sample_weight is not None:
            weight *= tf.cast(sample_weight, weight.dtype)[:, None]
        new = tf.math.unsorted_segment_sum(tf.reshape(weight, [-1]), tf.reshape(indices, [-1]), self.codes)
        self.counts.assign_add(new)

    def result(self):
        """From 1/K to 1; 0 where nothing was counted."""
        return tf.reduce_mean(tf.cast(self.counts > 0.0, self.counts.dtype))


class CodePerplexity(keras.metrics.Metric):
    """exp(-sum_k f_k log f_k), with f_k the frequency of code k in the counts of a `CodeUsage`: from 1 to K."""

    def __init__(self, usage: CodeUsage, name: str = "perplexity"):
        super().__init__(name=name)
        self.usage = usage

    def update_state(self, *args, **kwargs):
        """Nothing: it has no state of its own."""
        del args, kwargs

    def result(self):
        """0 where nothing was counted."""
        counts = tf.convert_to_tensor(self.usage.counts)
        total = tf.reduce_sum(counts)
        frequency = tf.math.divide_no_nan(counts, total)
        entropy = -tf.reduce_sum(tf.math.xlogy(frequency, frequency))
        return tf.where(total > 0.0, tf.exp(entropy), tf.zeros_like(total))

    def reset_state(self):
        """Nothing: it has no state of its own."""
