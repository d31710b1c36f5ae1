"""Arrays on disk: one `.npy` file that is memory-mapped, or several files that are read as one array."""

import itertools
import mmap
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

ARRAYS = ("x_train", "x_validation", "x_test", "y_train", "y_validation", "y_test")


class Shards:
    """Arrays `[N_i, *event_shape]` of one dtype as one array `[N, *event_shape]`, without joining them.

    Of memory-mapped arrays only the rows that are asked for are read: `shards[rows]`, with a slice, or an array of row
    numbers or booleans, is a NumPy array.
    """

    def __init__(self, parts: Sequence[np.ndarray]):
        self.parts = list(parts)
        self.dtype = self.parts[0].dtype
        self._starts = np.cumsum([0, *map(len, self.parts)])
        self.shape: tuple[int, ...] = (int(self._starts[-1]), *self.parts[0].shape[1:])
        self.ndim = len(self.shape)

    def __len__(self):
        return self.shape[0]

    def __repr__(self):
        return f"Shards({len(self.parts)} files of together shape {self.shape}, {self.dtype})"

    def __array__(self, dtype=None, copy=None):
        return np.concatenate(self.parts).astype(self.dtype if dtype is None else dtype, copy=False)

    @property
    def nbytes(self) -> int:
        """Of all rows."""
        return sum(part.nbytes for part in self.parts)

    def __getitem__(self, rows) -> np.ndarray:
        """Some rows, in memory; read in the order in which they are stored."""
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step == 1:
                return np.concatenate(self.part(rows).parts)
            rows = np.arange(start, stop, step)
        rows = np.asarray(rows)
        if rows.ndim == 0:
            return self[rows[None]][0]
        rows = np.flatnonzero(rows) if rows.dtype == bool else np.where(rows < 0, rows + len(self), rows)
        order = np.argsort(rows, kind="stable")
        ends = np.searchsorted(rows[order], self._starts)
        found = np.empty((len(rows), *self.shape[1:]), self.dtype)
        for part, start, (first, last) in zip(self.parts, self._starts, itertools.pairwise(ends), strict=False):
            if first < last:
                own = rows[order[first:last]] - start
                _announce(part, own)
                found[order[first:last]] = part[own]
        return found

    def part(self, rows) -> Any:
        """Some rows: those of a slice stay on disk, others are read."""
        start, stop, step = rows.indices(len(self)) if isinstance(rows, slice) else (0, 0, 0)
        if step != 1:
            return self[rows]
        cut = [
            part[max(0, start - first) : max(0, stop - first)]
            for part, first in zip(self.parts, self._starts, strict=False)
        ]
        return Shards([part for part in cut if len(part)] or cut[:1])

    def map(self, function) -> "Shards":
        """A function of each file's array."""
        return Shards([function(part) for part in self.parts])


def on_disk(array) -> bool:
    """Whether the rows of an array are read as they are used."""
    return isinstance(array, Shards) or (isinstance(array, np.memmap) and getattr(array, "_mmap", None) is not None)


def shards_of(array) -> Shards:
    """An array as one of several files, or of one."""
    return array if isinstance(array, Shards) else Shards([array])


def pages_of(part: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the pages of each row of a memory-mapped array begin in its map, and the bytes up to the row's end."""
    base = np.frombuffer(getattr(part, "_mmap"), np.uint8).ctypes.data  # noqa: B009
    begin = part.ctypes.data - base + rows.astype(np.int64) * part.strides[0]
    first = begin // mmap.PAGESIZE * mmap.PAGESIZE
    return first, begin + part[:1].nbytes - first


def _announce(part: np.ndarray, rows: np.ndarray) -> None:
    """Let the system read rows that lie apart, in ascending order, at once.

    By itself it would read them one after the other, each with 128 KB around it.
    """
    apart = on_disk(part) and part.flags.c_contiguous and rows[-1] - rows[0] >= len(rows)
    if apart and hasattr(mmap, "MADV_WILLNEED"):
        advise = getattr(part, "_mmap").madvise  # noqa: B009
        for first, size in zip(*(found.tolist() for found in pages_of(part, rows)), strict=True):
            advise(mmap.MADV_WILLNEED, first, size)


def shard_name(name: str, number: int, count: int) -> str:
    """The name of a file that holds a part of an array."""
    return f"{name}-{number:05d}-of-{count:05d}.npy"


def mapped(file: Path) -> np.ndarray:
    """The array of an `.npy` file, memory-mapped.

    Raises:
        ValueError: where the file is another, or not as long as it says.
    """
    expected = -1
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
        expected = array.offset + array.nbytes
    except Exception as error:  # there are many ways not to be such a file
        reason = str(error) or type(error).__name__
    else:
        reason = f"it has {file.stat().st_size} bytes, and promises {expected}"
    if file.stat().st_size != expected:
        raise ValueError(
            f"{file} is not a readable .npy file of numbers ({reason}). Write it with numpy.save(path, x)."
        )
    return array


def read_shards(folder: Path, name: str) -> Shards | None:
    """The files `<name>-00000-of-00010.npy` and so on of a folder as one array; None where there are none.

    Raises:
        ValueError: where a file is missing, or has examples of another shape or dtype than the first.
    """
    found = sorted(
        (int(match[2]), int(match[1]), file)
        for file in folder.glob(f"{name}-*-of-*.npy")
        if (match := re.fullmatch(rf"{name}-(\d+)-of-(\d+)\.npy", file.name))
    )
    if not found:
        return None
    counts = sorted({count for count, _, _ in found})
    if len(counts) > 1 or (folder / f"{name}.npy").exists():
        other = f"{counts[-1]} files" if len(counts) > 1 else f"one file {name}.npy"
        raise ValueError(
            f"{folder} holds {name} twice: in {counts[0]} files, such as {found[0][2].name}, and in {other}. "
            "Leave one of them."
        )
    files = {number: file for _, number, file in found}
    missing = [shard_name(name, number, counts[0]) for number in range(counts[0]) if number not in files]
    if missing:
        raise ValueError(
            f"{folder} lacks {len(missing)} of the {counts[0]} files of {name}: {', '.join(missing[:3])}"
            f"{' and others' if len(missing) > 3 else ''}. Copy or write them again."
        )
    parts = [mapped(file) for file in files.values()]
    for part, file in zip(parts, files.values(), strict=True):
        for what, got, first in (("shape", part.shape[1:], parts[0].shape[1:]), ("dtype", part.dtype, parts[0].dtype)):
            if got != first or not part.ndim:
                raise ValueError(
                    f"The files of {name} must hold examples of one {what}, but those of {found[0][2].name} have "
                    f"{what} {first} and those of {file.name} {got}. Write them again, with kvae.data.write_shards."
                )
    return Shards(parts)
