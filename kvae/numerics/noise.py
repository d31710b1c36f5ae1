"""Random numbers that are the same in eager mode, in graphs, under XLA and in an exported model.

Philox-4x32 is a counter-based generator: output block i is a function of (key, counter + i) alone. kvae uses
the seed as the key, a *stream* number (the step, or a purpose) as the upper half of the counter and the row
number as the lower half. So row r of a draw depends on (seed, stream, r) and not on how many rows are drawn
with it: batches and chunks of any size see the same noise.

TensorFlow's own `stateless_normal` gives other values under XLA than without it, even for the Philox
algorithm; only its integers agree. The normals here are the Box-Muller transform of those integers, with sine
and cosine by their series, which every compiler turns into multiplications and additions.

Reference: Salmon, Moraes, Dror, Shaw (2011), Parallel random numbers: as easy as 1, 2, 3.
"""

import contextlib
import contextvars
import functools
import math

import tensorflow as tf

from kvae.numerics.elementary import polynomial

PHILOX = 1  # TensorFlow's number for the algorithm

# Streams other than the training steps, which count up from 1.
EVALUATION = -1  # trackers of `evaluate` and of validation
DRAWS = -2  # `sample`, `terms`, `elbo`, and what a SavedModel calls sample and score
PIXELS = -3  # samples of x given z
IMPORTANCE = -4  # `evaluate.log_likelihood`, `impute`, and a SavedModel's log_likelihood
BINARIZATION = -5  # a fixed binarisation of data
ANNEALING = -(2**40)  # `evaluate.ais` etc., downwards from this number, from twice and from three times it
FITTING = -(2**45)  # `VAE.fit_prior`, one for each draw downwards
LOCAL = -(2**50)  # `evaluate.gaps`, one for each step downwards
CODEWORDS = -(2**54)  # new codewords of `posteriors.VectorQuantized`, one for each update downwards
ROLLOUT = -(2**56)  # `dynamics.Dynamics.rollout`, one for each step downwards, of `calibrate` upwards, of
# `log_likelihood` downwards from twice this number, of draws of x downwards from three times it


_UNDER_XLA = contextvars.ContextVar("under_xla", default=False)


@contextlib.contextmanager
def under_xla(compiled: bool = True):
    """Say that what is traced inside is compiled by XLA.

    The generator's integers are then computed by operations that XLA fuses; they are the same integers. On a CPU, XLA's
    own version of TensorFlow's operation is several times as slow. Without XLA, TensorFlow's operation is the fast one.
    """
    token = _UNDER_XLA.set(compiled)
    try:
        yield
    finally:
        _UNDER_XLA.reset(token)


def within_xla() -> bool:
    """Whether what is traced now is compiled by XLA."""
    return _UNDER_XLA.get()


def normal(seed, stream, first, rows, size, dtype="float32"):
    """Standard normal numbers, one row an example.

    Args:
        seed, stream, first: integers (Python or int64 tensors): which generator, which stream of it, and the
            number of the first row.
        rows, size: how many rows (may be a tensor) and the length of a row (a Python integer). With tuples for
            stream, first and rows, the rows of several streams, one below the other: XLA compiles one generator.
        dtype: "float32" or "float64".

    Returns:
        `[rows, size]`; row i of a stream is a function of (seed, stream, first + i, size).
    """
    lanes = _lanes(seed, stream, first, rows, size, dtype)
    return tf.concat(_box_muller(lanes), axis=-1)[:, :size]


def draws(seed, stream, first, rows, samples, size, dtype="float32"):
    """`normal` for `samples` draws for each of `rows` examples, `[samples, rows, size]`.

    Those of example number `first + i` are a function of (seed, stream, first + i, samples).
    """
    eps = normal(seed, stream, first * samples, rows * samples, size, dtype)
    return tf.transpose(tf.reshape(eps, [rows, samples, size]), [1, 0, 2])


def many_normals(seed: int, stream: int, first: int, rows: int, size: int) -> tf.Tensor:
    """`normal` in float32, for eager calls and very many rows: compiled, once for a number of rows.

    XLA runs over all blocks in one loop here; on short rows that is several times as fast.
    """
    blocks = math.ceil(size / 4)
    numbers = (tf.constant(n, tf.int64) for n in (seed, stream, first * blocks))
    lanes = [tf.reshape(lane, [rows, blocks]) for lane in _normal_lanes(*numbers, rows * blocks)]
    return tf.concat(lanes, axis=-1)[:, :size]


def normal_of_seeds(seeds, stream, first, rows, size: int, dtype="float32"):
    """`normal` for many seeds at once, `[B, rows, size]`: of each seed the rows `first`, `first + 1`, ...

    The numbers of a seed do not depend on the other seeds, bit for bit, on one kind of processor. `normal` may differ
    from them in the last place.
    """
    wide = tf.as_dtype(dtype) == tf.float64
    blocks = math.ceil(size / (2 if wide else 4))
    used = rows * blocks
    padded = -(-used // _VECTOR) * _VECTOR  # elements beyond whole vectors may be computed another way
    numbers = tf.cast(first, tf.int64) * blocks + tf.range(tf.cast(padded, tf.int64))
    lanes = _lanes_of_seeds(wide)(tf.cast(seeds, tf.int64)[:, None], tf.cast(stream, tf.int64), numbers)
    shape = tf.stack([tf.shape(seeds)[0], rows, blocks])
    return tf.concat([tf.reshape(lane[:, :used], shape) for lane in lanes], axis=-1)[:, :, :size]


@functools.cache
def _lanes_of_seeds(wide: bool):
    """Normal numbers `[B, n]`, the lanes of blocks `[n]` of seeds `[B, 1]`: traced once for all signatures."""

    def lanes(seeds, stream, numbers):
        a, b, c, d = _rounds(seeds, stream, numbers)
        if not wide:
            return _box_muller([_unit(tf.bitcast(lane, tf.int64), "float32", 23) for lane in (a, b, c, d)])
        upper = tf.constant(32, tf.uint64)
        pairs = [a | tf.bitwise.left_shift(b, upper), c | tf.bitwise.left_shift(d, upper)]
        return _box_muller([_unit(tf.bitcast(lane, tf.int64), "float64", 52) for lane in pairs])

    integers = [tf.TensorSpec(shape, tf.int64) for shape in ([None, 1], [], [None])]
    return tf.function(lanes, input_signature=integers, autograph=False)


_VECTOR = 16  # the most numbers that processors of today compute at once


def _rounds(seeds, stream, numbers):
    """The four words of Philox blocks, each 32 bits in uint64 `[B, n]`, for seeds `[B, 1]` and block numbers `[n]`.

    One tensor `[2, B, n]` holds the two multiplications of a round and their words. Fewer operations are faster for few
    rows.
    """
    low = tf.constant(0xFFFFFFFF, tf.uint64)
    shift = tf.bitwise.right_shift
    half = tf.constant(32, tf.uint64)
    key = tf.bitcast(seeds, tf.uint64)
    key = tf.stack([key & low, shift(key, half)])  # [2, B, 1]
    stream = tf.bitcast(stream, tf.uint64)
    numbers = tf.broadcast_to(tf.bitcast(numbers, tf.uint64), tf.concat([tf.shape(seeds)[:1], tf.shape(numbers)], 0))
    streams = tf.fill(tf.shape(numbers), stream)
    first, second = tf.stack([numbers & low, streams & low]), tf.stack([shift(numbers, half), shift(streams, half)])
    factors = tf.constant([[[0xD2511F53]], [[0xCD9E8D57]]], tf.uint64)
    weyl = tf.constant([[[0x9E3779B9]], [[0xBB67AE85]]], tf.uint64)
    for _ in range(10):
        product = tf.reverse(first * factors, [0])
        first, second = tf.bitwise.bitwise_xor(tf.bitwise.bitwise_xor(shift(product, half), second), key), product & low
        key = (key + weyl) & low
    return first[0], second[0], first[1], second[1]


@tf.function(jit_compile=True, autograph=False)
def _normal_lanes(seed, stream, first, blocks):
    with under_xla():
        return _box_muller([_unit(i, "float32") for i in _unrolled(seed, [(stream, first, blocks)], tf.int32)])


def _box_muller(lanes) -> list[tf.Tensor]:
    """Normal numbers from uniform ones: the first half of the lanes are radii, the second half angles."""
    half = len(lanes) // 2
    radii = _at_once(lambda u: tf.sqrt(-2.0 * tf.math.log(u)), lanes[:half])
    quarters = [_quarters(u) for u in lanes[half:]]
    turns = _at_once(_sine, [sine for sine, _ in quarters] + [cosine for _, cosine in quarters])
    return [radius * turn for radius, turn in zip(2 * radii, turns, strict=True)]


def _at_once(function, tensors):
    """An elementwise function of each tensor. Without XLA it runs once on all of them, to save operations."""
    return [function(x) for x in tensors] if within_xla() else tf.unstack(function(tf.stack(tensors)))


def uniform(seed, stream, first, rows, size, dtype="float32"):
    """Numbers uniform on the open interval (0, 1), as `normal`: 23 random bits each (52 for float64)."""
    return tf.concat(_lanes(seed, stream, first, rows, size, dtype), axis=-1)[:, :size]


def _lanes(seed, stream, first, rows, size, dtype):
    """Uniform numbers in (0, 1), `[rows, blocks]` for each lane of a block: 4 of float32, 2 of float64."""
    integer = tf.int64 if tf.as_dtype(dtype) == tf.float64 else tf.int32
    lanes = 16 // integer.size  # a Philox block is 16 bytes
    blocks = math.ceil(size / lanes)
    several = zip(stream, first, rows, strict=True) if isinstance(stream, tuple) else [(stream, first, rows)]
    where = [(tf.cast(stream, tf.int64), tf.cast(first, tf.int64) * blocks, n * blocks) for stream, first, n in several]
    seed = tf.cast(seed, tf.int64)
    if within_xla() and integer == tf.int32:
        numbers = [_unit(i, dtype) for i in _unrolled(seed, where, integer)]
    else:
        numbers = tf.unstack(_unit(tf.concat([_operation(seed, *one, integer) for one in where], axis=1), dtype))
    total = sum(rows) if isinstance(rows, tuple) else rows
    return [tf.reshape(lane, tf.stack([total, blocks])) for lane in numbers]


def _unit(integers, dtype, bits=None):
    """Integers as numbers in (0, 1), by their last bits: 23 of 32, 52 of 64."""
    bits = bits or (52 if integers.dtype == tf.int64 else 23)
    return (
        tf.cast(tf.bitwise.bitwise_and(integers, tf.constant(2**bits - 1, integers.dtype)), dtype) + 0.5
    ) * 2.0**-bits


def _operation(seed, stream, first, blocks, integer):
    """The lanes `[lanes, blocks]` of Philox blocks `first`, `first + 1`, ..., by TensorFlow's operation."""
    integers = tf.raw_ops.StatelessRandomUniformFullIntV2(
        shape=tf.stack([blocks, 16 // integer.size]),
        key=tf.bitcast(tf.reshape(seed, [1]), tf.uint64),
        counter=tf.bitcast(tf.stack([first, stream]), tf.uint64),
        alg=PHILOX,
        dtype=integer,
    )
    return tf.transpose(integers)


def _unrolled(seed, where, integer):
    """The lanes of `_operation` for int32, its ten rounds written out; several `where`, one after the other."""
    numbers = tf.concat([first + tf.range(tf.cast(blocks, tf.int64)) for _, first, blocks in where], axis=0)
    streams = tf.concat([tf.fill(tf.stack([blocks]), stream) for stream, _, blocks in where], axis=0)
    (a, b), (c, d) = ((_low(x), _high(x)) for x in (tf.bitcast(numbers, tf.uint64), tf.bitcast(streams, tf.uint64)))
    key = [half(tf.bitcast(seed, tf.uint64)) for half in (_low, _high)]
    xor = tf.bitwise.bitwise_xor
    for _ in range(10):
        left, right = (tf.cast(x, tf.uint64) * tf.constant(m, tf.uint64) for x, m in ((a, 0xD2511F53), (c, 0xCD9E8D57)))
        a, b = xor(xor(_high(right), b), key[0]), _low(right)
        c, d = xor(xor(_high(left), d), key[1]), _low(left)
        key = [k + tf.constant(weyl, tf.uint32) for k, weyl in zip(key, (0x9E3779B9, 0xBB67AE85), strict=True)]
    return [tf.bitcast(lane, integer) for lane in (a, b, c, d)]


def _low(x):
    return tf.cast(x, tf.uint32)


def _high(x):
    return tf.cast(tf.bitwise.right_shift(x, tf.constant(32, tf.uint64)), tf.uint32)


def _quarters(u):
    """Turns t, |t| <= 1/4, with sin and cos of 2 pi (u - 1/2) as sin(2 pi t), u in (0, 1): folded without error."""
    turn = tf.abs(u - 0.5)
    return tf.sign(u - 0.5) * (0.25 - tf.abs(turn - 0.25)), 0.25 - turn


def _sine(turns):
    """sin(2 pi t) for |t| <= 1/4, to the precision of t."""
    terms = 12 if turns.dtype == tf.float64 else 7
    series = [(-1.0) ** k * (2.0 * math.pi) ** (2 * k + 1) / math.factorial(2 * k + 1) for k in range(terms)]
    return turns * polynomial(turns * turns, series)
