"""Numbers, seeds, sizes, choices and paths that users give: taken where they are plain, refused in one sentence.

Each function returns the value as Python's own type. NumPy's and TensorFlow's scalars count as numbers. Strings, None,
booleans, NaN and complex numbers do not.
"""

import math
import operator
import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

_SEEDS = 2**32  # as many as `keras.utils.set_random_seed` takes
WIDEST = float(np.finfo(np.float32).max)
_LARGEST = 2**31 - 1  # of a count: TensorFlow's int32


def shown(value) -> str:
    """A value as an error message shows it: short."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # its own __repr__ fails
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."


def whole(name: str, value, least: int | None = None, most: int = _LARGEST) -> int:
    """A whole number from `least` to `most`, by default the largest int32.

    Raises:
        ValueError: for anything else.
    """
    try:
        found = None if isinstance(value, (bool, np.bool_)) else operator.index(value)
    except (TypeError, ValueError, AttributeError):  # the last from TensorFlow's tensors
        found = None
    if found is None:
        raise ValueError(f"{name} must be a whole number, got {shown(value)}.")
    if least is not None and found < least:
        raise ValueError(f"{name} must be at least {least}, got {shown(value)}.")
    if found > most:
        raise ValueError(f"{name} must be at most {most}, got {shown(value)}.")
    return found


def number(
    name: str, value, least: float | None = None, most: float | None = None,
    above: float | None = None, below: float | None = None,
) -> float:  # fmt: skip
    """A real number, finite in float32, with `least <= value <= most` and `above < value < below`.

    Raises:
        ValueError: for anything else.
    """
    low = f"{least:g} <= " if least is not None else f"{above:g} < " if above is not None else ""
    high = f" <= {most:g}" if most is not None else f" < {below:g}" if below is not None else ""
    wanted = f"{name} must be a finite number" + (f", {low}{name}{high}" if low or high else "")
    real = _real(value)
    found = math.nan if real is None else real
    if WIDEST < abs(found) < math.inf:
        raise ValueError(f"{name} must be finite in float32, at most {WIDEST:.6g} in size, got {shown(value)}.")
    fits = math.isfinite(found)
    fits = fits and (least is None or found >= least) and (most is None or found <= most)
    if not fits or (above is not None and not found > above) or (below is not None and not found < below):
        raise ValueError(f"{wanted}, got {shown(value)}.")
    return found


def _real(value) -> float | None:
    """The value as a float, or None where it is no real number."""
    if hasattr(value, "numpy") and not isinstance(value, np.generic):  # a tensor with a value
        value = value.numpy()
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, (bool, np.bool_, str, bytes, complex, np.complexfloating)) or not hasattr(value, "__float__"):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError, AttributeError):
        return None


def undefined(part, method: str) -> NotImplementedError:
    """What to raise for a method that a part of one's own has to define."""
    return NotImplementedError(f"{type(part).__name__} must define {method}. CONTRIBUTING.md shows what it returns.")


def is_number(value) -> bool:
    """Whether it is a real number, infinite ones and NaN included."""
    return _real(value) is not None


def seed(value, name: str = "seed") -> int:
    """A seed: a whole number from 0 to 2**32 - 1.

    Raises:
        ValueError: for anything else, with the remedy.
    """
    try:
        return whole(name, value, 0, _SEEDS - 1)
    except ValueError:
        remedy = ""
        if value is None:
            remedy = " For other numbers each time, draw one: int(numpy.random.default_rng().integers(2**32))."
        elif isinstance(value, (np.random.Generator, np.random.RandomState)):
            remedy = " Draw one from it: int(generator.integers(2**32))."
        raise ValueError(f"{name} must be a whole number from 0 to 2**32 - 1, got {shown(value)}.{remedy}") from None


def flag(name: str, value) -> bool:
    """True or False.

    Raises:
        ValueError: for anything else.
    """
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name} must be True or False, got {shown(value)}.")
    return bool(value)


def label(name: str, value) -> str | None:
    """The name of a model or a layer, as Keras takes it, or None.

    Raises:
        ValueError: for what is no text, and for text with a "/".
    """
    if value is not None and (not isinstance(value, str) or "/" in value):
        raise ValueError(f"{name} must be text without '/', or None, got {shown(value)}.")
    return value


def listed(name: str, value) -> tuple:
    """The items of a list, a tuple, an array of one axis and the like; text and numbers are none.

    Raises:
        ValueError: for anything else.
    """
    many = isinstance(value, Iterable) and not isinstance(value, (str, bytes, dict))
    try:
        found = tuple(value) if many and getattr(value, "ndim", 1) == 1 else None
    except TypeError:  # a tensor's variable without axes
        found = None
    if found is None:
        raise ValueError(f"{name} must be a list, got {shown(value)}.")
    return found


def choice(name: str, value, choices: Sequence) -> Any:
    """One of the choices.

    Raises:
        ValueError: for anything else; it lists them.
    """
    for one in choices:
        if type(one) is type(value) and one == value:
            return one
    *most, last = map(repr, choices)
    raise ValueError(f"{name} must be {', '.join(most)} or {last}, got {shown(value)}.")


def sizes(name: str, value, least: int = 1) -> tuple[int, ...]:
    """Whole numbers, as a tuple; one number is a tuple of one.

    Raises:
        ValueError: for anything else.
    """
    rank = getattr(value, "ndim", None)
    if value is None or isinstance(value, (str, bytes, dict, type)) or (rank is not None and rank > 1):
        raise ValueError(f"{name} must be whole numbers, such as (64, 32), got {shown(value)}.")
    value = value if isinstance(value, Iterable) and rank != 0 else (value,)
    return tuple(whole(name, one, least) for one in value)


def side(name: str, value) -> int:
    """The side of a square: a whole number from 1 on, or equal ones, such as (3, 3).

    Raises:
        ValueError: for anything else.
    """
    several = isinstance(value, Iterable) and not isinstance(value, (str, bytes, dict))
    several = several and getattr(value, "ndim", 1) > 0
    found = set(sizes(name, value)) if several else {whole(name, value, 1)}
    if len(found) != 1:
        raise ValueError(f"{name} must be one size for all axes, such as 3 or (3, 3), got {shown(value)}.")
    return found.pop()


def path(name: str, value) -> Path:
    """A path of the file system.

    Raises:
        ValueError: for what is no path, an empty one, or one with a name too long for file systems.
    """
    if not isinstance(value, (str, os.PathLike)) or not os.fspath(value):
        raise ValueError(f"{name} must be a path, such as 'runs/model', got {shown(value)}.")
    found = os.fspath(value)
    if isinstance(found, bytes) or "\0" in found or any(len(os.fsencode(part)) > 255 for part in Path(found).parts):
        raise ValueError(f"{name} must be a path, such as 'runs/model', got {shown(value)}.")
    return Path(found)


def new_file(name: str, value) -> Path:
    """The path of a file that can be written; its folder is made where it is missing.

    Raises:
        ValueError: for what is no path, and for a folder.
        OSError: where nothing can be written there.
    """
    found = path(name, value)
    if found.is_dir():
        raise ValueError(f"{name} must be a file, but {found} is a folder. Give a name in it.")
    make_folder(found.parent)
    return found


def make_folder(folder: Path) -> None:
    """Make it where it is missing, with those above it.

    Raises:
        OSError: where it cannot be made, or nothing can be written to it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(f"Nothing can be written to the folder {folder}: {reason}. Give a path in another.") from error
