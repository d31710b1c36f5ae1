"""What `fit` and `evaluate` are fed: arrays become splits, other pipelines are checked as they run."""

import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kvae import conditions
from kvae.families import Likelihood
from kvae.splits import Split, numbers
from kvae.support import complaint

CHECKED_BATCHES = 8
ROWS = 512  # of an array checked at a time: they stay in the cache
KEYS = ("x", "condition", "sample_weight")


def unpack(data) -> tuple[Any, Any, Any]:
    """x, the condition y and the sample weights of data.

    Data are `x`, `(x,)`, `(x, y)`, `(x, y, sample_weight)`, or a dict of `x`, `condition` and `sample_weight`.
    """
    x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
    if not isinstance(x, dict):
        return x, y, weight
    unknown = sorted(set(x) - set(KEYS))
    if "x" not in x or unknown:
        raise ValueError(f"A dict of data has the keys {list(KEYS)}, got {sorted(x)}.")
    for name, beside in (("sample_weight", weight), ("condition", y)):
        if beside is not None and name in x:
            raise ValueError(f"{name} was given twice, inside the dict of data and beside it.")
    return x["x"], x.get("condition", y), x.get("sample_weight", weight)


def is_array(x) -> bool:
    """Whether x is one array in memory, rather than a pipeline."""
    return isinstance(x, Split) or (hasattr(x, "__array__") and not isinstance(x, tf.data.Dataset))


def split_of(x, y=None, sample_weight=None, batch_size=None, default_batch_size=32) -> Split | None:
    """The split that fit's and evaluate's arguments describe; None where x is a pipeline.

    Arrays come as `x`, `(x,)`, `(x, y)`, `(x, y, sample_weight)` or a dict. y, which may be a condition, goes along.
    """
    if isinstance(x, list):
        raise ValueError("x is a list. Give one array of shape [N, *event_shape], for example numpy.stack(x).")
    if isinstance(x, (tuple, dict)):
        inner, condition, weight = unpack(x)
        for name, within, beside in (("sample_weight", weight, sample_weight), ("y", condition, y)):
            if within is not None and beside is not None:
                raise ValueError(f"{name} was given twice, inside the data and beside them.")
        x, y, sample_weight = inner, y if condition is None else condition, sample_weight if weight is None else weight
    if x is None:
        raise ValueError("There is no x: give an array, a split of kvae.data, or a tf.data.Dataset.")
    if not is_array(x):
        return None
    if isinstance(x, Split):
        weight = x.sample_weight if sample_weight is None else sample_weight
        return x.replace(y=x.y if y is None else y, sample_weight=weight, batch_size=batch_size or x.batch_size)
    x = np.asarray(x)
    if x.ndim == 0:
        raise ValueError(f"x must be an array of shape [N, *event_shape], got the scalar {x}.")
    y = None if y is None else np.asarray(y)
    return Split(numbers(x), y, sample_weight, batch_size=batch_size or default_batch_size)


def length(data) -> int:
    """The batches of a pipeline, 0 where that is not known."""
    try:
        return max(0, int(data.cardinality()) if isinstance(data, tf.data.Dataset) else len(data))
    except TypeError:
        return 0


def divided(split: Split, share: float) -> tuple[Split, Split]:
    """The split without its last `share`, and that share (as Keras' `validation_split` does)."""
    keep = math.floor(len(split) * (1.0 - share))
    if not 0.0 < share < 1.0 or keep in (0, len(split)):
        raise ValueError(f"validation_split={share} of {len(split)} examples leaves one part empty.")
    y, weight = split.y, split.sample_weight

    def part(rows):
        return split.replace(
            array=split.array[rows],
            y=None if y is None else y[rows],
            sample_weight=None if weight is None else weight[rows],
        )

    return part(slice(0, keep)), part(slice(keep, None))


def check_shape(shape, event_shape, what="x") -> None:
    """Raise a ValueError unless `shape` is a batch of events."""
    if len(shape) == len(event_shape) + 1 and all(
        got is None or got == want for got, want in zip(shape[1:], event_shape, strict=True)
    ):
        return
    advice = "Reshape it."
    if tuple(shape) == tuple(event_shape):
        advice = "A batch axis is missing in front: x[None] for a single example, dataset.batch(n) for a dataset."
    elif (*shape[1:], 1) == tuple(event_shape):
        advice = "Add the channel axis: x[..., None]."
    raise ValueError(
        f"{what} has shape {tuple(shape)}, but this model's examples have shape {tuple(event_shape)}, so x must "
        f"have shape {(None, *event_shape)}. {advice}"
    )


def check_split(split: Split, likelihood: Likelihood, condition_shape=None) -> None:
    """Raise a ValueError unless every example of the split is one that the likelihood explains, with its condition."""
    check_shape((len(split), *split.event_shape), likelihood.event_shape)
    conditions.checked(split.y, condition_shape, len(split))
    first = 0
    for chunk in split.chunks(ROWS):
        if not likelihood.support.contains(chunk):
            raise ValueError(complaint(chunk, likelihood.support, type(likelihood).__name__, first))
        first += len(chunk)


def batches(data, likelihood: Likelihood, condition_shape=None) -> Iterator[tuple[np.ndarray, Any]]:
    """The examples of an array, a split or a finite dataset and their conditions, checked, some at a time.

    Each example weighs the same. The conditions are None for a model that is not conditional.
    """
    split = split_of(data)
    if split is not None:
        _refuse_weights(split.sample_weight)
        check_split(split, likelihood, condition_shape)
        given = conditions.checked(split.y, condition_shape, len(split))
        for i, x in enumerate(split.chunks(ROWS)):
            yield x, None if given is None else conditions.prepared(given[i * ROWS :][:ROWS], condition_shape)
        return
    if not isinstance(data, tf.data.Dataset):
        raise ValueError(f"data must be an array, a split of kvae.data or a tf.data.Dataset, got {type(data)}.")
    if data.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError("The dataset never ends: give data.take(n).")
    for element in data:
        yield from batches(_arrays(*unpack(element)), likelihood, condition_shape)


def _arrays(x, y, weight) -> Split:
    return Split(x.numpy(), None if y is None else y.numpy(), None if weight is None else weight.numpy())


def _refuse_weights(weight) -> None:
    if weight is not None:
        raise ValueError("Here every example weighs the same: leave sample_weight out of the data.")


class CheckedDataset:
    """A `tf.data.Dataset` whose first batches are checked in the pipeline.

    Attributes:
        dataset: the same elements, with the check in between.
        error: the ValueError that the check raised, or None. TensorFlow wraps it in an error of its own.
    """

    def __init__(self, dataset: tf.data.Dataset, likelihood: Likelihood, condition_shape=None):
        event_shape, support = likelihood.event_shape, likelihood.support
        self.error: ValueError | None = None
        x, condition, _ = unpack(dataset.element_spec)
        if condition_shape is not None and not isinstance(condition, tf.TensorSpec):
            conditions.prepared(None, condition_shape)
        if not isinstance(x, tf.TensorSpec):
            raise ValueError(f"x must be one tensor, but the dataset's elements have x = {x}.")
        if not (x.dtype.is_floating or x.dtype.is_integer or x.dtype.is_bool):
            raise ValueError(f"x must hold real numbers, but the dataset's x has dtype {x.dtype.name}.")
        if x.shape.rank is not None:
            check_shape(x.shape.as_list(), event_shape, "The dataset's x")
        if dataset.cardinality() == 0:
            raise ValueError("The dataset is empty.")

        def look(batch, condition):
            try:
                conditions.checked(condition, condition_shape, len(batch))
                check_shape(batch.shape, event_shape, "The dataset's x")
                if not support.contains(batch):
                    raise ValueError(complaint(batch, support, type(likelihood).__name__))
            except ValueError as error:
                self.error = error
                raise
            return np.True_

        def check(i, element):
            x, condition, _ = unpack(element)
            batch = tf.cast(x, tf.float32), 0 if condition_shape is None else condition
            fine = tf.cond(
                i < CHECKED_BATCHES,
                lambda: tf.numpy_function(look, batch, tf.bool),
                lambda: tf.constant(True),
            )
            with tf.control_dependencies([fine]):
                return tf.nest.map_structure(tf.identity, element)

        self.dataset = dataset.enumerate().map(check)


def check_weight(weight) -> None:
    """Raise a ValueError unless a batch's sample weights are one number per example."""
    if weight.shape.rank not in (None, 1):
        raise ValueError(f"sample_weight must have shape [B], one number per example, got {weight.shape}.")
