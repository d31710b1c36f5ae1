"""Data frames of pandas and polars: their columns in, and columns of the same dtypes out."""

import importlib
from typing import Any

import numpy as np

from kvae.data.arrays import library
from kvae.data.columns import Cells, Column, plain
from kvae.numerics.arguments import shown

_POLARS = (
    "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float32", "Float64", "Boolean", "String",
    "Categorical",
)  # fmt: skip


def read(frame) -> tuple[str, dict[str, Any]]:
    """The package that a data frame comes from, and its columns by name.

    Raises:
        ValueError: for what is no data frame of pandas or polars, an empty one, and names that are no different texts.
    """
    package = library(frame)
    if package == "polars" and hasattr(frame, "collect"):
        raise ValueError("frame is a LazyFrame, which holds no numbers yet. Give frame.collect().")
    if package not in ("pandas", "polars") or not hasattr(frame, "columns"):
        raise ValueError(f"frame must be a DataFrame of pandas or polars, got {type(frame).__name__} {shown(frame)}.")
    names = list(frame.columns)
    if not names or not len(frame):
        raise ValueError(f"frame has {len(frame)} rows and {len(names)} columns. Give at least one of each.")
    if len(set(names)) < len(names) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"The columns of frame must have different names that are text, got {shown(names)}.")
    series = [frame.iloc[:, i] for i in range(len(names))] if package == "pandas" else frame.get_columns()
    return package, dict(zip(names, series, strict=True))


def cells(package: str, name: str, series) -> Cells:
    """The cells of a column.

    Raises:
        ValueError: for a dtype that is neither numbers nor booleans, text or categories of them, with the name.
    """
    found = _of_pandas(series) if package == "pandas" else _of_polars(series)
    if found is None or not all(isinstance(one, (str, bool, int, float)) for one in found.levels or ()):
        time = "date" in str(series.dtype).lower() or "time" in str(series.dtype).lower()
        start = f"(frame[{name!r}] - start) / numpy.timedelta64(1, 'D')" if package == "pandas" else "total_days()"
        advice = f"Give the time since a start as a number: {start}." if time else "Convert it to one of them."
        raise ValueError(
            f"Column {name!r} has the dtype {series.dtype}. A table has columns of numbers, booleans, text or "
            f"categories. {advice}"
        )
    return found


def _of_pandas(series) -> Cells | None:
    import pandas as pd

    dtype, missing = series.dtype, series.isna().to_numpy()
    if isinstance(dtype, pd.CategoricalDtype):
        levels = [plain(one) for one in dtype.categories]
        return Cells(_labels(series, missing), "category", levels, bool(dtype.ordered), str(dtype.categories.dtype))
    try:
        known = pd.api.types.pandas_dtype(str(dtype)) == dtype
    except TypeError:
        known = False
    if not (known or pd.api.types.is_string_dtype(dtype)):
        return None
    if pd.api.types.is_bool_dtype(dtype):
        return Cells(_labels(series, missing), str(dtype), [False, True])
    if dtype.kind in "iuf":
        return Cells(series.to_numpy(dtype=np.float64, na_value=np.nan), str(dtype))
    if dtype.kind != "O" and not pd.api.types.is_string_dtype(dtype):
        return None
    return _of_objects(_labels(series, missing), str(dtype))


def _of_objects(labels: np.ndarray, dtype: str) -> Cells | None:
    """Text, booleans, or numbers that came as objects."""
    kinds = {type(one) for one in labels if one is not None}
    if kinds <= {str}:
        return Cells(labels, dtype)
    if kinds == {bool}:
        return Cells(labels, dtype, [False, True])
    if kinds <= {int, float}:
        return Cells(np.array([np.nan if one is None else float(one) for one in labels]), dtype)
    return None


def _labels(series, missing) -> np.ndarray:
    found = np.empty(len(series), object)
    for i, one in enumerate(series.astype(object)):
        found[i] = None if missing[i] else plain(one)
    return found


def _of_polars(series) -> Cells | None:
    dtype = series.dtype.base_type().__name__
    levels = series.dtype.categories.to_list() if dtype == "Enum" else None
    if dtype != "Enum" and dtype not in _POLARS:
        return None
    if series.dtype.is_numeric():
        values = series.cast(importlib.import_module("polars").Float64).to_numpy()
        return Cells(np.where(series.is_null().to_numpy(), np.nan, values), dtype)
    labels = np.empty(len(series), object)
    labels[:] = series.to_list()
    return Cells(labels, dtype, [False, True] if dtype == "Boolean" else levels)


def write(package: str, columns: tuple[Column, ...], x: np.ndarray, index=None) -> Any:
    """A data frame of numbers `[N, D]`, NaN where they are missing."""
    made = importlib.import_module(package)
    series = _to_pandas if package == "pandas" else _to_polars
    each = {column.name: series(column, x[:, i]) for i, column in enumerate(columns)}
    if package == "polars":
        return made.DataFrame(each)
    return made.DataFrame({name: one.set_axis(index) if index is not None else one for name, one in each.items()})


def _to_pandas(column: Column, values: np.ndarray):
    import pandas as pd

    missing = np.isnan(values)
    if column.dtype == "category":
        levels = pd.Index(column.categories or column.levels, dtype=column.level_dtype)
        dtype = pd.CategoricalDtype(levels, ordered=column.ordered)
        return pd.Series(pd.Categorical.from_codes(levels.get_indexer(_named(column, values)), dtype=dtype))
    dtype = pd.api.types.pandas_dtype(column.dtype)
    if missing.any() and isinstance(dtype, np.dtype) and dtype.kind in "biu":
        raise ValueError(
            f"Column {column.name!r} has the dtype {dtype}, in which no value can be missing, but {missing.sum()} are. "
            "Fill them in, or make the table of frame.convert_dtypes()."
        )
    if column.levels is not None:
        return pd.Series(_named(column, values), dtype=object).astype(dtype)
    if dtype.kind in "iu":
        return pd.Series(_in_range(values, getattr(dtype, "numpy_dtype", dtype))).astype("Int64").astype(dtype)
    return pd.Series(values).astype(dtype)


def _to_polars(column: Column, values: np.ndarray):
    import polars as pl

    levels = column.categories or column.levels or []
    dtype = pl.Enum(levels) if column.dtype == "Enum" else getattr(pl, column.dtype)
    if column.levels is not None:
        return pl.Series(column.name, _named(column, values), dtype=dtype)
    if dtype.is_integer():
        values = _in_range(values, np.dtype(column.dtype.lower()))
    return pl.Series(column.name, values, nan_to_null=True).cast(dtype)


def _named(column: Column, values: np.ndarray) -> list:
    """The labels that numbers stand for."""
    assert column.levels is not None
    return [None if np.isnan(one) else column.levels[int(one)] for one in values]


def _in_range(values: np.ndarray, dtype) -> np.ndarray:
    """Whole numbers that an integer dtype holds."""
    ends = np.iinfo(dtype)
    return np.clip(np.rint(values), max(ends.min, -(2.0**53)), min(ends.max, 2.0**53))
