"""Arrays of examples, prepared as they are used.

A `Split` keeps its array as it is stored (uint8 where it came so) and prepares rows when they are needed:
scaling and, if wished, a fresh binarisation of every batch. `fit` and `evaluate` recognise splits.
"""

import itertools
import math

import numpy as np
import tensorflow as tf

from kvae.data.arrays import SparseRows, as_array, part_of
from kvae.data.preparation import DATA_KEY, Preparation
from kvae.data.shards import Shards, on_disk, shards_of
from kvae.numerics import noise
from kvae.numerics.arguments import flag, listed, number, shown, whole
from kvae.numerics.arguments import seed as checked_seed

_CHUNK = 4096  # rows prepared at a time where a whole split is wanted


class Split:
    """One named part of a data set: an array with the way its rows become examples.

    Args:
        array: `[N, *event_shape]`, numbers: a NumPy array or anything that `fit` takes as one. A `np.memmap`, and what
            `kvae.data.folder` reads from several files, stays on disk until its rows are used, a sparse matrix sparse.
            What a masked array or a data frame marks as missing is masked.
        y: labels `[N]` or None; carried along, never used by an unconditional model.
        sample_weight: `[N]` or None.
        scale: what the stored numbers are multiplied by.
        dynamic: True to binarise anew at every use in training, each element 1 with probability x (which must
            lie in [0, 1]). Elsewhere (`x`, evaluation) the binarisation is the fixed one of `seed`.
        batch_size: examples per training step.
        seed: of the binarisation and of the order of `dataset`.
        mask: `[N, *event_shape]`, 1 where the array was observed and 0 where it is missing, or None.
        columns: the names of the columns, or None; by default a data frame's own.
    """

    def __init__(
        self, array, y=None, sample_weight=None, scale=1.0, dynamic=False, batch_size=128, seed=0, mask=None,
        columns=None,
    ):  # fmt: skip
        array, missing, names = as_array(array)
        if array.ndim == 0:
            raise ValueError(f"x must be an array of shape [N, *event_shape], got the scalar {array}.")
        if len(array) == 0:
            raise ValueError(f"The data are empty: an array of shape {np.shape(array)}. Give at least one example.")
        y = None if y is None else labels(y)
        sample_weight = None if sample_weight is None else weights(sample_weight)
        for name, other in (("y", y), ("sample_weight", sample_weight)):
            if other is not None and len(other) != len(array):
                raise ValueError(f"x has {len(array)} rows but {name} has {len(other)}. Give one for each row.")
        as_it_is = isinstance(array, (SparseRows, Shards)) or (on_disk(array) and array.flags.c_contiguous)
        self.array, self.y = array if as_it_is else np.ascontiguousarray(array), y
        self.sample_weight = sample_weight
        self.mask = both(missing, None if mask is None else observed(mask, np.shape(array)))
        self.columns = names if columns is None else listed("columns", columns)
        self.scale, self.dynamic = number("scale", scale), flag("dynamic", dynamic)
        self.batch_size, self.seed = whole("batch_size", batch_size, 1), checked_seed(seed)

    def replace(self, **changes) -> "Split":
        """This split with other constructor arguments."""
        names = ("array", "y", "sample_weight", "scale", "dynamic", "batch_size", "seed", "mask", "columns")
        return Split(**{name: getattr(self, name) for name in names} | changes)

    def first(self, n: int) -> "Split":
        """The first n examples, or all if there are fewer, with the same values as in the whole split."""
        return self.part(slice(0, whole("n", n, 1)))

    def part(self, rows) -> "Split":
        """The rows of a slice, or of an array of row numbers or booleans, with what goes with them."""
        rows = _rows(rows, len(self))
        arrays = {name: getattr(self, name) for name in ("array", "y", "sample_weight", "mask")}
        return self.replace(**{name: part_of(array, rows) for name, array in arrays.items() if array is not None})

    def hide(self, share: float = 0.1, seed: int = 0) -> "Split":
        """The same rows with a random share of the values that were observed masked, by the seed.

        What is hidden, `split.mask & ~split.hide().mask`, tells when to stop: `kvae.callbacks.HeldOutCells`.
        """
        share = number("share", share, above=0.0, below=1.0)
        observed_ = np.ones(np.shape(self.array), bool) if self.mask is None else self.mask
        random = np.random.default_rng([checked_seed(seed), DATA_KEY]).random(observed_.shape)
        return self.replace(mask=observed_ & (random >= share))

    def __len__(self):
        return len(self.array)

    def __repr__(self):
        kind = "binarised anew every batch" if self.dynamic else f"stored as {self.array.dtype}"
        return f"Split({len(self)} examples of shape {self.event_shape}, {kind})"

    def __array__(self, dtype=None, copy=None):
        return self.x if dtype is None else self.x.astype(dtype)

    @property
    def sparse(self) -> bool:
        """Whether the array is a sparse matrix, whose rows are made dense batch by batch."""
        return isinstance(self.array, SparseRows)

    @property
    def on_disk(self) -> bool:
        """Whether the rows are read from disk as they are used."""
        return on_disk(self.array)

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one example."""
        return self.array.shape[1:]

    @property
    def x(self) -> np.ndarray:
        """All examples as the model sees them, float32 `[N, *event_shape]`."""
        return np.concatenate(list(self.chunks()))

    def chunks(self, rows: int = _CHUNK):
        """The examples of `x`, some rows at a time."""
        rows = whole("rows", rows, 1)
        for first in range(0, len(self), rows):
            stored = self.array[first : first + rows]
            yield stored if self.as_stored else self.preparation(stored, first, noise.BINARIZATION).numpy()

    @property
    def as_stored(self) -> bool:
        """Whether the array already holds the examples as the model sees them."""
        return self.scale == 1.0 and not self.dynamic and self.array.dtype == np.float32

    @property
    def preparation(self) -> Preparation:
        """The way from stored rows to examples, without the rows."""
        return Preparation(self.scale, self.dynamic, self.seed, math.prod(self.event_shape))

    def order(self, seed: int, epoch: int) -> np.ndarray:
        """A permutation of the rows, int32 `[N]`: a function of (seed, epoch) alone."""
        key = [checked_seed(seed), whole("epoch", epoch, 0)]
        return np.random.Generator(np.random.Philox(key=key)).permutation(len(self)).astype(np.int32)

    def dataset(self, shuffle: bool = True, batch_size: int | None = None, epoch: int | None = None) -> tf.data.Dataset:
        """One pass as a `tf.data.Dataset` of batches.

        A memory-mapped array is read batch by batch. The elements are `x` alone, `(x, y)` with labels, or
        `(x, y, sample_weight)` with both. Otherwise they are dicts of `x` and those of `condition` (the labels), `mask`
        and `sample_weight` that the split has. The order (and a dynamic binarisation) is a function of (seed, epoch).

        Args:
            shuffle: False for the stored order.
            batch_size: the split's own by default.
            epoch: which pass; by default 0 when the dataset is first iterated over, and one more each time.
        """
        size = self.batch_size if batch_size is None else whole("batch_size", batch_size, 1)
        shuffle, epoch = flag("shuffle", shuffle), None if epoch is None else whole("epoch", epoch, 0)
        prepare, rows_of = self.preparation, self._rows_of()
        beside = {"condition": self.y, "mask": self.mask, "sample_weight": self.sample_weight}
        there = {name: tf.constant(array) for name, array in beside.items() if array is not None}
        epochs = itertools.count() if epoch is None else itertools.repeat(epoch)

        def order():
            now = next(epochs)
            rows = self.order(self.seed, now) if shuffle else np.arange(len(self), dtype=np.int32)
            return rows, np.int64(now)

        def batches(_):
            rows, now = tf.numpy_function(order, [], (tf.int32, tf.int64))
            stream = now + 1 if shuffle else tf.constant(noise.BINARIZATION, tf.int64)
            slices = tf.data.Dataset.from_tensor_slices(tf.ensure_shape(rows, [len(self)])).batch(size)
            return slices.enumerate().map(lambda i, some: batch(i, some, stream))

        def batch(i, rows, stream):
            x = prepare(rows_of(rows), i * size, stream)
            element = {name: tf.gather(array, rows) for name, array in there.items()}
            if not element:
                return x
            if set(element) in ({"condition"}, {"condition", "sample_weight"}):
                return x, *element.values()
            return {"x": x, **element}

        # Batch before map, gather by index, and no autotuning: its thread stalls the end of a pass.
        pipeline = tf.data.Dataset.range(1).flat_map(batches)
        pipeline = pipeline.apply(tf.data.experimental.assert_cardinality(math.ceil(len(self) / size))).prefetch(2)
        options = tf.data.Options()
        options.autotune.enabled = False
        return pipeline.with_options(options)

    def _rows_of(self):
        """A function of the graph from rows to what is stored there."""
        if not (self.sparse or self.on_disk):
            array = tf.constant(self.array)
            return lambda rows: tf.gather(array, rows)

        stored_rows = self.array if self.sparse else shards_of(self.array)

        def read(rows):
            stored = tf.numpy_function(lambda rows: stored_rows[rows], [rows], self.array.dtype)
            return tf.ensure_shape(stored, [None, *self.event_shape])

        return read


def _rows(rows, count: int):
    """A slice, or row numbers as an array, checked."""
    if isinstance(rows, slice):
        if any(end is not None and not hasattr(end, "__index__") for end in (rows.start, rows.stop, rows.step)):
            raise ValueError(f"rows must be a slice of whole numbers, such as slice(0, 10), got {rows}.")
        return rows
    found = np.asarray(as_array(rows, "rows").values)
    fits = found.ndim == 1 and (found.dtype.kind in "iu" or (found.dtype == bool and len(found) == count))
    if not fits or (found.dtype != bool and len(found) and not -count <= found.min() <= found.max() < count):
        raise ValueError(
            f"rows must be a slice, or an array of one axis with row numbers below {count} or {count} booleans, got "
            f"{shown(rows)}."
        )
    return found


def numbers(x):
    """x as numbers for training: float32 for other floats; integers, booleans and what is on disk as they are."""
    return x.astype(np.float32) if x.dtype in (np.float64, np.float16) and not on_disk(x) else x


def labels(y) -> np.ndarray:
    """Labels as an array, words too: a model that is not conditional carries them along. Missing ones are NaN."""
    try:
        values, mask, _ = as_array(y, "y")
        found = np.asarray(values) if mask is None else np.where(mask, values, np.nan)
    except ValueError:  # words, perhaps
        try:
            found = np.asarray(None if isinstance(y, dict) else y)
        except (TypeError, ValueError):
            found = np.asarray(None)
    if np.ndim(found) == 0:
        raise ValueError(f"y must be one label or vector for each example, got {shown(y)}.")
    return found


def weights(sample_weight) -> np.ndarray:
    """Sample weights as float32 `[N]`, checked."""
    weight = np.asarray(as_array(sample_weight, "sample_weight").values, np.float32)
    if not weight.size:
        raise ValueError(f"sample_weight is empty: its shape is {weight.shape}. Give one number for each.")
    if weight.ndim != 1 or not np.isfinite(weight).all() or (weight < 0).any():
        raise ValueError(
            f"sample_weight must be finite numbers >= 0 of shape [N], one per example, got shape {weight.shape} "
            f"with values from {weight.min()} to {weight.max()}."
        )
    if not weight.any():
        raise ValueError("sample_weight is 0 for every example: nothing would count. Leave it out to weigh all alike.")
    return weight


def observed(mask, shape) -> np.ndarray:
    """A mask for an array of this shape as booleans, checked."""
    mask = np.asarray(as_array(mask, "The mask").values)
    if mask.shape != tuple(shape):
        raise ValueError(
            f"The mask has shape {mask.shape}, but it must have that of x, {tuple(shape)}: 1 where a value was "
            "observed and 0 where it is missing."
        )
    if mask.dtype != bool and not ((mask == 0) | (mask == 1)).all():
        raise ValueError(
            f"A mask is 1 where x was observed and 0 where it is missing, but its values range from {mask.min()} to "
            f"{mask.max()}. Uncertain values may be given less weight as examples: sample_weight."
        )
    return mask.astype(bool, copy=False)


def both(mask: np.ndarray | None, other: np.ndarray | None) -> np.ndarray | None:
    """True where both masks are; None counts as True everywhere."""
    return other if mask is None else mask if other is None else mask & other
