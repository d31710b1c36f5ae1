"""A mass over codes in which each position depends on those before it."""

import math

import keras
import numpy as np
import tensorflow as tf

from kvae.numerics.codes import inverse
from kvae.priors.independent_masses import log_frequencies


class AutoregressiveMass(keras.layers.Layer):
    """p(k_1, ..., k_M) = prod_m p(k_m | k_1, ..., k_m-1), by a causal transformer; uniform at first.

    Position m gets the embedding of k_m-1 beside its own. Its attention goes to positions up to m. What comes out is
    added to logits of each position, which can begin at the frequencies of codes (`fit`).

    Args:
        units, layers, heads: the width, the number of blocks, the heads of each.

    Reference: Vaswani et al. (2017), Attention is all you need, arXiv 1706.03762.
    """

    def __init__(self, units: int, layers: int, heads: int, **options):
        super().__init__(**options)
        self.units = units
        self.blocks = [_Block(units, heads, name=f"block_{i + 1}", dtype=self.compute_dtype) for i in range(layers)]
        self.norm = keras.layers.LayerNormalization(name="norm", dtype=self.compute_dtype)

    def build(self, positions, codes):
        """Make the embeddings of K codes and M positions, the blocks, and the projection to logits."""
        self.positions, self.codes = positions, codes
        for name, rows in (("embedding", codes), ("places", positions)):
            start = keras.initializers.RandomNormal(stddev=1.0 / math.sqrt(self.units))
            weight = self.add_weight(name=name, shape=(rows, self.units), initializer=start, autocast=False)
            setattr(self, name, weight)
        self.logits = self.add_weight(name="logits", shape=(positions, codes), initializer="zeros", autocast=False)
        options = {"use_bias": False, "kernel_initializer": "zeros", "dtype": self.compute_dtype}
        self.head = keras.layers.Dense(codes, name="head", **options)
        for layer in (*self.blocks, self.norm, self.head):
            layer.build((None, positions, self.units))

    def _hidden(self, indices):
        """What the logits of each position are made of, `[N, M, units]`, for indices `[N, M]`."""
        before = tf.gather(tf.convert_to_tensor(self.embedding), indices[:, :-1])
        h = tf.pad(before, [[0, 0], [1, 0], [0, 0]]) + self.places
        for block in self.blocks:
            h = block(h)
        return self.norm(h)

    def fit(self, indices: np.ndarray, pseudo_count: float) -> None:
        """Set the logits to the frequencies of indices `[N, M]`, with so much added to each count."""
        self.logits.assign(log_frequencies(indices, self.codes, pseudo_count))

    def log_mass(self, indices):
        """log p, `[...]`, for indices `[..., M]`: one pass of the network."""
        flat = tf.reshape(indices, [-1, self.positions])
        logits = self.head(self._hidden(flat)) + self.logits
        minus = tf.nn.sparse_softmax_cross_entropy_with_logits(flat, logits)
        return tf.reshape(-tf.reduce_sum(minus, axis=-1), tf.shape(indices)[:-1])

    def masses(self, indices):
        """The mass of each code at each position, given the indices `[N, M]` before it, `[N, M, K]`."""
        return tf.nn.softmax(self.head(self._hidden(indices)) + self.logits)

    def draw(self, uniform):
        """Indices of uniform numbers `[..., M]`, one position after the other."""
        flat = tf.reshape(uniform, [-1, self.positions])

        def body(m, indices):
            mass = tf.nn.softmax(self.head(tf.gather(self._hidden(indices), m, axis=1)) + tf.gather(self.logits, m))
            here = tf.range(self.positions) == m
            return m + 1, tf.where(here, inverse(mass, tf.gather(flat, m, axis=1))[:, None], indices)

        start = [tf.constant(0), tf.zeros_like(flat, tf.int32)]
        _, indices = tf.while_loop(lambda m, _: m < self.positions, body, start, parallel_iterations=1)
        return tf.reshape(indices, tf.shape(uniform))


class _Block(keras.layers.Layer):
    """h + attention(norm(h)), then h + dense(gelu(dense(norm(h)))), `[N, M, units]`."""

    def __init__(self, units: int, heads: int, **options):
        super().__init__(**options)
        self.units, self.heads = units, heads
        sizes = {"mix": 3 * units, "out": units, "wide": 2 * units, "back": units}
        for name, size in sizes.items():
            setattr(self, name, keras.layers.Dense(size, name=name, dtype=self.compute_dtype))
        self.first, self.second = (
            keras.layers.LayerNormalization(name=name, dtype=self.compute_dtype) for name in ("first", "second")
        )

    def build(self, shape):
        """For h of this shape."""
        for layer in (self.first, self.second, self.mix, self.out, self.wide):
            layer.build(shape)
        self.back.build((*shape[:-1], 2 * self.units))

    def call(self, h):
        """`[N, M, units]`."""
        h += self.out(self._attention(self.mix(self.first(h))))
        return h + self.back(keras.activations.gelu(self.wide(self.second(h))))

    def _attention(self, mixed):
        positions, size = mixed.shape[1], self.units // self.heads
        split = tf.transpose(tf.reshape(mixed, [-1, positions, 3, self.heads, size]), [2, 0, 3, 1, 4])
        query, key, value = tf.unstack(split)  # [N, heads, M, size]
        scores = tf.matmul(query, key, transpose_b=True) / math.sqrt(size)
        later = np.triu(np.full((positions, positions), -1e9, np.float32), 1)
        attended = tf.matmul(tf.nn.softmax(scores + tf.cast(later, scores.dtype)), value)
        return tf.reshape(tf.transpose(attended, [0, 2, 1, 3]), [-1, positions, self.units])
