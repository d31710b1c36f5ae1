"""Apply a function to many rows in chunks, to bound the memory or to stay in the processor's cache."""

import math

import tensorflow as tf

ROWS = 4096  # examples that public methods run through a network at a time


def even_chunk_size(total: int, maximum: int) -> int:
    """The chunk size, at most `maximum`, that divides `total` into as few and as even chunks as possible."""
    return math.ceil(total / math.ceil(total / maximum))


def in_chunks(function, x, *beside, rows: int = ROWS) -> tf.Tensor:
    """function(x, *beside), a function from rows to rows, called for `rows` rows at a time. None stays None.

    An x of a graph whose number of rows is not known runs whole.
    """
    if x.shape[0] is None or x.shape[0] <= rows:
        return function(x, *beside)
    parts = [slice(first, first + rows) for first in range(0, x.shape[0], rows)]
    return tf.concat([function(*(None if a is None else a[part] for a in (x, *beside))) for part in parts], axis=0)


def map_chunks(function, x, rows: int) -> tf.Tensor:
    """function(x) for an x of a known shape, about `rows` rows at a time in one loop of the graph.

    XLA needs chunks of one size. So the last chunk begins early, and the rows that it repeats are dropped.
    """
    total = x.shape[0]
    parts = math.ceil(total / rows)
    rows = math.ceil(total / parts)
    if parts == 1:
        return function(x)

    def body(i, found):
        begin = tf.concat([[tf.minimum(i * rows, total - rows)], tf.zeros([x.shape.rank - 1], tf.int32)], axis=0)
        return i + 1, found.write(i, function(tf.slice(x, begin, [rows, *x.shape[1:]])))

    _, found = tf.while_loop(lambda i, _: i < parts, body, [0, tf.TensorArray(x.dtype, parts)])
    found = found.stack()
    whole = tf.reshape(found[:-1], [(parts - 1) * rows, *found.shape[2:]])
    return tf.concat([whole, found[-1, parts * rows - total :]], axis=0)
