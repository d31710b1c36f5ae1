"""From what users give, arrays or pipelines, to splits and batches."""

import math
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from kvae.data import conditions, pipelines
from kvae.data.arrays import as_array, is_pipeline
from kvae.data.batch import Batch, unpack
from kvae.data.checks import ROWS, HasSupport, check_split
from kvae.data.splits import Split, both, numbers, observed
from kvae.numerics.arguments import number


def split_of(x, y=None, sample_weight=None, batch_size=None, default_batch_size=32) -> Split | None:
    """The split that fit's and evaluate's arguments describe; None where x is a pipeline.

    Arrays come as `x`, `(x,)`, `(x, y)`, `(x, y, sample_weight)` or a dict. y, which may be a condition, goes along.
    """
    mask = None
    if isinstance(x, (tuple, dict)):
        inner = unpack(x)
        for name, within, beside in (("sample_weight", inner.weight, sample_weight), ("y", inner.condition, y)):
            if within is not None and beside is not None:
                raise ValueError(f"{name} was given twice, inside the data and beside them. Leave one out.")
        x, mask = inner.x, inner.mask
        y = y if inner.condition is None else inner.condition
        sample_weight = sample_weight if inner.weight is None else inner.weight
    if x is None:
        raise ValueError("There is no x: give an array, a split of kvae.data, or a tf.data.Dataset.")
    if is_pipeline(x):
        return None
    if isinstance(x, Split):
        given = {"y": y, "sample_weight": sample_weight, "mask": mask, "batch_size": batch_size}
        return x.replace(**{name: value for name, value in given.items() if value is not None})
    values, missing, columns = as_array(x)
    mask = both(missing, None if mask is None else observed(mask, np.shape(values)))
    return Split(
        numbers(values), y, sample_weight, batch_size=batch_size or default_batch_size, mask=mask, columns=columns
    )


def examples(
    data, likelihood: HasSupport, condition_shape=None, condition=None, mask=None, nan_is_missing: bool = False
) -> Batch:
    """The examples that a method of a model is given, converted and checked: arrays, in one batch.

    Args:
        data: what `fit` takes.
        likelihood, condition_shape: of the model.
        condition, mask: beside the data. They count where the data bring their own, too.
        nan_is_missing: whether NaN in x counts as missing where there is no mask.
    """
    batch = unpack(data) if isinstance(data, (tuple, dict)) else Batch(data)
    if is_pipeline(batch.x):
        batch = _joined(list(pipelines.elements(batch.x)))
    elif isinstance(batch.x, Split):
        split = batch.x
        x = split.array if split.sparse else split.x
        batch = Batch(x, _first(batch.condition, split.y), _first(batch.mask, split.mask))
        pipelines.check_columns(split.columns, likelihood)
    _refuse_weights(batch.weight)
    if condition is not None or condition_shape is None:
        batch = batch._replace(condition=condition)
    if mask is not None:
        batch = batch._replace(mask=mask)
    return pipelines.converted(batch, likelihood, condition_shape, nan_is_missing)


def _first(one, other):
    return other if one is None else one


def length(data) -> int:
    """The batches of a pipeline, 0 where that is not known."""
    try:
        return max(0, int(data.cardinality()) if isinstance(data, tf.data.Dataset) else len(data))
    except TypeError:
        return 0


def count(data) -> int | None:
    """How many examples there are, None where a pipeline does not say."""
    x = data if isinstance(data, list) else unpack(data).x
    shape = () if is_pipeline(x) or x is None else tuple(np.shape(x))
    return shape[0] if shape else None


def divide(split: Split, share: float) -> tuple[Split, Split]:
    """The split without its last `share`, and that share (as Keras' `validation_split` does)."""
    share = number("validation_split", share, above=0, below=1)
    keep = math.floor(len(split) * (1.0 - share))
    if keep in (0, len(split)):
        raise ValueError(
            f"validation_split={share} of {len(split)} examples leaves one part empty. Give another share, or "
            "validation_data."
        )
    return split.part(slice(0, keep)), split.part(slice(keep, None))


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
    for element in pipelines.elements(data):
        waiting.append(element)
        if sum(len(batch.x) for batch in waiting) >= ROWS:
            yield from batches(_split(_joined(waiting)), likelihood, condition_shape)
            waiting = []
    if waiting:
        yield from batches(_split(_joined(waiting)), likelihood, condition_shape)


def in_memory(data) -> Split:
    """The examples in memory, for functions that read them more than once: a dataset may change its order each time."""
    split = split_of(data)
    return _split(_joined(list(pipelines.elements(data)))) if split is None else split


def repeatable(data):
    """The data as something that can be read twice: a generator's batches in memory."""
    return in_memory(data) if isinstance(data, Iterator) else data


def _joined(parts: list[Batch]) -> Batch:
    """Batches of what users hold as one batch of arrays."""
    arrays = [as_array(part.x) for part in parts]
    shapes = sorted({np.shape(one.values)[1:] for one in arrays})
    if len(shapes) > 1:
        raise ValueError(f"The examples of all batches must have one shape, got {shapes[0]} and {shapes[1]}. Pad them.")
    masks = [both(one.mask, None if part.mask is None else observed(part.mask, np.shape(one.values)))
             for one, part in zip(arrays, parts, strict=True)]  # fmt: skip
    mask = None
    if any(one is not None for one in masks):
        shapes = [np.shape(one.values) for one in arrays]
        mask = np.concatenate([np.ones(s, bool) if m is None else m for m, s in zip(masks, shapes, strict=True)])
    if any(one is not None and np.ndim(one) == 0 for part in parts for one in (part.condition, part.weight)):
        raise ValueError("The data give single examples, not batches: dataset.batch(n).")
    beside = [
        None if column[0] is None else np.concatenate([np.asarray(as_array(one).values) for one in column])
        for column in zip(*((part.condition, part.weight) for part in parts), strict=True)
    ]
    return Batch(np.concatenate([np.asarray(one.values) for one in arrays]), beside[0], mask, beside[1])


def _split(batch: Batch) -> Split:
    return Split(batch.x, batch.condition, batch.weight, mask=batch.mask)


def _refuse_weights(weight) -> None:
    if weight is not None:
        raise ValueError("Here every example weighs the same: leave sample_weight out of the data.")
