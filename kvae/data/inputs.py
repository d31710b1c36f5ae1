"""From what users give, arrays or pipelines, to splits and batches."""

import inspect
import math
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from kvae.data import conditions
from kvae.data.batch import Batch, unpack
from kvae.data.checks import ROWS, HasSupport, check_split
from kvae.data.splits import Split, numbers


def is_array(x) -> bool:
    """Whether x is one array in memory, rather than a pipeline."""
    return isinstance(x, Split) or (hasattr(x, "__array__") and not isinstance(x, tf.data.Dataset))


def split_of(x, y=None, sample_weight=None, batch_size=None, default_batch_size=32) -> Split | None:
    """The split that fit's and evaluate's arguments describe; None where x is a pipeline.

    Arrays come as `x`, `(x,)`, `(x, y)`, `(x, y, sample_weight)` or a dict. y, which may be a condition, goes along.
    """
    mask = None
    if isinstance(x, (list, tuple, dict)):
        inner = unpack(x)
        for name, within, beside in (("sample_weight", inner.weight, sample_weight), ("y", inner.condition, y)):
            if within is not None and beside is not None:
                raise ValueError(f"{name} was given twice, inside the data and beside them.")
        x, mask = inner.x, inner.mask
        y = y if inner.condition is None else inner.condition
        sample_weight = sample_weight if inner.weight is None else inner.weight
    if x is None:
        raise ValueError("There is no x: give an array, a split of kvae.data, or a tf.data.Dataset.")
    if not is_array(x):
        return None
    if isinstance(x, Split):
        given = {"y": y, "sample_weight": sample_weight, "mask": mask, "batch_size": batch_size}
        return x.replace(**{name: value for name, value in given.items() if value is not None})
    x = np.asarray(x)
    if x.ndim == 0:
        raise ValueError(f"x must be an array of shape [N, *event_shape], got the scalar {x}.")
    y = None if y is None else np.asarray(y)
    return Split(numbers(x), y, sample_weight, batch_size=batch_size or default_batch_size, mask=mask)


def as_tuples(data):
    """The pipeline itself; of a generator the elements as tuples, which Keras asks for."""
    if not inspect.isgenerator(data):
        return data
    return (element if isinstance(element, tuple) else (element,) for element in data)


def length(data) -> int:
    """The batches of a pipeline, 0 where that is not known."""
    try:
        return max(0, int(data.cardinality()) if isinstance(data, tf.data.Dataset) else len(data))
    except TypeError:
        return 0


def count(data) -> int | None:
    """How many examples there are, None where a pipeline does not say."""
    x = unpack(data).x
    return len(x) if is_array(x) else None


def divide(split: Split, share: float) -> tuple[Split, Split]:
    """The split without its last `share`, and that share (as Keras' `validation_split` does)."""
    keep = math.floor(len(split) * (1.0 - share))
    if not 0.0 < share < 1.0 or keep in (0, len(split)):
        raise ValueError(f"validation_split={share} of {len(split)} examples leaves one part empty.")

    def part(rows):
        arrays = {name: getattr(split, name) for name in ("array", "y", "sample_weight", "mask")}
        return split.replace(**{name: array[rows] for name, array in arrays.items() if array is not None})

    return part(slice(0, keep)), part(slice(keep, None))


def batches(data, likelihood: HasSupport, condition_shape=None) -> Iterator[Batch]:
    """The examples of an array, a split or a finite dataset, with their conditions and masks: checked, in batches.

    Each example weighs the same. The conditions are None for a model that is not conditional.
    """
    split = split_of(data)
    if split is not None:
        _refuse_weights(split.sample_weight)
        check_split(split, likelihood, condition_shape)
        beside = Batch(None, conditions.checked(split.y, condition_shape, len(split)), split.mask)
        for i, x in enumerate(split.chunks(ROWS)):
            rows = slice(i * ROWS, (i + 1) * ROWS)
            yield beside.map(lambda array, rows=rows: array[rows])._replace(x=x)
        return
    waiting: list[Batch] = []
    for element in _elements(data):
        waiting.append(element)
        if sum(len(batch.x) for batch in waiting) >= ROWS:
            yield from batches(_joined(waiting), likelihood, condition_shape)
            waiting = []
    if waiting:
        yield from batches(_joined(waiting), likelihood, condition_shape)


def in_memory(data) -> Split:
    """The examples in memory, for functions that read them more than once: a dataset may change its order each time."""
    split = split_of(data)
    return _joined(list(_elements(data))) if split is None else split


def _elements(data) -> Iterator[Batch]:
    """The batches of a finite dataset, as arrays."""
    if not isinstance(data, tf.data.Dataset):
        raise ValueError(f"data must be an array, a split of kvae.data or a tf.data.Dataset, got {type(data)}.")
    if data.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError("The dataset never ends: give data.take(n).")
    empty = True
    for element in data:
        yield unpack(element).map(lambda tensor: tensor.numpy())
        empty = False
    if empty:
        raise ValueError("The data are empty.")


def _joined(parts: list[Batch]) -> Split:
    columns = [None if column[0] is None else np.concatenate(column) for column in zip(*parts, strict=True)]
    x, condition, mask, weight = columns
    return Split(x, condition, weight, mask=mask)


def _refuse_weights(weight) -> None:
    if weight is not None:
        raise ValueError("Here every example weighs the same: leave sample_weight out of the data.")
