"""Masses over codes whose positions are independent."""

import math

import keras
import numpy as np
import tensorflow as tf

from kvae.numerics.codes import inverse


class UniformMass(keras.layers.Layer):
    """p(k_1, ..., k_M) = K^-M."""

    def build(self, positions, codes):
        """For M positions and K codes."""
        self.positions, self.codes = positions, codes

    def log_mass(self, indices):
        """-M log K, `[...]`, for indices `[..., M]`."""
        return tf.fill(tf.shape(indices)[:-1], tf.constant(-self.positions * math.log(self.codes), self.compute_dtype))

    def masses(self, indices):
        """The mass of each code at each position, `[1, M, K]`; of what comes before it does not depend."""
        del indices
        return tf.fill([1, self.positions, self.codes], tf.constant(1.0 / self.codes, self.compute_dtype))

    def draw(self, uniform):
        """Indices of uniform numbers of the same shape."""
        return tf.minimum(tf.cast(uniform * self.codes, tf.int32), self.codes - 1)


class CategoricalMass(keras.layers.Layer):
    """p(k_1, ..., k_M) = prod_m p_m(k_m), p_m = softmax(logits_m)."""

    def build(self, positions, codes):
        """Make the logits `[M, K]`."""
        self.positions, self.codes = positions, codes
        self.logits = self.add_weight(name="logits", shape=(positions, codes), initializer="zeros", autocast=False)

    def log_mass(self, indices):
        """The sum over the positions of log p_m(k_m), `[...]`, for indices `[..., M]`."""
        logs = tf.reshape(tf.nn.log_softmax(self.logits), [-1])
        return tf.reduce_sum(tf.gather(logs, indices + np.arange(self.positions, dtype=np.int32) * self.codes), axis=-1)

    def masses(self, indices):
        """The mass of each code at each position, `[1, M, K]`."""
        del indices
        return tf.nn.softmax(self.logits)[None]

    def draw(self, uniform):
        """Indices of uniform numbers `[..., M]`."""
        return inverse(tf.nn.softmax(self.logits), uniform)

    def fit(self, indices: np.ndarray, pseudo_count: float) -> None:
        """The frequencies of indices `[N, M]`, with so much added to each count."""
        self.logits.assign(log_frequencies(indices, self.codes, pseudo_count))


def log_frequencies(indices: np.ndarray, codes: int, pseudo_count: float) -> np.ndarray:
    """Logarithms of the frequencies `[M, K]` of indices `[N, M]`, with so much added to each count."""
    counts = np.stack([np.bincount(column, minlength=codes) for column in indices.T]) + pseudo_count
    with np.errstate(divide="ignore"):
        return np.log(counts / counts.sum(axis=1, keepdims=True))
