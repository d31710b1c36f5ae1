"""What a step is given: examples, and what stands beside them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf


class Batch(NamedTuple):
    """B examples, each with what belongs to it; None where there is no such thing.

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

    def filled(self, neutral: float, dtype) -> "Batch":
        """With x in this dtype, `neutral` where it is missing, and the mask as booleans."""
        x, mask = tf.cast(self.x, dtype), self.mask
        if mask is None:
            return self._replace(x=x)
        mask = tf.cast(mask, tf.float32) > 0.5
        return self._replace(x=tf.where(mask, x, tf.constant(neutral, dtype)), mask=mask)


def inputs_of(network) -> list[str]:
    """What a network takes beside its first input, in its order: "condition", or "mask" where the input has that name.

    A mask is 1 where x was observed and 0 elsewhere.
    """
    return ["mask" if _name(tensor) == "mask" else "condition" for tensor in network.inputs[1:]]


def _name(tensor: keras.KerasTensor) -> str:
    return tensor.name.split(":")[0]


def together(network, first, condition=None, mask=None, training=False):
    """The network at its first input, with what else it takes; everything counts as observed without a mask."""
    names = inputs_of(network)
    if not names:
        return network(first, training=training)
    if "mask" in names:
        mask = tf.ones_like(first) if mask is None else tf.cast(mask, first.dtype)
    beside = {"condition": condition, "mask": mask}
    return network([first, *(beside[name] for name in names)], training=training)
