"""What to say, before training, of data that a model takes but learns badly from."""

import warnings
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from kvae.data.checks import HasSupport
from kvae.data.splits import Split

_ROWS = 4096  # that are looked at
_LARGE = 1e4  # a model begins at a mean of 0 and a scale of 1
_UNLIKE = 30.0  # between a column's size as the encoder sees it and 1, where the encoder sees it standardised
_COARSE = 0.01  # standard deviations between neighbouring float32 numbers
_EPSILON = float(np.finfo(np.float32).eps)


class Explains(HasSupport, Protocol):
    """A likelihood, as far as this advice is concerned."""

    has_unit: bool
    groups: Mapping[str, tuple]  # of a joint likelihood: name to (columns, likelihood)

    def seen(self, x) -> Any:
        """What the encoder gets for x."""


def advise(split: Split, likelihood: Explains, wide=None) -> None:
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
    wide = x if wide is None else wide[: len(x)]
    mask = np.isfinite(x) if split.mask is None else np.asarray(split.mask[: len(x)], bool)
    names = np.asarray(split.columns or range(x.shape[-1]), object)
    for columns, one in likelihood.groups.values() or [(slice(None), likelihood)]:
        x_, mask_, wide_ = (array[..., columns] for array in (x, mask, wide))
        for text in (_range(x_, mask_, one, wide_), _one_hot(x_, one, names[columns])):
            if text:
                warnings.warn(text, stacklevel=4)


def _range(x: np.ndarray, mask: np.ndarray, likelihood: Explains, wide) -> str | None:
    """For real and positive numbers: sizes far from 1, and differences that float32 does not hold."""
    if np.isfinite(likelihood.support.high):
        return None
    known = mask.any(axis=0)
    if not known.any():
        return None
    if likelihood.has_unit and (text := _strange(x, mask, likelihood)):
        return text
    if likelihood.support.integer:
        return None
    x = np.where(mask, np.asarray(wide, np.float64), np.nan)[:, known]
    low, high = np.nanmin(x), np.nanmax(x)
    coarse = _coarse(x)
    if max(abs(low), abs(high)) < _LARGE or (likelihood.has_unit and not coarse):
        return None
    text = f"x ranges from {low:g} to {high:g}"
    text += ". " if likelihood.has_unit else ", far from the mean 0 and scale 1 that a model begins with. "
    text += (
        f"{coarse}Standardize it: (x - x.mean(axis=0)) / x.std(axis=0), in float64, with the training data's figures"
    )
    return text + ("." if coarse else "; or take kvae.likelihoods.Normal(per='element') and call vae.adapt(x) first.")


def _coarse(x: np.ndarray) -> str:
    """What float32 loses of x, NaN where it is missing; empty where it loses little."""
    spread, gap = np.nanstd(x, axis=0), _EPSILON * np.nanmax(np.abs(x), axis=0)
    if not ((spread > 0) & (gap > _COARSE * spread)).any():
        return ""
    several = np.unique(x).size, np.unique(x.astype(np.float32)).size
    return f"float32 keeps {several[1]} of its {several[0]} different values. "


def _strange(x: np.ndarray, mask: np.ndarray, likelihood: Explains) -> str | None:
    """For a likelihood with a center and a spread that are not those of x."""
    seen = likelihood.seen(np.where(mask, x, likelihood.neutral).astype(likelihood.compute_dtype))
    square = np.where(mask, np.square(np.asarray(seen, np.float64)), 0.0).sum(axis=0)
    size = np.sqrt(square / np.maximum(mask.sum(axis=0), 1))
    size = size[size > 0.0]  # not of constants, of which the encoder sees 0
    if not size.size or (size.max() < _UNLIKE and size.min() > 1.0 / _UNLIKE):
        return None
    return (
        f"Elements of x have sizes from {size.min():.3g} to {size.max():.3g} for the encoder, which works best with 1. "
        "Call vae.adapt(x) before fit: it sets the center and the spread of each."
    )


def _one_hot(x: np.ndarray, likelihood: HasSupport, names: np.ndarray) -> str | None:
    """For one-hot positions `[N, L, K]`, or two columns or more `[N, D]` of a table that hold only 0 and 1."""
    binary = ((x == 0) | (x == 1)).all(axis=0)
    if x.ndim == 3 and x.shape[-1] > 1 and binary.all() and (x.sum(axis=-1) == 1).all():
        return (
            f"x is one-hot along its last axis, but {type(likelihood).__name__} takes the {x.shape[-1]} values for "
            "independent: a draw may have none or several that are 1. Take the largest of the means (argmax), or give "
            f"the numbers of the classes, x.argmax(axis=-1), to kvae.likelihoods.Categorical({x.shape[-1]})."
        )
    if x.ndim == 2 and likelihood.support.low == -np.inf and len(x) > 2:
        found = np.flatnonzero(binary & (x.min(axis=0) < x.max(axis=0)))
        if 0 < len(found) < x.shape[1]:
            return (
                f"The columns {names[found[:8]].tolist()} hold only 0 and 1. {type(likelihood).__name__} takes them "
                "for real numbers, so that draws lie outside [0, 1]: round them, or give them a Bernoulli() of their "
                "own by kvae.likelihoods.Joint."
            )
    return None
