"""Data sets with a named train, validation and test part."""

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from kvae.data import images, sources
from kvae.data.arrays import SparseRows, as_array, part_of
from kvae.data.shards import Shards, on_disk, shards_of
from kvae.data.splits import Split, labels, numbers
from kvae.data.support import BINARY, REAL, UNIT, Support
from kvae.numerics.arguments import choice, flag, listed, number, shown, whole
from kvae.numerics.arguments import path as checked_path
from kvae.numerics.arguments import seed as checked_seed


class Data(NamedTuple):
    """A data set. Printed, it says what it holds.

    Attributes:
        train, validation, test: `Split`s; validation and test may be None.
        event_shape: the shape of one example.
        support: the `kvae.data.Support` of the examples.
        name: of the data set.
        classes: the names of the classes 0, 1, ... of a folder of images with subfolders; otherwise ().
        skipped: the files that `load(..., unreadable="skip")` left out.
    """

    train: Split
    validation: Split | None
    test: Split | None
    event_shape: tuple[int, ...]
    support: Support
    name: str
    classes: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()

    def __repr__(self):
        parts = {part: split for part in ("train", "validation", "test") if (split := getattr(self, part)) is not None}
        counts = ", ".join(f"{len(split):,} {part}" for part, split in parts.items())
        lines = [f"{self.name}: {counts} examples of shape {self.event_shape}", f"values in {self.support.name}"]
        stored = [split for split in parts.values() if not split.on_disk]
        if stored and not self.support.binary:
            low = min(np.fmin.reduce(split.array, axis=None) * split.scale for split in stored)  # beside NaN
            high = max(np.fmax.reduce(split.array, axis=None) * split.scale for split in stored)
            missing = any(np.isnan(split.array).any() for split in stored if split.array.dtype.kind == "f")
            lines[-1] += f", from {low:.4g} to {high:.4g}" + (", and NaN" if missing else "")
        if self.train.dynamic:
            lines[-1] += ", those to train on binarised anew for every batch"
        if self.classes:
            found = np.bincount(self.train.y, minlength=len(self.classes))
            named = [f"{name} ({n:,})" for name, n in zip(self.classes[:10], found, strict=False)]
            more = len(self.classes) - len(named)
            lines.append(f"classes to train on: {', '.join(named)}" + (f" and {more} more" if more else ""))
        if self.skipped:
            more = f" and {len(self.skipped) - 3} more" if len(self.skipped) > 3 else ""
            lines.append(f"left out, as they cannot be read: {', '.join(self.skipped[:3])}{more}")
        return "\n  ".join(lines)


def load(
    name: str | os.PathLike,
    validation: float = 0.1,
    binarize: str | None = None,
    dequantize: bool = False,
    batch_size: int = 128,
    seed: int = 0,
    data_dir: str | os.PathLike | None = None,
    size: Sequence[int] | None = None,
    channels: int | None = None,
    unreadable: str = "raise",
) -> Data:
    """Load a data set by name or path.

    Args:
        name: "digits", the 1,797 handwritten digits of 8 x 8 pixels that come with scikit-learn (1,500 train,
            297 test, a fixed split); "path.npz" with `x_train`, `x_test` and perhaps `y_train`, `y_test`,
            `x_validation`, `y_validation`; a folder, see `kvae.data.folder`: of MNIST's IDX files, of `.npy`
            files that are read as they are used, or of images; or the name of a data set in
            tensorflow-datasets with images or features, such as "mnist". A path may be a `pathlib.Path`.
        validation: the part of the training examples that becomes the validation split, 0 <= part < 1.
        binarize: None; "static", once, by `seed`; or "dynamic", the training split anew for every batch and
            the others once.
        dequantize: add uniform noise below one grey level once, by `seed`, and scale to [0, 1].
        batch_size: of the splits.
        seed: of the validation split, the binarisation, the dequantisation.
        data_dir: where tensorflow-datasets finds its files.
        size, channels: (height, width), and 1 for grey or 3 for colours: what images of a folder or of
            tensorflow-datasets are brought to, see `kvae.data.folder`. By default as they are.
        unreadable: "raise" to stop at an image of a folder that cannot be read, "skip" to leave it out.

    Returns:
        `Data`. Integer pixels are scaled to [0, 1] (digits by 16, others by 255) and kept as uint8.
    """
    if not isinstance(name, (str, os.PathLike)):
        raise ValueError(f"name must be a path or the name of a data set, got {shown(name)}. {sources.READ}")
    path, form, levels = checked_path("name", name).expanduser(), images.Form(size, channels, unreadable), 255
    as_path = isinstance(name, os.PathLike) or name[0] in "./~" or name[-1] in "/\\"
    if name == "digits" or path.suffix == ".npz":
        form.refuse_arrays(name)
    if name == "digits":
        parts, levels = sources.digits(), 16
    elif path.suffix == ".npz":
        parts = sources.npz(path)
    elif path.is_dir():
        parts = sources.folder(path, size, channels, unreadable)
    elif path.exists():
        raise ValueError(f"{path} is a file that kvae does not read. {sources.READ}")
    elif as_path:
        raise FileNotFoundError(f"There is no file or folder {path}. {sources.READ}")
    else:
        parts = sources.tensorflow_datasets(str(name), data_dir, form)
    return from_arrays(
        **parts, name=str(path), validation=validation, binarize=binarize, dequantize=dequantize,
        batch_size=batch_size, seed=seed, levels=levels,
    )  # fmt: skip


def from_arrays(
    x_train,
    x_test=None,
    x_validation=None,
    y_train=None,
    y_test=None,
    y_validation=None,
    *,
    validation: float = 0.1,
    binarize: str | None = None,
    dequantize: bool = False,
    batch_size: int = 128,
    seed: int = 0,
    levels: int = 255,
    name: str = "arrays",
    classes: Sequence[str] = (),
    skipped: Sequence[str] = (),
) -> Data:
    """Make a data set of arrays.

    Args:
        x_train, x_test, x_validation: `[N, *event_shape]`. uint8 arrays are pixels 0..levels and are scaled to
            [0, 1] (those of nothing but 0 and 1 stay as they are);
            images `[N, H, W]` of uint8 get a channel axis. Other numbers stay as they are.
        y_train, y_test, y_validation: labels `[N]` or None.
        validation: the part of the training examples (the last of a permutation by `seed`; of a memory-mapped
            array the last as they are stored) that becomes the validation split where `x_validation` is not
            given. The test part is never used for it.
        binarize, dequantize, batch_size, seed: see `load`.
        levels: the highest pixel value.
        name, classes, skipped: see `Data`.
    """
    binarize = choice("binarize", binarize, (None, "static", "dynamic"))
    validation = number("validation", validation, least=0.0, below=1.0)
    seed, levels = checked_seed(seed), whole("levels", levels, 1)
    classes, skipped = listed("classes", classes), listed("skipped", skipped)
    if not isinstance(name, str):
        raise ValueError(f"name must be text, such as 'digits', got {shown(name)}.")
    if flag("dequantize", dequantize) and binarize:
        raise ValueError("binarize and dequantize exclude each other: binary data have no grey levels. Leave one out.")
    given = {"train": (x_train, y_train), "validation": (x_validation, y_validation), "test": (x_test, y_test)}
    parts = {part: _examples(part, x, y) for part, (x, y) in given.items()}
    x_train, y_train, mask_train = parts["train"]
    if x_train is None:
        raise ValueError("x_train must be an array of numbers [N, *event_shape], got None.")
    for part, (x, _, _) in parts.items():
        if levels < 255 and x is not None and x.dtype == np.uint8 and _highest(x) > levels:
            raise ValueError(
                f"x_{part} holds pixels up to {_highest(x)}, but levels={levels} is the highest pixel value. "
                "Give the levels that they have, such as levels=255."
            )
    if x_validation is None and validation > 0.0:
        keep = len(x_train) - round(validation * len(x_train))
        if keep in (0, len(x_train)):
            raise ValueError(
                f"validation={validation:g} of {len(x_train)} examples leaves a split empty. Give a larger part, or "
                "validation=0 for none."
            )
        for part, rows in zip(("train", "validation"), _divided(x_train, keep, seed), strict=True):
            beside = (None if one is None else one[rows] for one in (y_train, mask_train))
            parts[part] = (part_of(x_train, rows), *beside)
    if all(x is None or _highest(x) <= 1 for x, _, _ in parts.values()):
        levels = 1  # binary pixels stored as uint8
    splits: dict[str, Split | None] = {}
    for salt, (part, (x, y, mask)) in enumerate(parts.items()):
        if x is None:
            splits[part] = None
            continue
        array, scale = _pixels(x, levels)
        own_seed = (seed + 7919 * salt) % 2**32
        if dequantize:
            array, scale = _dequantized(array, levels, own_seed), 1.0
        split = Split(array, y, None, scale, binarize is not None, batch_size, own_seed, mask)
        if binarize is not None:
            _refuse_outside(split, part)
        if binarize == "static" or (binarize == "dynamic" and part != "train"):
            split = Split(split.x.astype(np.uint8), y, None, 1.0, False, batch_size, seed, mask)
        splits[part] = split
    train = splits["train"]
    assert train is not None
    for part, one in splits.items():
        if one is not None and one.event_shape != train.event_shape:
            raise ValueError(
                f"The examples of x_{part} have shape {one.event_shape}, but those of x_train have "
                f"{train.event_shape}. Give all parts one shape."
            )
    support = BINARY if binarize else UNIT if dequantize else _support(train)
    return Data(train, splits["validation"], splits["test"], train.event_shape, support, name, classes, skipped)


def _examples(part: str, x, y) -> tuple:
    """x as an array (memory-mapped ones as they are), or None; y and the mask of what is there, or None; checked."""
    if x is None:
        if y is not None:
            raise ValueError(f"y_{part} is given without x_{part}. Give both or neither.")
        return None, None, None
    array, mask, _ = as_array(x, f"x_{part}")
    if isinstance(array, SparseRows) or array.ndim == 0:
        raise ValueError(f"x_{part} must be a dense array of numbers [N, *event_shape], got {shown(x)}.")
    y = None if y is None else labels(y)
    if y is not None and len(y) != len(array):
        raise ValueError(f"x_{part} has {len(array)} rows but y_{part} has {len(y)}. Give one for each row.")
    return array, y, mask


def _divided(x, keep: int, seed: int) -> tuple:
    """The rows of the training and of the validation part."""
    if on_disk(x):  # as slices do
        return slice(0, keep), slice(keep, None)
    order = np.random.default_rng(seed).permutation(len(x))
    return order[:keep], order[keep:]


def _highest(x):
    return max(np.max(part, initial=0) for part in shards_of(x).parts)


def _pixels(x, levels: int) -> tuple:
    if x.dtype != np.uint8:
        return numbers(x), 1.0
    if x.ndim == 3:
        x = x.map(lambda part: part[..., None]) if isinstance(x, Shards) else x[..., None]
    return x, 1.0 / levels


def _dequantized(array, levels: int, seed: int) -> np.ndarray:
    if array.dtype != np.uint8:
        raise ValueError(
            f"dequantize needs pixels stored as uint8, got {array.dtype}. "
            f"Give whole pixels 0..{levels} as x.astype('uint8')."
        )
    u = np.random.default_rng(seed).random(array.shape, dtype=np.float32)
    return (np.asarray(array) + u) / np.float32(levels + 1)


def _refuse_outside(split: Split, part: str) -> None:
    low = min(part.min() for part in shards_of(split.array).parts) * split.scale
    high = max(part.max() for part in shards_of(split.array).parts) * split.scale
    if not (low >= 0.0 and high <= 1.0):
        raise ValueError(
            f"binarize takes values in [0, 1] for probabilities, but the {part} part ranges from {low:g} to "
            f"{high:g}. Scale it first, or store 0..255 pixels as uint8."
        )


def _support(split: Split) -> Support:
    for support in (BINARY, UNIT):
        if all(support.contains(chunk) for chunk in split.chunks()):
            return support
    return REAL
