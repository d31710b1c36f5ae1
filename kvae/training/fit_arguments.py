"""The scalar arguments of Keras' training methods, checked before the first step."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kvae.numerics.arguments import choice, flag, number, sizes, whole

_LEAST = {
    "epochs": 0, "initial_epoch": 0, "batch_size": 1, "steps_per_epoch": 1, "steps": 1, "validation_steps": 1,
    "validation_batch_size": 1,
}  # fmt: skip


def checked(**arguments) -> dict[str, Any]:
    """The arguments as Python's own types; None stays where it may.

    Raises:
        ValueError: for one that is no number of its kind.
    """
    found: dict[str, Any] = {}
    for name, value in arguments.items():
        if name in _LEAST:
            may_be_none = name not in ("epochs", "initial_epoch")
            found[name] = None if value is None and may_be_none else whole(name, value, _LEAST[name])
        elif name == "verbose":
            found[name] = int(value) if isinstance(value, (bool, np.bool_)) else choice(name, value, ("auto", 0, 1, 2))
        elif name in ("shuffle", "return_dict"):
            found[name] = flag(name, value)
        elif name == "validation_split":
            found[name] = number(name, 0.0 if value is None else value, 0, below=1)
        elif name == "validation_freq":
            listed = isinstance(value, (list, tuple, set, range))
            found[name] = list(sizes(name, list(value))) if listed else whole(name, value, 1)
    return found


def check_ends(data, steps: int | None, name: str) -> None:
    """Raise a ValueError for a pipeline without end where the number of steps is not given."""
    endless = isinstance(data, tf.data.Dataset) and data.cardinality() == tf.data.INFINITE_CARDINALITY
    endless = endless or (isinstance(data, keras.utils.PyDataset) and data.num_batches is None)
    if endless and steps is None:
        raise ValueError(f"The data never end: give {name}=, the number of batches, or data.take(n).")


def listed(callbacks) -> list:
    """The callbacks as a list.

    Raises:
        ValueError: for something else among them.
    """
    if callbacks is None:
        return []
    if isinstance(callbacks, keras.callbacks.CallbackList):
        raise ValueError("fit(callbacks=...) takes a list of callbacks, got a CallbackList. Give its callbacks.")
    found = list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]
    for callback in found:
        if not isinstance(callback, keras.callbacks.Callback):
            raise ValueError(f"callbacks must be Keras callbacks, got {type(callback).__name__} {callback!r:.60}.")
    return found
