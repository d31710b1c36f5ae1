"""Checks, before the first step, that a model can explain the data."""

from typing import Any, Protocol

import numpy as np

from kvae.data import conditions
from kvae.data.arrays import as_array
from kvae.data.column_supports import ColumnSupports
from kvae.data.splits import Split
from kvae.data.support import LARGEST, REAL, Support
from kvae.numerics.arguments import shown

ROWS = 512  # of an array read at a time
_CHECKED_ROWS = 64  # and looked at: they stay in the cache


class HasSupport(Protocol):
    """A likelihood, as far as data are concerned."""

    support: Support | ColumnSupports
    neutral: Any  # x where it is missing
    event_shape: tuple[int, ...]
    compute_dtype: str
    columns: tuple[str, ...] | None  # the names of x's columns, where it was fitted to a data frame


def check_shape(shape, event_shape, what="x") -> None:
    """Raise a ValueError unless `shape` is a batch of events."""
    if len(shape) == len(event_shape) + 1 and all(
        got is None or got == want for got, want in zip(shape[1:], event_shape, strict=True)
    ):
        return
    advice = "Reshape it."
    if tuple(shape) == tuple(event_shape):
        advice = "A batch axis is missing in front: x[None] for a single example, dataset.batch(n) for a dataset."
    elif (*shape[1:], 1) == tuple(event_shape):
        advice = "Add the channel axis: x[..., None]."
    raise ValueError(
        f"{what} has shape {tuple(shape)}, but this model's examples have shape {tuple(event_shape)}, so it must "
        f"have shape {(None, *event_shape)}. {advice}"
    )


def check_split(split: Split, likelihood: HasSupport, condition_shape=None) -> None:
    """Raise a ValueError unless every example of the split is one that the likelihood explains, with its condition."""
    check_shape((len(split), *split.event_shape), likelihood.event_shape)
    conditions.checked(split.y, condition_shape, len(split))
    check_columns(split.columns, likelihood)
    first = 0
    for chunk in split.chunks(ROWS):
        mask = None if split.mask is None else split.mask[first : first + len(chunk)]
        check_values(chunk, mask, likelihood, first)
        first += len(chunk)


def check_values(x: np.ndarray, mask, likelihood: HasSupport, first: int = 0) -> None:
    """Raise a ValueError unless every observed value of x, whose first row is number `first`, is in the support."""
    for begin in range(0, len(x), _CHECKED_ROWS):
        rows = slice(begin, begin + _CHECKED_ROWS)
        some, seen = x[rows], None if mask is None else mask[rows]
        if not likelihood.support.contains(some, seen):
            raise ValueError(likelihood.support.error(some, type(likelihood).__name__, first + begin, seen))


def check_columns(columns: tuple[str, ...] | None, likelihood: HasSupport) -> None:
    """Raise a ValueError where named columns are others than the model was fitted to, or in another order."""
    known = likelihood.columns
    if columns is None or known is None or columns == known:
        return
    missing, other = [n for n in known if n not in columns], [n for n in columns if n not in known]
    what = f"x lacks {missing}" if missing else f"x has {other} besides" if other else "x has them in another order"
    raise ValueError(
        f"This model was fitted to the columns {shown(list(known))}, but {what}. Give those columns in that order: "
        "x[list(vae.likelihood.columns)]."
    )


def check_weight(weight) -> None:
    """Raise a ValueError unless a batch's sample weights are one number per example."""
    if weight.shape.rank not in (None, 1):
        raise ValueError(f"sample_weight must have shape [B], one number per example, got {weight.shape}.")


def check_rows(z, size: int) -> np.ndarray:
    """Codes `[..., B, size]` as an array.

    Raises:
        ValueError: for another shape, or numbers that are not finite.
    """
    z, missing, _ = as_array(z, "z")
    if np.ndim(z) < 2 or z.shape[-1] != size:
        advice = " Give a batch: z[None]." if np.shape(z) == (size,) else ""
        raise ValueError(f"z must have shape [..., B, {size}], got {np.shape(z)}.{advice}")
    z = np.asarray(z)
    if missing is not None or not REAL.contains(z):
        wrong = int(REAL.outside(z).any(axis=-1).sum())
        raise ValueError(
            f"z must hold finite numbers up to {LARGEST:g}, but {wrong} of {z[..., 0].size} rows hold others or NaN. "
            "Leave these out."
        )
    return z
