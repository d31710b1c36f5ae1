"""The values that a joint likelihood can explain: each column has a support of its own."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from kvae.data.support import support_error


class ColumnSupports:
    """A set of rows `[D]`: the columns are in groups, and each group has a `Support`.

    Args:
        groups: name to (columns, support); each column is in one group.

    Attributes:
        name: as it is printed, for example "a: {0, 1}; b, c: the real numbers".
        low, high: the ends of each column, `[D]`.
        integer: True where only integers belong, in all columns.
        ends: the least and the largest number that belong, each `[D]`.
    """

    def __init__(self, groups: Mapping[str, tuple[Sequence[int], Any]]):
        self.groups = groups
        self.name = "; ".join(f"{name}: {support.name}" for name, (_, support) in groups.items())
        self.integer = all(support.integer for _, support in groups.values())
        self.low, self.high = self._of_each(lambda support: support.low), self._of_each(lambda support: support.high)
        self.ends = tuple(self._of_each(lambda support, i=i: support.ends[i]) for i in range(2))
        self._integer = self._of_each(lambda support: support.integer).astype(bool)

    def _of_each(self, function) -> np.ndarray:
        found = np.zeros(sum(len(columns) for columns, _ in self.groups.values()))
        for columns, support in self.groups.values():
            found[list(columns)] = function(support)
        return found

    def outside(self, x):
        """True at each element of x `[..., D]` (NumPy or TensorFlow) that does not belong; NaN and inf never do."""
        low, high = self.ends if isinstance(x, np.ndarray) else (tf.constant(end, x.dtype) for end in self.ends)
        with np.errstate(invalid="ignore"):
            return ~((x >= low) & (x <= high) & ((x % 1.0 == 0.0) | ~self._integer))  # NaN is neither

    def contains(self, x: np.ndarray, mask: np.ndarray | None = None) -> bool:
        """Whether every element of x belongs, or every one where the mask is True."""
        parts = (
            (x[:, columns], None if mask is None else mask[:, columns], support)
            for columns, support in ((list(columns), support) for columns, support in self.groups.values())
        )
        return all(support.contains(some, seen) for some, seen, support in parts)

    def error(self, x: np.ndarray, likelihood: str, first: int = 0, mask: np.ndarray | None = None) -> str:
        """What is wrong with x, as `support_error` says it of the first group that is wrong; empty where none is."""
        mask = np.ones(x.shape, bool) if mask is None else mask
        for name, (columns, support) in self.groups.items():
            own = mask & np.isin(np.arange(x.shape[1]), columns)
            if not support.contains(x, own):
                return support_error(x, support, f"Group {name!r} of {likelihood}", first, own)
        return ""
