"""Data sets with a named train, validation and test part."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from kvae.data import sources
from kvae.data.splits import Split, numbers
from kvae.data.support import BINARY, REAL, UNIT, Support
from kvae.numerics.arguments import choice, flag, number, whole
from kvae.numerics.arguments import seed as checked_seed


class Data(NamedTuple):
    """A data set.

    Attributes:
        train, validation, test: `Split`s; validation and test may be None.
        event_shape: the shape of one example.
        support: the `kvae.data.Support` of the examples.
        name: of the data set.
    """

    train: Split
    validation: Split | None
    test: Split | None
    event_shape: tuple[int, ...]
    support: Support
    name: str


def load(
    name: str,
    validation: float = 0.1,
    binarize: str | None = None,
    dequantize: bool = False,
    batch_size: int = 128,
    seed: int = 0,
    data_dir: str | None = None,
) -> Data:
    """Load a data set by name.

    Args:
        name: "digits", the 1,797 handwritten digits of 8 x 8 pixels that come with scikit-learn (1,500 train,
            297 test, a fixed split); "path.npz" with `x_train`, `x_test` and perhaps `y_train`, `y_test`,
            `x_validation`, `y_validation`; a folder, see `kvae.data.folder`: of MNIST's IDX files, of `.npy`
            files that are read as they are used, or of images; or the name of a data set in
            tensorflow-datasets with images of one size or features, such as "mnist".
        validation: the part of the training examples that becomes the validation split, 0 <= part < 1.
        binarize: None; "static", once, by `seed`; or "dynamic", the training split anew for every batch and
            the others once.
        dequantize: add uniform noise below one grey level once, by `seed`, and scale to [0, 1].
        batch_size: of the splits.
        seed: of the validation split, the binarisation, the dequantisation.
        data_dir: where tensorflow-datasets finds its files.

    Returns:
        `Data`. Integer pixels are scaled to [0, 1] (digits by 16, others by 255) and kept as uint8.
    """
    levels = 255
    if name == "digits":
        parts = sources.digits()
        levels = 16
    elif name.endswith(".npz"):
        parts = sources.npz(name)
    elif Path(name).is_dir():
        parts = sources.folder(name)
    else:
        parts = sources.tensorflow_datasets(name, data_dir)
    return from_arrays(
        **parts, name=name, validation=validation, binarize=binarize, dequantize=dequantize,
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
        name: of the data set.
    """
    binarize = choice("binarize", binarize, (None, "static", "dynamic"))
    validation = number("validation", validation, least=0.0, below=1.0)
    seed, levels = checked_seed(seed), whole("levels", levels, 1)
    if flag("dequantize", dequantize) and binarize:
        raise ValueError("binarize and dequantize exclude each other: binary data have no grey levels.")
    parts = {
        "train": (x_train, y_train),
        "validation": (x_validation, y_validation),
        "test": (x_test, y_test),
    }
    if x_validation is None and validation > 0.0:
        keep = len(x_train) - round(validation * len(x_train))
        if keep in (0, len(x_train)):
            raise ValueError(f"validation={validation} of {len(x_train)} examples leaves a split empty.")
        for part, rows in zip(("train", "validation"), _divided(x_train, keep, seed), strict=True):
            parts[part] = (np.asanyarray(x_train)[rows], None if y_train is None else np.asarray(y_train)[rows])
    if all(x is None or np.max(x, initial=0) <= 1 for x, _ in parts.values()):
        levels = 1  # binary pixels stored as uint8
    splits: dict[str, Split | None] = {}
    for salt, (part, (x, y)) in enumerate(parts.items()):
        if x is None:
            splits[part] = None
            continue
        array, scale = _pixels(np.asanyarray(x), levels)
        own_seed = (seed + 7919 * salt) % 2**32
        if dequantize:
            array, scale = _dequantized(array, levels, own_seed), 1.0
        split = Split(array, y, None, scale, binarize is not None, batch_size, own_seed)
        if binarize is not None:
            _refuse_outside(split, part)
        if binarize == "static" or (binarize == "dynamic" and part != "train"):
            split = Split(split.x.astype(np.uint8), y, None, 1.0, False, batch_size, seed)
        splits[part] = split
    train = splits["train"]
    assert train is not None
    support = BINARY if binarize else UNIT if dequantize else _support(train)
    return Data(train, splits["validation"], splits["test"], train.event_shape, support, name)


def _divided(x, keep: int, seed: int) -> tuple:
    """The rows of the training and of the validation part."""
    if isinstance(x, np.memmap):  # slices stay on disk
        return slice(0, keep), slice(keep, None)
    order = np.random.default_rng(seed).permutation(len(x))
    return order[:keep], order[keep:]


def _pixels(x: np.ndarray, levels: int) -> tuple[np.ndarray, float]:
    if x.dtype != np.uint8:
        return numbers(x), 1.0
    return (x[..., None] if x.ndim == 3 else x), 1.0 / levels


def _dequantized(array: np.ndarray, levels: int, seed: int) -> np.ndarray:
    if array.dtype != np.uint8:
        raise ValueError(f"dequantize needs pixels stored as uint8, got {array.dtype}.")
    u = np.random.default_rng(seed).random(array.shape, dtype=np.float32)
    return (array + u) / np.float32(levels + 1)


def _refuse_outside(split: Split, part: str) -> None:
    low, high = split.array.min() * split.scale, split.array.max() * split.scale
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
