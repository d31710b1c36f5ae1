"""A column of a table: what kind of numbers it holds, and how a data frame writes them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from kvae.data.support import COUNTS, MOST_LEVELS, POSITIVE, REAL
from kvae.numerics.arguments import shown

KINDS = ("real", "positive", "count", "binary", "categorical", "ordinal")
LABELS = ("binary", "categorical", "ordinal")
_SUPPORTS = {"real": REAL, "positive": POSITIVE, "count": COUNTS}
_FEW = 20  # rows of different texts may be classes


class Cells(NamedTuple):
    """The cells of a frame's column as they came.

    Attributes:
        values: numbers, float64 with NaN where they are missing; or labels, objects with None there.
        dtype: as the frame's package writes it.
        levels: of a category or booleans, in their order; None for others.
        ordered: whether the levels are declared to have an order.
        level_dtype: of a pandas category's levels.
    """

    values: np.ndarray
    dtype: str
    levels: list | None = None
    ordered: bool = False
    level_dtype: str | None = None

    @property
    def numeric(self) -> bool:
        """Whether these are numbers, not labels."""
        return self.values.dtype != object

    @property
    def missing(self) -> np.ndarray:
        """True where there is none, `[N]`."""
        return np.isnan(self.values) if self.numeric else np.array([one is None for one in self.values], bool)


class Column(NamedTuple):
    """A column of a table: plain text and numbers, which JSON holds.

    Attributes:
        name: its name.
        kind: "real", "positive", "count", "binary", "categorical" or "ordinal".
        dtype: as the frame's package writes it.
        levels: the labels that the numbers 0, 1, ... stand for; None for the first three kinds.
        ordered, level_dtype: of a pandas category.
        categories: a category's own levels, where it has them in another order.
    """

    name: str
    kind: str
    dtype: str
    levels: list | None = None
    ordered: bool = False
    level_dtype: str | None = None
    categories: list | None = None

    @classmethod
    def of(cls, name: str, cells: Cells, kind: Any = None) -> "Column":
        """The column of these cells, of the kind that was given, or else of the kind that its dtype says."""
        order = None
        if kind is not None and not isinstance(kind, str):
            kind, order = "ordinal", _order(name, kind)
        kind = _inferred(name, cells) if kind is None else kind
        if kind not in KINDS:
            raise ValueError(
                f"The kind of column {name!r} must be one of {list(KINDS)}, or the levels of an ordinal one in their "
                f"order, got {shown(kind)}."
            )
        if kind not in LABELS:
            made = cls(name, kind, cells.dtype)
            made.numbers(cells)  # raises
            return made
        levels = _levels(name, cells, kind) if order is None else order
        fewest = 3 if kind == "ordinal" else 2
        if (kind == "binary" and len(levels) != 2) or not fewest <= len(levels) <= MOST_LEVELS:
            advice = "Leave it out." if len(levels) < 2 else "Give another kind: 'binary' for two, 'real' for numbers."
            raise ValueError(f"Column {name!r} is {kind}, but has {len(levels)} levels, {shown(levels)}. {advice}")
        other = None if cells.levels == levels else cells.levels
        made = cls(name, kind, cells.dtype, levels, cells.ordered, cells.level_dtype, other)
        made.numbers(cells)  # raises
        return made

    @classmethod
    def from_dict(cls, value) -> "Column":
        """The column that `_asdict` described."""
        if not isinstance(value, Mapping) or set(value) != set(cls._fields) or value["kind"] not in KINDS:
            raise ValueError(f"A column of a schema has {list(cls._fields)}, got {shown(value)}. Take Table.schema.")
        return cls(**value)

    def numbers(self, cells: Cells) -> np.ndarray:
        """The cells as numbers, float64 `[N]`, NaN where they are missing.

        Raises:
            ValueError: for cells that are not of this column, with its name.
        """
        if self.levels is not None:
            return self._codes(cells)
        if not cells.numeric:
            if not cells.missing.all():
                raise ValueError(
                    f"Column {self.name!r} is {self.kind} and holds numbers, but its dtype is {cells.dtype} here, with "
                    f"{shown(next(one for one in cells.values if one is not None))}. Convert it to numbers."
                )
            return np.full(len(cells.values), np.nan)
        known = cells.values[~np.isnan(cells.values)]
        outside = known[_SUPPORTS[self.kind].outside(known)]
        if outside.size:
            raise ValueError(
                f"Column {self.name!r} is {self.kind}, whose values are {_SUPPORTS[self.kind].name}, but it holds "
                f"{outside[0]:g}. Give NaN where a value is missing, or another kind: kinds={{{self.name!r}: 'real'}}."
            )
        return cells.values

    def _codes(self, cells: Cells) -> np.ndarray:
        assert self.levels is not None
        code = {level: float(i) for i, level in enumerate(self.levels)}
        found, missing = np.full(len(cells.values), np.nan), cells.missing
        for i in np.flatnonzero(~missing):
            number = code.get(cells.values[i])
            if number is None:
                raise ValueError(
                    f"Column {self.name!r} holds {cells.values[i]!r}, which is none of its {len(self.levels)} levels "
                    f"{shown(self.levels)}. Leave such rows out, or give a missing value there."
                )
            found[i] = number
        return found


def _order(name: str, levels) -> list:
    """The levels that a user lists, as JSON holds them."""
    try:
        found = [plain(one) for one in levels]
        different = len(set(found))
    except TypeError:
        found, different = [], 0
    if different != len(found) or different < 3 or not all(isinstance(one, (str, int, float)) for one in found):
        raise ValueError(
            f"The levels of column {name!r} must be three or more different texts or numbers in their order, got "
            f"{shown(levels)}. For two, the kind is 'binary'."
        )
    return found


def _inferred(name: str, cells: Cells) -> str:
    """The kind that a dtype says."""
    known = cells.values[~cells.missing]
    if cells.numeric:
        whole = bool(known.size) and not COUNTS.outside(known).any()
        whole = whole and ("int" in cells.dtype.lower() or len(known) < len(cells.values))  # integers with holes
        if whole and set(np.unique(known)) == {0.0, 1.0}:
            return "binary"
        return "count" if whole else "real"
    levels = _levels(name, cells, "")
    if cells.levels is None and len(levels) == len(known) > _FEW:
        raise ValueError(
            f"Column {name!r} has another text in every row, from which there is nothing to learn. Leave it out, or "
            f"give kinds={{{name!r}: 'categorical'}}."
        )
    if len(levels) == 2:
        return "binary"
    return "ordinal" if cells.ordered else "categorical"


def _levels(name: str, cells: Cells, kind: str) -> list:
    """The labels of a column in their order: a category's own, or else those that occur, sorted."""
    if cells.levels is not None:
        return cells.levels
    if kind == "ordinal" and not cells.numeric:
        raise ValueError(
            f"The order of the texts in column {name!r} is not known. List them, the lowest first: "
            f"kinds={{{name!r}: ['low', 'middle', 'high']}}."
        )
    return sorted(plain(one) for one in set(cells.values[~cells.missing].tolist()))


def plain(value):
    """A label as Python's own type; whole numbers as integers."""
    value = value.item() if isinstance(value, np.generic) else value
    return int(value) if isinstance(value, float) and value.is_integer() else value
