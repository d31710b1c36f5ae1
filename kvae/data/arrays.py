"""The door for arrays: from what users hold to numbers, with a mask where values are missing.

NumPy arrays of any real dtype and order, masked arrays, pandas, polars, xarray, PyTorch, JAX, TensorFlow, SciPy's
sparse matrices, lists and buffers come in here, for every method and function that takes data. What is ambiguous is
refused in one sentence with the remedy.
"""

import collections.abc
import inspect
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from kvae.data.shards import Shards, on_disk
from kvae.numerics.arguments import shown

_TENSORFLOWS = ("float32", "float64")  # floats that are kept as they are
_TEXT = "Make categories labels (pandas.factorize(column)[0]) or one column each (pandas.get_dummies(x))."


class Array(NamedTuple):
    """Numbers, with what came along.

    Attributes:
        values: `[N, ...]`, NumPy, `SparseRows` or `Shards`.
        mask: booleans like the values, True where one was observed; None where nothing is missing.
        names: of the columns, or None.
    """

    values: Any
    mask: np.ndarray | None = None
    names: tuple[str, ...] | None = None


class SparseRows:
    """A sparse matrix of SciPy whose rows become dense, float32, only as they are used."""

    dtype = np.dtype(np.float32)
    ndim = 2

    def __init__(self, matrix):
        self.matrix = matrix.tocsr()
        self.shape: tuple[int, ...] = tuple(matrix.shape)

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows) -> np.ndarray:
        """Some rows, dense."""
        return self.matrix[rows].toarray().astype(np.float32)

    def __array__(self, dtype=None, copy=None):
        return self[:] if dtype is None else self[:].astype(dtype)

    def part(self, rows) -> "SparseRows":
        """Some rows, sparse."""
        return SparseRows(self.matrix[rows])


def part_of(array, rows):
    """Some rows of an array, which stay sparse, or on disk, where they are."""
    return array.part(rows) if isinstance(array, (SparseRows, Shards)) else array[rows]


def is_symbolic(x) -> bool:
    """Whether x is a tensor of a graph, without a value."""
    return isinstance(x, keras.KerasTensor) or (tf.is_tensor(x) and tf.is_symbolic_tensor(x))


def is_pipeline(x) -> bool:
    """Whether x gives batches one after the other: a dataset, a PyDataset, a generator, a PyTorch DataLoader."""
    if isinstance(x, (tf.data.Dataset, tf.distribute.DistributedDataset, keras.utils.PyDataset)):
        return True
    if library(x) == "torch" and hasattr(x, "dataset"):
        return True
    return inspect.isgenerator(x) or (isinstance(x, collections.abc.Iterator) and not hasattr(x, "__array__"))


def as_array(value, what: str = "x") -> Array:
    """The numbers in what a user gave.

    Raises:
        ValueError: for what is no array of real numbers.
    """
    if type(value) is np.ndarray:
        return Array(_numbers(value, what))
    if isinstance(value, (np.ma.MaskedArray, SparseRows)):
        return _masked(value, what) if isinstance(value, np.ma.MaskedArray) else Array(value)
    if isinstance(value, Shards):
        as_it_is = _numbers(value.parts[0][:0], what).dtype == value.dtype
        return Array(value if as_it_is else _numbers(np.asarray(value), what))
    reader = {
        "pandas": _pandas, "polars": _polars, "xarray": _xarray, "torch": _torch, "scipy": _scipy,
        "tensorflow": _tensorflow,
    }.get(library(value))  # fmt: skip
    if reader is not None:
        return reader(value, what)
    if isinstance(value, (list, tuple)):
        return Array(_numbers(_stacked(value, what), what))
    if isinstance(value, (str, bytes, dict, set, type(None))) or callable(value):
        raise _no_array(value, what)
    try:
        values = np.asanyarray(value)
    except (TypeError, ValueError, AttributeError, RuntimeError, BufferError):
        raise _no_array(value, what) from None
    if values.ndim == 0 and values.dtype == object:
        raise _no_array(value, what)
    return Array(_numbers(values, what))


def library(value) -> str:
    """The package that a value comes from, of those that are known here, or ""."""
    for kind in type(value).__mro__:
        root = kind.__module__.partition(".")[0]
        if root in ("pandas", "polars", "xarray", "torch", "scipy", "tensorflow"):
            return root
    return ""


def _no_array(value, what: str) -> ValueError:
    return ValueError(
        f"{what} must be an array of numbers, one row for each example, got {type(value).__name__} {shown(value)}. "
        "NumPy arrays, tensors, data frames and lists of numbers are taken."
    )


def _numbers(values: np.ndarray, what: str) -> np.ndarray:
    """The values with a dtype of real numbers that TensorFlow holds, in the machine's byte order."""
    kind = values.dtype.kind
    if kind in "biuf":
        if kind == "f" and values.dtype.name not in _TENSORFLOWS:
            return values if values.dtype == np.float16 and on_disk(values) else values.astype(np.float32)
        return values if values.dtype.isnative else values.astype(values.dtype.newbyteorder("="))
    if kind == "V" and values.dtype.names is None and "float" in values.dtype.name:  # bfloat16 and its like
        return values.astype(np.float32)
    if kind == "O":
        return _of_objects(values, what)
    advice = {
        "c": "Give the real and the imaginary part as two channels: numpy.stack([x.real, x.imag], axis=-1).",
        "U": _TEXT, "S": _TEXT, "T": _TEXT,
        "M": "Give the time since a start: (x - x.min()) / numpy.timedelta64(1, 'D').",
        "m": "Divide by a unit: x / numpy.timedelta64(1, 's').",
        "V": "Give its fields as columns: numpy.lib.recfunctions.structured_to_unstructured(x).",
    }.get(kind if kind != "V" or values.dtype.names else "", "Convert it with x.astype('float32').")  # fmt: skip
    raise ValueError(f"{what} must hold real numbers, but its dtype is {values.dtype}. {advice}")


def _of_objects(values: np.ndarray, what: str) -> np.ndarray:
    """An array of objects as numbers, where each is one."""
    for one in values.flat:
        if not isinstance(one, (int, float, np.number, np.bool_)):
            advice = _TEXT if isinstance(one, str) else "Give one array of shape [N, ...] with numbers of one dtype."
            if one is None or type(one).__name__ in ("NAType", "NaTType"):
                advice = "Where values are missing, give NaN there and mask=, or a pandas.DataFrame."
            raise ValueError(
                f"{what} must hold real numbers, but its dtype is object and it holds {shown(one)}. {advice}"
            )
    return values.astype(np.float64)


def _stacked(value, what: str) -> np.ndarray:
    """A list of examples as one array."""
    try:
        return np.asarray(value)
    except ValueError:
        shapes = sorted({np.shape(one) for one in value if not isinstance(one, (list, tuple))})[:2]
        told = f", such as {shapes[0]} and {shapes[1]}" if len(shapes) > 1 else ""
        raise ValueError(
            f"{what} is a list whose examples have different shapes{told}. A list is taken as one array, "
            "numpy.stack(x); inputs that belong together go into a tuple (x, y) or a dict."
        ) from None


def _masked(value: np.ma.MaskedArray, what: str) -> Array:
    values = _numbers(np.asarray(value.data), what)
    if not np.ma.is_masked(value):
        return Array(values)
    return Array(values, ~np.ma.getmaskarray(value))


def _pandas(value, what: str) -> Array:
    if not hasattr(value, "columns"):  # a Series, an Index or an array
        value = getattr(value, "array", value)
        return _pandas_column(value, what)
    if not len(value.columns):
        raise ValueError(f"{what} has no columns. Give at least one of numbers.")
    if all(hasattr(column, "fill_value") for column in value.dtypes):  # all sparse
        return Array(SparseRows(value.sparse.to_coo()), None, _names(value.columns))
    names = _names(value.columns)
    if all(isinstance(dtype, np.dtype) and dtype.kind in "biuf" for dtype in value.dtypes):
        return Array(_numbers(value.to_numpy(), what), _observed(value.isna().to_numpy()), names)
    columns = [_pandas_column(value.iloc[:, i].array, f"{what}[{name!r}]") for i, name in enumerate(value.columns)]
    masks = [np.ones(len(value), bool) if mask is None else mask for _, mask, _ in columns]
    return Array(np.stack([one.values for one in columns], axis=-1), _observed(~np.stack(masks, axis=-1)), names)


def _pandas_column(array, what: str) -> Array:
    missing = np.asarray(array.isna())
    if array.dtype.kind in "Mm":
        return Array(_numbers(np.asarray(array), what))
    objects = str(array.dtype) == "object" and all(isinstance(one, (int, float, np.number)) for one in array[~missing])
    if array.dtype.kind not in "biuf" and not objects:
        raise ValueError(f"{what} must hold real numbers, but its dtype is {array.dtype}. {_TEXT}")
    if missing.any() or objects:
        return Array(array.to_numpy(dtype=np.float64, na_value=np.nan), _observed(missing))
    return Array(_numbers(np.asarray(array.to_numpy()), what))


def _polars(value, what: str) -> Array:
    if hasattr(value, "collect"):
        raise ValueError(f"{what} is a LazyFrame, which holds no numbers yet. Give {what}.collect().")
    series = value.get_columns() if hasattr(value, "get_columns") else [value]
    for one in series:
        if not (one.dtype.is_numeric() or str(one.dtype) == "Boolean"):
            raise ValueError(f"{what}[{one.name!r}] must hold real numbers, but its dtype is {one.dtype}. {_TEXT}")
    missing = [one.is_null().to_numpy() for one in series]
    columns = [_numbers(np.asarray(one.to_numpy()), what) for one in series]
    if not hasattr(value, "get_columns"):
        return Array(columns[0].astype(np.float64) if missing[0].any() else columns[0], _observed(missing[0]))
    names = _names([one.name for one in series])
    return Array(np.stack(columns, axis=-1), _observed(np.stack(missing, axis=-1)), names)


def _names(columns) -> tuple[str, ...] | None:
    """The names of columns; None for numbers and for polars' column_0, column_1, ..., which nobody gave."""
    names = tuple(columns)
    default = tuple(f"column_{i}" for i in range(len(names)))
    return names if names != default and all(isinstance(name, str) for name in names) else None


def _observed(missing: np.ndarray) -> np.ndarray | None:
    return ~missing if missing.any() else None


def _xarray(value, what: str) -> Array:
    if hasattr(value, "data_vars"):
        raise ValueError(
            f"{what} is an xarray.Dataset of {sorted(map(str, value.data_vars))}. Give one of them, or all as "
            f"channels: {what}.to_array().transpose(..., 'variable')."
        )
    return Array(_numbers(np.asarray(value.values), what))


def _torch(value, what: str) -> Array:
    if not hasattr(value, "detach"):
        raise _no_array(value, what)
    value = value.detach().cpu()
    if "sparse" in str(value.layout):
        raise ValueError(f"{what} is a sparse tensor. Give {what}.to_dense(), or a matrix of scipy.sparse.")
    return Array(_numbers((value.float() if "bfloat16" in str(value.dtype) else value).numpy(), what))


def _scipy(value, what: str) -> Array:
    if not hasattr(value, "tocsr") or value.ndim != 2:
        raise _no_array(value, what)
    _numbers(np.zeros(0, value.dtype), what)  # raises for complex numbers
    return Array(SparseRows(value))


def _tensorflow(value, what: str) -> Array:
    if isinstance(value, (tf.SparseTensor, tf.RaggedTensor)):
        sparse = isinstance(value, tf.SparseTensor)
        remedy = "tf.sparse.to_dense(x), or a matrix of scipy.sparse" if sparse else "x.to_tensor()"
        raise ValueError(f"{what} is a {type(value).__name__}. Give {remedy}.")
    if not hasattr(value, "numpy"):
        raise _no_array(value, what)
    return Array(_numbers(np.asarray(value.numpy()), what))
