"""What `fit` and `evaluate` are fed: arrays become splits, other pipelines are checked as they run."""

import inspect
import math
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from kvae import conditions
from kvae.batch import Batch
from kvae.families import Likelihood
from kvae.splits import Split, numbers, observed
from kvae.support import complaint

CHECKED_BATCHES = 8
ROWS = 512  # of an array checked at a time: they stay in the cache
KEYS = ("x", "condition", "mask", "sample_weight")


def unpack(data) -> Batch:
    """What data are: `x`, `(x,)`, `(x, y)`, `(x, y, sample_weight)` with the condition y, or a dict of `KEYS`."""
    if isinstance(data, list):
        raise ValueError("x is a list. Give one array of shape [N, *event_shape], for example numpy.stack(x).")
    if isinstance(data, tuple) and hasattr(data, "train"):
        raise ValueError("These are all parts of a data set: give one of them, such as data.test.")
    x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
    if not isinstance(x, dict):
        return Batch(x, y, None, weight)
    unknown = sorted(set(x) - set(KEYS))
    if "x" not in x or unknown:
        raise ValueError(f"A dict of data has the keys {list(KEYS)}, got {sorted(x)}.")
    for name, beside in (("sample_weight", weight), ("condition", y)):
        if beside is not None and name in x:
            raise ValueError(f"{name} was given twice, inside the dict of data and beside it.")
    return Batch(x["x"], x.get("condition", y), x.get("mask"), x.get("sample_weight", weight))


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


def divided(split: Split, share: float) -> tuple[Split, Split]:
    """The split without its last `share`, and that share (as Keras' `validation_split` does)."""
    keep = math.floor(len(split) * (1.0 - share))
    if not 0.0 < share < 1.0 or keep in (0, len(split)):
        raise ValueError(f"validation_split={share} of {len(split)} examples leaves one part empty.")

    def part(rows):
        arrays = {name: getattr(split, name) for name in ("array", "y", "sample_weight", "mask")}
        return split.replace(**{name: array[rows] for name, array in arrays.items() if array is not None})

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
        f"{what} has shape {tuple(shape)}, but this model's examples have shape {tuple(event_shape)}, so it must "
        f"have shape {(None, *event_shape)}. {advice}"
    )


def check_split(split: Split, likelihood: Likelihood, condition_shape=None) -> None:
    """Raise a ValueError unless every example of the split is one that the likelihood explains, with its condition."""
    check_shape((len(split), *split.event_shape), likelihood.event_shape)
    conditions.checked(split.y, condition_shape, len(split))
    first = 0
    for chunk in split.chunks(ROWS):
        mask = None if split.mask is None else split.mask[first : first + len(chunk)]
        check_values(chunk, mask, likelihood, first)
        first += len(chunk)


def check_values(x: np.ndarray, mask, likelihood: Likelihood, first: int = 0) -> None:
    """Raise a ValueError unless every observed value of x, whose first row is number `first`, is in the support."""
    if not likelihood.support.contains(x, mask):
        raise ValueError(complaint(x, likelihood.support, type(likelihood).__name__, first, mask))


def batches(data, likelihood: Likelihood, condition_shape=None) -> Iterator[Batch]:
    """The examples of an array, a split or a finite dataset, with what is beside them, checked, some at a time.

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


def held(data) -> Split:
    """The examples in memory, for what goes over them more than once: a dataset may come in another order each time."""
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


def mean(data, likelihood: Likelihood) -> tuple[np.ndarray, np.ndarray]:
    """The mean of each element of x where it was observed, and in how many examples: float64 `[*event_shape]`."""
    total, count = np.zeros(likelihood.event_shape), np.zeros(likelihood.event_shape)
    for batch in batches(data, likelihood):
        mask = observed_mask(batch)
        total += batch.x.sum(axis=0, where=mask, dtype=np.float64)
        count += mask.sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), likelihood.support.neutral), count


def root_mean_square(data, likelihood: Likelihood, center: np.ndarray) -> float:
    """Of x - center over everything that was observed."""
    total, count = 0.0, 0
    for batch in batches(data, likelihood):
        mask = observed_mask(batch)
        total += np.square(batch.x - center).sum(where=mask)
        count += mask.sum()
    if not count:
        raise ValueError("Nothing was observed: every element of every example is masked.")
    return math.sqrt(total / count)


def observed_mask(batch: Batch) -> np.ndarray:
    """The mask of a batch of arrays, True everywhere where there is none."""
    return np.ones(batch.x.shape, bool) if batch.mask is None else batch.mask


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
        self.error: ValueError | None = None
        spec = unpack(dataset.element_spec)
        if condition_shape is not None and not isinstance(spec.condition, tf.TensorSpec):
            conditions.prepared(None, condition_shape)
        if not isinstance(spec.x, tf.TensorSpec):
            raise ValueError(f"x must be one tensor, but the dataset's elements have x = {spec.x}.")
        if not (spec.x.dtype.is_floating or spec.x.dtype.is_integer or spec.x.dtype.is_bool):
            raise ValueError(f"x must hold real numbers, but the dataset's x has dtype {spec.x.dtype.name}.")
        if spec.x.shape.rank is not None:
            check_shape(spec.x.shape.as_list(), likelihood.event_shape, "The dataset's x")
        if dataset.cardinality() == 0:
            raise ValueError("The dataset is empty.")

        def look(x, condition, mask):
            try:
                conditions.checked(condition, condition_shape, len(x))
                check_shape(x.shape, likelihood.event_shape, "The dataset's x")
                check_values(x, None if spec.mask is None else observed(mask, x.shape), likelihood)
            except ValueError as error:
                self.error = error
                raise
            return np.True_

        def check(i, element):
            batch = unpack(element)
            condition = 0 if condition_shape is None else batch.condition
            seen = tf.cast(batch.x, tf.float32), condition, 0 if batch.mask is None else batch.mask
            fine = tf.cond(
                i < CHECKED_BATCHES,
                lambda: tf.numpy_function(look, seen, tf.bool),
                lambda: tf.constant(True),
            )
            with tf.control_dependencies([fine]):
                return tf.nest.map_structure(tf.identity, element)

        self.dataset = dataset.enumerate().map(check)


def check_weight(weight) -> None:
    """Raise a ValueError unless a batch's sample weights are one number per example."""
    if weight.shape.rank not in (None, 1):
        raise ValueError(f"sample_weight must have shape [B], one number per example, got {weight.shape}.")
