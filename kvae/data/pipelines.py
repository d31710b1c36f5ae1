"""Pipelines whose batches are converted and checked on their way into `fit`, `evaluate` and `predict`."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kvae.data import conditions
from kvae.data.arrays import as_array, is_symbolic
from kvae.data.batch import Batch, unpack
from kvae.data.checks import HasSupport, check_columns, check_shape, check_values
from kvae.data.shards import on_disk
from kvae.data.splits import both, numbers, observed
from kvae.numerics.arguments import is_number, shown

CHECKED_BATCHES = 8  # of a dataset; the steps themselves look at all


class CheckedPipeline:
    """A `tf.data.Dataset`, `PyDataset` or generator with a check in between.

    Args:
        data: the pipeline.
        likelihood, condition_shape: of the model.
        every: True to check every batch of a dataset, not only the first ones.

    Attributes:
        data: what to give to Keras: the same elements, each as a tuple.
        seen: how many batches were looked at.
        error: the ValueError that the check raised, or None. TensorFlow wraps it in an error of its own.
    """

    def __init__(self, data, likelihood: HasSupport, condition_shape=None, every: bool = False):
        self.error: ValueError | None = None
        self.seen = 0
        self.likelihood, self.condition_shape = likelihood, condition_shape
        if isinstance(data, tf.data.Dataset):
            self.data: Any = self._dataset(data, np.iinfo(np.int64).max if every else CHECKED_BATCHES)
        elif isinstance(data, keras.utils.PyDataset):
            self.data = _CheckedPyDataset(data, self._element)
        elif isinstance(data, Iterator):
            self.data = self._elements(data)
        else:
            self.data = data  # Keras reads PyTorch's DataLoader itself

    def look(self, batch: Batch) -> Batch:
        """A batch of arrays, converted and checked."""
        self.seen += 1
        try:
            return converted(batch, self.likelihood, self.condition_shape)
        except ValueError as error:
            self.error = error
            raise

    def _elements(self, data: Iterator) -> Iterator[tuple]:
        empty = True
        for element in data:
            yield self._element(element)
            empty = False
        if empty:
            raise ValueError("The data are empty. Give a generator that has not been read to its end.")

    def _element(self, element) -> tuple:
        element = element if isinstance(element, tuple) else (element,)
        batch = unpack(element)
        found = self.look(batch)
        if isinstance(batch.x, (np.ndarray, tf.Tensor)) and not isinstance(batch.x, np.ma.MaskedArray):
            return element
        if found.mask is None and not isinstance(batch.x, list):  # a later batch may have missing values
            found = found._replace(mask=np.ones(found.x.shape, bool))
        names = {"x": found.x, "condition": found.condition, "mask": found.mask, "sample_weight": batch.weight}
        return ({name: value for name, value in names.items() if value is not None},)

    def _dataset(self, dataset: tf.data.Dataset, count: int) -> tf.data.Dataset:
        spec = unpack(dataset.element_spec)
        if self.condition_shape is not None and not isinstance(spec.condition, tf.TensorSpec):
            conditions.prepared(None, self.condition_shape)
        if not isinstance(spec.x, tf.TensorSpec):
            raise ValueError(
                f"x must be one tensor, but the dataset's elements have x = {spec.x}. "
                "Map them to x, (x, condition) or a dict with x."
            )
        if not (spec.x.dtype.is_floating or spec.x.dtype.is_integer or spec.x.dtype.is_bool):
            raise ValueError(
                f"x must hold real numbers, but the dataset's x has dtype {spec.x.dtype.name}. "
                "Convert it in dataset.map."
            )
        if spec.x.shape.rank is not None:
            check_shape(spec.x.shape.as_list(), self.likelihood.event_shape, "The dataset's x")
        if dataset.cardinality() == 0:
            raise ValueError("The dataset is empty. Give one of at least one batch.")

        def look(x, condition, mask):
            condition = None if self.condition_shape is None else condition
            self.look(Batch(x, condition, None if spec.mask is None else mask))
            return np.True_

        def check(i, element):
            batch = unpack(element)
            condition = 0 if self.condition_shape is None else batch.condition
            seen = tf.cast(batch.x, tf.float32), condition, 0 if batch.mask is None else batch.mask
            fine = tf.cond(
                i < count,
                lambda: tf.numpy_function(look, seen, tf.bool),
                lambda: tf.constant(True),
            )
            with tf.control_dependencies([fine]):
                return tf.nest.map_structure(tf.identity, element)

        return dataset.enumerate().map(check)


class _CheckedPyDataset(keras.utils.PyDataset):
    def __init__(self, inner: keras.utils.PyDataset, convert):
        super().__init__(inner.workers, inner.use_multiprocessing, inner.max_queue_size)
        self.inner, self.convert = inner, convert

    def __getitem__(self, index):
        return self.convert(self.inner[index])

    @property
    def num_batches(self):
        """As the dataset says."""
        return self.inner.num_batches

    def on_epoch_begin(self):
        """Tell the dataset."""
        self.inner.on_epoch_begin()

    def on_epoch_end(self):
        """Tell the dataset."""
        self.inner.on_epoch_end()


def converted(batch: Batch, likelihood: HasSupport, condition_shape=None, nan_is_missing: bool = False) -> Batch:
    """A batch of what users hold as arrays that `prepared` takes, checked. Sparse rows stay sparse.

    Args:
        batch: x, its conditions and masks; weights stay as they are.
        likelihood, condition_shape: of the model.
        nan_is_missing: whether NaN in x counts as missing where there is no mask.

    Raises:
        ValueError: where the model cannot explain x, or the condition or mask does not go with it.
    """
    x, missing, columns = as_array(batch.x)
    check_shape(np.shape(x), likelihood.event_shape)
    check_columns(columns, likelihood)
    x = np.asarray(x) if on_disk(x) else x
    x = x if likelihood.compute_dtype == "float64" else numbers(x)
    mask = None if batch.mask is None else observed(batch.mask, x.shape)
    mask = both(missing, mask)
    if mask is None and nan_is_missing and isinstance(x, np.ndarray) and x.dtype.kind == "f":
        mask = ~np.isnan(x)
    check_values(x, mask, likelihood)
    return Batch(x, conditions.checked(batch.condition, condition_shape, len(x)), mask, batch.weight)


def elements(data) -> Iterator[Batch]:
    """The batches of a finite pipeline, as users hold them.

    Raises:
        ValueError: where the pipeline never ends or is empty.
    """
    if isinstance(data, tf.data.Dataset) and data.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError("The dataset never ends: give data.take(n).")
    if isinstance(data, keras.utils.PyDataset):
        if data.num_batches is None:
            raise ValueError("The PyDataset never ends: its num_batches is None. Give one with a number of batches.")
        data = map(data.__getitem__, range(data.num_batches))
    empty = True
    for element in data:
        if isinstance(element, list):
            element = tuple(element)
        batch = unpack(element)
        if batch.x is None:
            raise ValueError("A batch of the data has no x. Give arrays [B, *event_shape].")
        if is_symbolic(batch.x):
            raise ValueError("A dataset is read outside of compiled functions: give the tensors of a batch here.")
        if getattr(batch.x, "ndim", None) == 0 or is_number(batch.x):
            raise ValueError(f"The data give single numbers, such as {shown(batch.x)}, not batches: dataset.batch(n).")
        yield batch
        empty = False
    if empty:
        raise ValueError("The data are empty. Give at least one batch; a generator gives its batches once.")
