"""What to say, before training, of data that a model takes but learns badly from."""

import warnings

import numpy as np

from kvae.data.checks import HasSupport
from kvae.data.splits import Split

_ROWS = 4096  # that are looked at
_LARGE = 1e4  # a model begins at a mean of 0 and a scale of 1
_COARSE = 0.01  # standard deviations between neighbouring float32 numbers
_EPSILON = float(np.finfo(np.float32).eps)


def advise(split: Split, likelihood: HasSupport, wide=None) -> None:
    """Warn of ranges that need scaling and of one-hot values that the likelihood does not keep.

    Args:
        split: the training data.
        likelihood: of the model.
        wide: the data as they came, where they had more digits than float32 holds.
    """
    rows = slice(0, _ROWS)
    x = split.array[rows] * split.scale if not split.dynamic else None
    if x is None or x.size == 0:
        return
    for text in (_range(x, split, likelihood, wide), _one_hot(x, likelihood, split.columns)):
        if text:
            warnings.warn(text, stacklevel=4)


def _range(x: np.ndarray, split: Split, likelihood: HasSupport, wide) -> str | None:
    if np.isfinite(likelihood.support.high):
        return None
    x = np.asarray(x if wide is None else wide[: len(x)], np.float64)
    x = x if split.mask is None else np.where(split.mask[: len(x)], x, np.nan)
    known = np.isfinite(x).any(axis=0)
    if not known.any():
        return None
    low, high = np.nanmin(x[:, known]), np.nanmax(x[:, known])
    if max(abs(low), abs(high)) < _LARGE:
        return None
    text = f"x ranges from {low:g} to {high:g}, far from the mean 0 and scale 1 that a model begins with. "
    spread = np.nanstd(x[:, known], axis=0)
    gap = _EPSILON * np.nanmax(np.abs(x[:, known]), axis=0)
    if ((spread > 0) & (gap > _COARSE * spread)).any():
        several = np.unique(x[:, known]).size, np.unique(x[:, known].astype(np.float32)).size
        text += f"float32 keeps {several[1]} of its {several[0]} different values. "
    return text + "Standardize it: (x - x.mean(axis=0)) / x.std(axis=0), in float64, with the training data's figures."


def _one_hot(x: np.ndarray, likelihood: HasSupport, columns: tuple[str, ...] | None) -> str | None:
    """For one-hot positions `[N, L, K]`, or two columns or more `[N, D]` of a table that hold only 0 and 1."""
    binary = ((x == 0) | (x == 1)).all(axis=0)
    if x.ndim == 3 and x.shape[-1] > 1 and binary.all() and (x.sum(axis=-1) == 1).all():
        return (
            f"x is one-hot along its last axis, but {type(likelihood).__name__} takes the {x.shape[-1]} values for "
            "independent: a draw may have none or several that are 1. Take the largest of the means (argmax), or write "
            "a likelihood over the classes (CONTRIBUTING.md)."
        )
    if x.ndim == 2 and likelihood.support.low == -np.inf and len(x) > 2:
        found = np.flatnonzero(binary & (x.min(axis=0) < x.max(axis=0)))
        if 0 < len(found) < x.shape[1]:
            names = [columns[i] if columns else int(i) for i in found[:8]]
            return (
                f"The columns {names} hold only 0 and 1. {type(likelihood).__name__} takes them for real numbers, so "
                "that draws lie outside [0, 1]: round them, or write a likelihood over the classes (CONTRIBUTING.md)."
            )
    return None
