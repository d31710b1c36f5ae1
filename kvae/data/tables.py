"""Tables: data frames with columns of several kinds, as models take them, and back."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from kvae.data import frames
from kvae.data.arrays import as_array
from kvae.data.columns import Column
from kvae.data.splits import Split
from kvae.numerics.arguments import choice, listed, shown


def table(frame, kinds: Mapping | None = None) -> "Table":
    """The `Table` of a data frame of pandas or polars, whose columns are of these kinds:

    | kind | values | likelihood | inferred for |
    |---|---|---|---|
    | "real" | numbers | `Normal(per="element")` | floats, integers below 0 |
    | "positive" | numbers > 0 | `LogNormal("learned")` | never |
    | "count" | 0, 1, 2, ... | `NegativeBinomial()` | integers; floats with holes that are otherwise such integers |
    | "binary" | two labels | `Bernoulli()` | booleans, two labels, integers 0 and 1 |
    | "categorical" | K labels | `Categorical(K)` | text, categories |
    | "ordinal" | K >= 3 labels in an order | `Ordinal(K)` | ordered categories of pandas |

    Any cell may be missing: NaN, None, NA and null.

    Args:
        frame: one row for each example.
        kinds: names of columns to their kinds, where they are others than inferred; a list of levels, the lowest first,
            is an ordinal column.

    Raises:
        ValueError: with the column's name, for dates and other dtypes, values that are not of the kind, columns with
            one label, and texts that differ in every row.
    """
    package, series = frames.read(frame)
    if kinds is not None and not isinstance(kinds, Mapping):
        raise ValueError(f"kinds must be a dictionary of column to kind, got {shown(kinds)}.")
    kinds = kinds or {}
    if unknown := [name for name in kinds if name not in series]:
        raise ValueError(f"kinds names {shown(unknown)}, but the columns of frame are {shown(list(series))}.")
    cells = {name: frames.cells(package, name, one) for name, one in series.items()}
    columns = tuple(Column.of(name, one, kinds.get(name)) for name, one in cells.items())
    values = [column.numbers(cells[column.name]) for column in columns]
    return Table(package, columns, np.stack(values, axis=-1))


class Table:
    """A data frame as numbers, what its columns are, and the way back. `kvae.data.table` makes one.

    ```
    table = kvae.data.table(frame, kinds={"price": "positive"})
    networks = kvae.networks.mlp(table.event_shape, 8, hidden=(64,), mask=True, classes=table.classes)
    vae = kvae.VAE(*networks, likelihood=table.likelihood())
    vae.adapt(table.data)
    vae.compile("adam")
    vae.fit(table.data)
    table.impute(vae, frame)  # the frame with its holes filled in
    table.sample(vae, 100)  # a frame of 100 new rows
    vae.elbo(table.encode(other))  # nats, in the units of the frame
    ```

    The schema goes along with the likelihood: into `vae.save` files, from which `Table.of(vae)` has it again, and into
    the manifest of a SavedModel. Numbers go through float32 in the model, and what was observed comes back exactly.

    Args:
        package: "pandas" or "polars".
        columns: of `kvae.data.Column`.
        values: the rows, `[N, D]`.

    Attributes:
        columns: name, kind, dtype and levels of each column.
        values: float64 `[N, D]`, NaN where a cell is missing; labels as 0, 1, ...
        mask: True where a cell was observed, bool `[N, D]`.
    """

    def __init__(self, package: str, columns, values=None):
        self.package = choice("package", package, ("pandas", "polars"))
        columns = listed("columns", columns)
        if not columns or not all(isinstance(column, Column) for column in columns):
            raise ValueError(f"columns must be kvae.data.Column, as kvae.data.table makes them, got {shown(columns)}.")
        self.columns: tuple[Column, ...] = columns
        self.values = np.zeros((0, len(columns))) if values is None else self._rows(values)
        self.mask = ~np.isnan(self.values)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns."""
        return tuple(column.name for column in self.columns)

    @property
    def event_shape(self) -> tuple[int]:
        """(D,), what networks are made for."""
        return (len(self.columns),)

    @property
    def classes(self) -> tuple[int, ...]:
        """Of each column without an order the number of levels, 0 for others: what `kvae.networks.mlp` takes."""
        return tuple(len(c.levels or ()) if c.kind == "categorical" else 0 for c in self.columns)

    @property
    def data(self) -> Split:
        """The rows as `fit`, `evaluate`, `vae.elbo` and all other methods take them, with the mask."""
        return self._split(self.values)

    def __len__(self):
        return len(self.values)

    def __repr__(self):
        kinds = ", ".join(f"{column.name}: {column.kind}" for column in self.columns)
        return f"Table({len(self)} rows of {self.package}; {kinds})"

    # ---- the schema ----

    @property
    def schema(self) -> dict:
        """Package and columns as plain configuration, which JSON holds."""
        return {"package": self.package, "columns": [dict(column._asdict()) for column in self.columns]}

    @classmethod
    def from_schema(cls, schema: Mapping) -> "Table":
        """A table without rows of this schema, for `encode` and `frame`.

        Raises:
            ValueError: for what `schema` does not give.
        """
        if not isinstance(schema, Mapping) or set(schema) != {"package", "columns"}:
            raise ValueError(f"A schema has a package and columns, got {shown(schema)}. Take Table.schema.")
        return cls(schema["package"], [Column.from_dict(column) for column in schema["columns"]])

    @classmethod
    def of(cls, vae) -> "Table":
        """The table that a model was made for, without rows; also after `kvae.load_model`.

        Raises:
            ValueError: for a model that was made for no table.
        """
        schema = getattr(getattr(vae, "likelihood", None), "schema", None)
        if schema is None:
            raise ValueError(
                f"{shown(vae)} was made for no table: make it by kvae.VAE(..., likelihood=table.likelihood())."
            )
        return cls.from_schema(schema)

    def likelihood(self, real=None, positive=None, count=None) -> Any:
        """`kvae.likelihoods.Joint` of these columns, those of one kind (and so many levels) in a group.

        Args:
            real, positive, count: another likelihood for the columns of that kind, such as
                `kvae.likelihoods.StudentT()`.
        """
        from kvae.likelihoods.tables import of_table  # from a subpackage above

        given = {"real": real, "positive": positive, "count": count}
        return of_table(self.schema, {kind: one for kind, one in given.items() if one is not None})

    # ---- frames in and out ----

    def encode(self, frame) -> Split:
        """The rows of another frame of pandas or polars, its columns in any order, as `data` has those of the first.

        Raises:
            ValueError: with the column's name, where one is missing or there is one besides, for labels that are not
                among its levels, values that are not of its kind, and text in place of numbers.
        """
        return self._split(self._numbers(frame))

    def _numbers(self, frame) -> np.ndarray:
        package, series = frames.read(frame)
        missing, other = [n for n in self.names if n not in series], [n for n in series if n not in self.names]
        if missing or other:
            what = f"lacks the columns {shown(missing)}" if missing else f"has the columns {shown(other)} besides"
            raise ValueError(f"frame {what}. Give those of the table, in any order: {shown(list(self.names))}.")
        columns = (column.numbers(frames.cells(package, column.name, series[column.name])) for column in self.columns)
        return np.stack(list(columns), axis=-1)

    def frame(self, x) -> Any:
        """Numbers `[N, D]` as a data frame of the table's package, with its dtypes, levels and names.

        Integer columns are rounded. Labels have to be numbers of levels: draws, or what `impute(..., output="point")`
        gives; means of labels are none.

        Args:
            x: an array or a tensor, with NaN where a value is missing.

        Raises:
            ValueError: for another number of columns, numbers that are no level, and missing values where the dtype has
                no place for them, such as int64.
        """
        return self._framed(x)

    def _rows(self, x) -> np.ndarray:
        x = np.asarray(as_array(x).values, np.float64)
        if x.ndim != 2 or x.shape[1] != len(self.columns):
            raise ValueError(f"x must have shape [N, {len(self.columns)}], the columns of the table, got {x.shape}.")
        return x

    def _framed(self, x, index=None):
        x = self._rows(x)
        for column, values in zip(self.columns, x.T, strict=True):
            known = values[~np.isnan(values)]
            if column.levels and not np.isin(known, np.arange(len(column.levels))).all():
                wrong = known[~np.isin(known, np.arange(len(column.levels)))][0]
                raise ValueError(
                    f"Column {column.name!r} has the levels 0..{len(column.levels) - 1}, but x holds {wrong:g} there. "
                    "Give draws or points: vae.sample(n, output='sample'), vae.impute(x, output='point')."
                )
        return frames.write(self.package, self.columns, x, index)

    # ---- what a model answers, as frames ----

    def impute(self, vae, frame, samples: int = 1000, seed: int = 0, output: str = "point") -> Any:
        """The frame with its missing cells filled in; what was observed stays as it is.

        Args:
            vae: a model of this table.
            frame: of pandas or polars, as for `encode`.
            samples, seed: as for `vae.impute`.
            output: "point" for the best single values, see `vae.impute`; "sample" for a draw.
        """
        output = choice("output", output, ("point", "sample"))
        self._check(vae)
        values = self._numbers(frame)
        filled = vae.impute(self._split(values), samples=samples, seed=seed, output=output).numpy()
        return self._framed(np.where(np.isnan(values), filled, values), getattr(frame, "index", None))

    def reconstruct(self, vae, frame) -> Any:
        """The points of p(x | E q(z|x)) for each row: values of each column's own kind."""
        self._check(vae)
        data = self.encode(frame)
        p = vae.decode(vae.posterior.center(vae.encode(data)))
        return self._framed(vae.likelihood.point(p), getattr(frame, "index", None))

    def sample(self, vae, n: int, seed: int | None = None) -> Any:
        """n new rows, each drawn from p(x|z) for a z from the prior; `seed` as for `vae.sample`."""
        self._check(vae)
        return self.frame(vae.sample(n, seed=seed, output="sample"))

    def _split(self, values: np.ndarray) -> Split:
        mask = ~np.isnan(values)
        neutral = np.where(mask, values, 0.0).astype(np.float32)
        return Split(neutral, mask=None if mask.all() else mask, columns=self.names)

    def _check(self, vae) -> None:
        """Raise a ValueError unless the model was made for these columns."""
        of = type(self).of(vae)
        own, others = ([(c.name, c.kind, c.levels) for c in one.columns] for one in (self, of))
        if own != others:
            raise ValueError(f"The model was made for another table, {of}. Take its own: kvae.data.Table.of(vae).")
