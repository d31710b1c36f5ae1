"""Conditions: class labels or vectors that go into the networks beside x and z.

A network with a second input that is not a mask is conditional. That input is the condition, `[B, *shape]`. Integer
labels `[B]` for a shape (K,) are made one-hot.
"""

import numpy as np
import tensorflow as tf

from kvae.data.batch import inputs_of


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
            f"{type(prior).__name__} is a prior of the condition, but neither network has one (an input beside x or z)."
        )
    return shapes[0] if shapes else None


def prepared(condition, shape):
    """The condition as the networks take it, `[B, *shape]`, float32: labels one-hot, vectors as they are.

    Raises:
        ValueError: for a condition of another shape, or none where the model is conditional, or one where it is not.
    """
    if shape is None:
        if condition is not None:
            raise ValueError("This model is not conditional: its networks have one input. Leave the condition out.")
        return None
    if condition is None:
        raise ValueError(
            f"This model is conditional: it needs a condition of shape {(None, *shape)} beside x"
            + (f", or labels 0..{shape[0] - 1} of shape (None,)." if len(shape) == 1 else ".")
        )
    condition = tf.convert_to_tensor(condition)
    if condition.shape.rank == 1 and len(shape) == 1 and condition.dtype.is_integer:
        return tf.one_hot(condition, shape[0])
    if condition.shape.rank != len(shape) + 1 or condition.shape[1:] != shape:
        raise ValueError(
            f"The condition has shape {tuple(condition.shape)} and dtype {condition.dtype.name}, but this model takes "
            f"{(None, *shape)}" + (f"; or give integer labels 0..{shape[0] - 1}." if len(shape) == 1 else ".")
        )
    return tf.cast(condition, tf.float32)


def checked(condition, shape, rows: int) -> np.ndarray | None:
    """The conditions of `rows` examples as an array that `prepared` takes. Every label is checked.

    Raises:
        ValueError: for labels outside 0..K-1, values that are not finite, or another number of rows.
    """
    if shape is None:
        return None
    if condition is not None:
        condition = np.asarray(condition)
        if condition.dtype.kind not in "iuf":
            raise ValueError(f"A condition is numbers or integer labels, got dtype {condition.dtype}.")
        if len(condition) != rows:
            raise ValueError(f"x has {rows} rows but the condition has {len(condition)}.")
        if condition.ndim == 1 and len(shape) == 1 and condition.dtype.kind in "iu":
            if condition.min() < 0 or condition.max() >= shape[0]:
                raise ValueError(
                    f"Labels must be 0..{shape[0] - 1} for this model, but they range from {condition.min()} to "
                    f"{condition.max()}."
                )
            return condition.astype(np.int32)
        if not np.isfinite(condition).all():
            raise ValueError("The condition holds values that are not finite.")
        condition = condition.astype(np.float32)
    prepared(None if condition is None else condition[:1], shape)  # raises where the shape is wrong
    return condition
