"""Arrays that are larger than memory, written as several files."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from kvae.data.arrays import SparseRows, as_array
from kvae.data.shards import ARRAYS, shard_name
from kvae.numerics import files
from kvae.numerics.arguments import choice, make_folder, whole
from kvae.numerics.arguments import path as checked_path


def write_shards(folder, x, rows_per_file: int, name: str = "x_train") -> list[Path]:
    """Write an array as files `<name>-00000-of-00010.npy` and so on, which `kvae.data.load(folder)` reads as one.

    Each file is written under a temporary name. When all are there, they are renamed. The rows of one file are held in
    memory, so that an iterator of arrays may give more than fits into it.

    Args:
        folder: is made where it is missing.
        x: `[N, *event_shape]`, numbers, or an iterator of such arrays of one dtype.
        rows_per_file: of all files but the last. Each file that is read stays open, so some hundred files at most.
        name: "x_train", "x_test", "y_train" and so on.

    Returns:
        The paths of the files.

    Raises:
        FileExistsError: where the folder already holds files of this name.
        OSError: where a file cannot be written, such as for a full disk. Nothing is left of all then.
    """
    folder, rows_per_file = checked_path("folder", folder), whole("rows_per_file", rows_per_file, 1)
    name = choice("name", name, ARRAYS)
    there = [file.name for pattern in (f"{name}.npy", f"{name}-*-of-*.npy") for file in sorted(folder.glob(pattern))]
    if there:
        raise FileExistsError(f"{folder} already holds {there[0]}. Delete the files of {name}, or give another folder.")
    make_folder(folder)
    with files.staging(folder) as staged:
        written: list[Path] = []
        for number, rows in enumerate(_files(x, rows_per_file)):
            written.append(staged / f"{number}.npy")
            _save(written[-1], rows, folder / f"{name}-{number:05d}-of-*.npy")
        if not written:
            raise ValueError("x is empty. Give at least one example.")
        paths = [folder / shard_name(name, number, len(written)) for number in range(len(written))]
        for before, after in zip(written, paths, strict=True):
            os.replace(before, after)
        return paths


def _save(path: Path, rows: np.ndarray, name: Path) -> None:
    """Write a file, which a message calls `name`."""
    try:
        with path.open("wb") as file:
            np.save(file, rows)
            file.flush()
            os.fsync(file.fileno())  # some file systems say only here that they are full
    except OSError as error:
        raise files.not_written(name, error) from error


def _files(x, rows: int) -> Iterator[np.ndarray]:
    """The arrays of the files."""
    waiting: list[np.ndarray] = []
    for array in _arrays(x):
        first = 0
        while first < len(array):
            last = first + rows - sum(map(len, waiting))
            waiting.append(array[first:last])
            first = min(last, len(array))
            if sum(map(len, waiting)) == rows:
                yield np.concatenate(waiting)
                waiting = []
    if waiting:
        yield np.concatenate(waiting)


def _arrays(x) -> Iterator[np.ndarray]:
    """What was given as arrays that go together, checked."""
    parts: Iterable = x if isinstance(x, Iterator) else [x]
    like = None
    for part in parts:
        values, mask, _ = as_array(part)
        if isinstance(values, SparseRows) or mask is not None or not values.ndim:
            raise ValueError(
                "Files hold dense arrays of shape [N, *event_shape] without a mask, but x is sparse, lacks values or "
                "is a single number. Fill in what is missing, and give an array."
            )
        got = tuple(values.shape[1:]), values.dtype
        like = like or got
        if got != like:
            raise ValueError(
                f"All arrays must have one shape and dtype: the first holds examples of shape {like[0]}, {like[1]}, "
                f"and a later one of shape {got[0]}, {got[1]}. Bring them to the first with reshape and astype."
            )
        yield values
