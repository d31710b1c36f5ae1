"""Random numbers that are the same in eager mode, in graphs, under XLA and in an exported model.

Philox-4x32 is a counter-based generator: output block i is a function of (key, counter + i) alone. kvae uses
the seed as the key, a *stream* number (the step, or a purpose) as the upper half of the counter and the row
number as the lower half. So row r of a draw depends on (seed, stream, r) and not on how many rows are drawn
with it: batches and chunks of any size see the same noise.

TensorFlow's own `stateless_normal` gives other values under XLA than without it, even for the Philox
algorithm; only its integers agree. The normals here are the Box-Muller transform of those integers.

Reference: Salmon, Moraes, Dror, Shaw (2011), Parallel random numbers: as easy as 1, 2, 3.
"""

import math

import tensorflow as tf

PHILOX = 1  # TensorFlow's number for the algorithm

# Streams other than the training steps, which count up from 1.
EVALUATION = -1  # trackers of `evaluate` and of validation
DRAWS = -2  # `sample`, `terms`, `elbo`
PIXELS = -3  # samples of x given z
IMPORTANCE = -4  # `evaluate.log_likelihood`
BINARIZATION = -5  # a fixed binarisation of data


def normal(seed, stream, first, rows, size, dtype="float32"):
    """Standard normal numbers, one row an example.

    Args:
        seed, stream, first: integers (Python or int64 tensors): which generator, which stream of it, and the
            number of the first row.
        rows, size: how many rows (may be a tensor) and the length of a row (a Python integer).
        dtype: "float32" or "float64".

    Returns:
        `[rows, size]`; row i is a function of (seed, stream, first + i, size).
    """
    u = uniform(seed, stream, first, rows, 2 * math.ceil(size / 2), dtype)
    radius, angle = tf.split(u, 2, axis=-1)
    radius = tf.sqrt(-2.0 * tf.math.log(radius))
    angle = 2.0 * math.pi * angle
    return tf.concat([radius * tf.cos(angle), radius * tf.sin(angle)], axis=-1)[:, :size]


def uniform(seed, stream, first, rows, size, dtype="float32"):
    """Numbers uniform on the open interval (0, 1), as `normal`: 23 random bits each (52 for float64)."""
    integer, bits = (tf.int64, 52) if tf.as_dtype(dtype) == tf.float64 else (tf.int32, 23)
    blocks = math.ceil(size * integer.size / 16)  # a Philox block is 16 bytes
    width = 16 * blocks // integer.size
    first = tf.cast(first, tf.int64)
    key = tf.bitcast(tf.reshape(tf.cast(seed, tf.int64), [1]), tf.uint64)
    counter = tf.bitcast(tf.stack([first * blocks, tf.cast(stream, tf.int64)]), tf.uint64)
    integers = tf.raw_ops.StatelessRandomUniformFullIntV2(
        shape=tf.stack([rows, width]), key=key, counter=counter, alg=PHILOX, dtype=integer
    )
    integers = tf.bitwise.bitwise_and(integers, tf.constant(2**bits - 1, integer))[:, :size]
    return (tf.cast(integers, dtype) + 0.5) * 2.0**-bits
