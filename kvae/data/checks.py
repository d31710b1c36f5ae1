"""Checks, before the first step, that a model can explain the data."""

from typing import Protocol

import numpy as np
import tensorflow as tf

from kvae.data import conditions
from kvae.data.batch import unpack
from kvae.data.splits import Split, observed
from kvae.data.support import Support, support_error

CHECKED_BATCHES = 8
ROWS = 512  # of an array checked at a time: they stay in the cache


class HasSupport(Protocol):
    """A likelihood, as far as data are concerned."""

    support: Support
    event_shape: tuple[int, ...]


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


def check_split(split: Split, likelihood: HasSupport, condition_shape=None) -> None:
    """Raise a ValueError unless every example of the split is one that the likelihood explains, with its condition."""
    check_shape((len(split), *split.event_shape), likelihood.event_shape)
    conditions.checked(split.y, condition_shape, len(split))
    first = 0
    for chunk in split.chunks(ROWS):
        mask = None if split.mask is None else split.mask[first : first + len(chunk)]
        check_values(chunk, mask, likelihood, first)
        first += len(chunk)


def check_values(x: np.ndarray, mask, likelihood: HasSupport, first: int = 0) -> None:
    """Raise a ValueError unless every observed value of x, whose first row is number `first`, is in the support."""
    if not likelihood.support.contains(x, mask):
        raise ValueError(support_error(x, likelihood.support, type(likelihood).__name__, first, mask))


def check_weight(weight) -> None:
    """Raise a ValueError unless a batch's sample weights are one number per example."""
    if weight.shape.rank not in (None, 1):
        raise ValueError(f"sample_weight must have shape [B], one number per example, got {weight.shape}.")


class CheckedDataset:
    """A `tf.data.Dataset` whose first batches are checked in the pipeline.

    Attributes:
        dataset: the same elements, with the check in between.
        error: the ValueError that the check raised, or None. TensorFlow wraps it in an error of its own.
    """

    def __init__(self, dataset: tf.data.Dataset, likelihood: HasSupport, condition_shape=None):
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
