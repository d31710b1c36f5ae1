"""The input of a step: a batch of examples, with their conditions, masks and weights."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf


class Batch(NamedTuple):
    """B examples. A field is None where the data do not have it.

    Attributes:
        x: `[B, *event_shape]`.
        condition: `[B, *condition_shape]`, or integer labels `[B]`.
        mask: `[B, *event_shape]`, 1 where x was observed, 0 where it is missing.
        weight: `[B]`.
    """

    x: Any
    condition: Any = None
    mask: Any = None
    weight: Any = None

    def map(self, function: Callable) -> "Batch":
        """The function of everything that is there."""
        return Batch(*(None if value is None else function(value) for value in self))

    def filled(self, neutral, dtype) -> "Batch":
        """With x in this dtype, `neutral` where it is missing, and the mask as booleans."""
        x, mask = tf.cast(self.x, dtype), self.mask
        if mask is None:
            return self._replace(x=x)
        mask = tf.cast(mask, tf.float32) > 0.5
        return self._replace(x=tf.where(mask, x, tf.cast(neutral, dtype)), mask=mask)


KEYS = ("x", "condition", "mask", "sample_weight")


def unpack(data) -> Batch:
    """The `Batch` of `x`, `(x,)`, `(x, y)`, `(x, y, sample_weight)` with the condition y, or of a dict of `KEYS`."""
    if isinstance(data, list):
        return Batch(data)  # of examples, see `kvae.data.arrays`
    if isinstance(data, tuple) and hasattr(data, "train"):
        raise ValueError("These are all parts of a data set: give one of them, such as data.test.")
    if isinstance(data, tuple) and not 1 <= len(data) <= 3:
        raise ValueError(
            f"A tuple of data is (x,), (x, y) or (x, y, sample_weight), got one of {len(data)}. Examples go into one "
            "array: numpy.stack(x)."
        )
    x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
    if not isinstance(x, dict):
        return Batch(x, y, None, weight)
    unknown = sorted(set(x) - set(KEYS))
    if "x" not in x or unknown:
        raise ValueError(f"A dict of data has the keys {list(KEYS)}, got {sorted(x)}.")
    for name, beside in (("sample_weight", weight), ("condition", y)):
        if beside is not None and name in x:
            raise ValueError(f"{name} was given twice, inside the dict of data and beside it. Leave one out.")
    return Batch(x["x"], x.get("condition", y), x.get("mask"), x.get("sample_weight", weight))


def inputs_of(network) -> list[str]:
    """What a network takes beside its first input, in its order: "condition", or "mask" where the input has that name.

    A mask is 1 where x was observed and 0 elsewhere.
    """
    return ["mask" if _name(tensor) == "mask" else "condition" for tensor in network.inputs[1:]]


def _name(tensor: keras.KerasTensor) -> str:
    return tensor.name.split(":")[0]


def call_network(network, first, condition=None, mask=None, training=False):
    """The network's output for its first input and the others that it takes. Without a mask, all of x is observed."""
    names = inputs_of(network)
    if not names:
        return network(first, training=training)
    if "mask" in names:
        mask = tf.ones_like(first) if mask is None else tf.cast(mask, first.dtype)
    beside = {"condition": condition, "mask": mask}
    return network([first, *(beside[name] for name in names)], training=training)
