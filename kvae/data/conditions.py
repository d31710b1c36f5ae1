"""Conditions: class labels or vectors that go into the networks beside x and z.

A network with a second input that is not a mask is conditional. That input is the condition, `[B, *shape]`. For a shape
(K,) with K > 1, labels `[B]` or `[B, 1]` are made one-hot. For a shape (1,), numbers `[B]` are taken as `[B, 1]`.
"""

import math

import numpy as np
import tensorflow as tf

from kvae.data.arrays import as_array, is_symbolic
from kvae.data.batch import inputs_of
from kvae.data.support import LARGEST, REAL

_TEXT = "Make text or categories whole numbers first: labels, names = pandas.factorize(condition)."


def shape_of(encoder, decoder, prior) -> tuple[int, ...] | None:
    """The shape of one condition, from the networks' second inputs; None where neither has one.

    Raises:
        ValueError: where the two networks, or a conditional prior, do not agree.
    """
    shapes = []
    for network in (encoder, decoder):
        beside = zip(inputs_of(network), network.inputs[1:], strict=True)
        shapes += [tuple(tensor.shape[1:]) for name, tensor in beside if name == "condition"]
    if len(shapes) == 2 and shapes[0] != shapes[1]:
        raise ValueError(
            f"The encoder's condition (an input beside x) has shape {shapes[0]} and the decoder's {shapes[1]} for one "
            "example. Give both the same."
        )
    if not shapes and prior.conditional:
        raise ValueError(
            f"{type(prior).__name__} is a prior of the condition, but neither network has one (an input beside x or "
            "z). Give it one, as kvae.networks do with condition=."
        )
    return shapes[0] if shapes else None


def checked(condition, shape, rows: int | None = None) -> np.ndarray | None:
    """The conditions of `rows` examples as an array that `prepared` takes: int32 labels `[B]`, or float32 vectors.

    Every label is checked.

    Raises:
        ValueError: for labels outside 0..K-1, values that are not finite, text, or another shape or number of rows.
    """
    if shape is None:
        return None
    if condition is None:
        raise _missing(shape)
    array, mask, _ = _table(condition)
    if mask is not None or np.ndim(array) == 0 or array.dtype.kind not in "biuf":
        raise ValueError(f"A condition is one number, label or vector for each example, got {condition!r:.80}. {_TEXT}")
    array = np.asarray(array)
    if rows is not None and len(array) != rows:
        raise ValueError(
            f"x has {rows} rows but the condition has {len(array)}: its shape is {array.shape}. Give one for each."
        )
    if not REAL.contains(array):
        raise ValueError(
            f"The condition must be finite, but it holds NaN, infinite values or numbers beyond {LARGEST:g}. "
            "Leave these examples out, or fill them in."
        )
    if array.ndim == 1 and shape == (1,):
        return array.astype(np.float32)[:, None]
    if len(shape) == 1 and shape != (1,) and array.shape[1:] in ((), (1,)):
        return _labels(array.reshape(len(array)), shape[0])
    if array.shape[1:] != shape:
        raise _wrong_shape(array.shape, array.dtype, shape)
    return array.astype(np.float32)


def for_all(condition, shape, rows: int):
    """Conditions for so many rows from one for all, a label or a vector of `shape`; others as they came."""
    if condition is None or shape is None or is_symbolic(condition):
        return condition
    array = np.asarray(_table(condition)[0])
    one = (array.ndim == 0 and len(shape) == 1) or array.shape == shape != (rows,)
    return np.broadcast_to(array, (rows, *array.shape)) if one else condition


def prepared(condition, shape):
    """The condition as the networks take it, `[B, *shape]`, float32: labels one-hot, vectors as they are.

    In a graph, where no error can be raised, a label outside 0..K-1 becomes a row of NaN.

    Raises:
        ValueError: for a condition of another shape, or none where the model is conditional, or one where it is not.
    """
    if shape is None:
        if condition is not None:
            raise ValueError("This model is not conditional: its networks have one input. Leave the condition out.")
        return None
    if condition is None:
        raise _missing(shape)
    condition = tf.convert_to_tensor(condition)
    rank, tail = condition.shape.rank, tuple(condition.shape[1:])
    if rank == 1 and shape == (1,):
        return tf.cast(condition, tf.float32)[:, None]
    if len(shape) == 1 and shape != (1,) and tail in ((), (1,)) and rank in (1, 2):
        labels = tf.reshape(condition, [-1])
        classes = tf.range(shape[0], dtype=tf.float32)
        hot = tf.cast(tf.cast(labels, tf.float32)[:, None] == classes, tf.float32)
        return tf.where(tf.reduce_any(hot > 0.0, axis=1, keepdims=True), hot, np.nan)
    if rank != len(shape) + 1 or tail != shape:
        raise _wrong_shape(tuple(condition.shape), condition.dtype.name, shape)
    return tf.cast(condition, tf.float32)


def rows_outside(condition, shape):
    """Which conditions are labels outside 0..K-1 or numbers that are not finite, `[B]`, in a graph."""
    vectors = tf.reshape(prepared(condition, shape), [-1, math.prod(shape)])
    return tf.logical_not(tf.reduce_all(tf.math.is_finite(vectors), axis=1))


def _table(condition):
    try:
        return as_array(condition, "The condition")
    except ValueError as error:
        raise ValueError(str(error) if "factorize" in str(error) else f"{error} {_TEXT}") from None


def _labels(array: np.ndarray, classes: int) -> np.ndarray:
    if array.dtype.kind == "f" and (array != np.rint(array)).any():
        raise ValueError(
            f"Labels must be whole numbers 0..{classes - 1} for this model, but one is "
            f"{array[array != np.rint(array)][0]:g}. Vectors have shape {(None, classes)}."
        )
    if array.min() < 0 or array.max() >= classes:
        raise ValueError(
            f"Labels must be 0..{classes - 1} for this model, but they range from {array.min():g} to {array.max():g}. "
            "Number them from 0 (pandas.factorize), or build the networks for more classes."
        )
    return array.astype(np.int32)


def _missing(shape) -> ValueError:
    return ValueError(
        f"This model is conditional: it needs a condition of shape {(None, *shape)} beside x"
        + (f", or labels 0..{shape[0] - 1} of shape (None,)." if len(shape) == 1 else ".")
    )


def _wrong_shape(got, dtype, shape) -> ValueError:
    remedy = f"; or give integer labels 0..{shape[0] - 1}." if len(shape) == 1 and shape != (1,) else "."
    if tuple(got) == tuple(shape):
        remedy = ". Give one for each example: numpy.broadcast_to(c, (n, *c.shape))."
    return ValueError(
        f"The condition has shape {tuple(got)} and dtype {dtype}, but this model takes {(None, *shape)}{remedy}"
    )
