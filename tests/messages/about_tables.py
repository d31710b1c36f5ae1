"""Messages about tables: place to (call, message[, type])."""

import datetime
import functools
import sys
from unittest import mock

import numpy as np
import pandas as pd
import polars as pl

import kvae
from kvae.data import Table, table
from tests.messages.given import X, autoencoder, vae

TEXT = pd.Series(["q"]).dtype  # "object" in pandas 2, "str" in pandas 3


@functools.cache
def _frame() -> pd.DataFrame:
    return pd.DataFrame({"a": [0.5, -1.0, 2.0], "n": [1, 2, 3], "job": ["x", "y", "z"]})


@functools.cache
def _table() -> Table:
    return table(_frame())


@functools.cache
def _model() -> kvae.VAE:
    return kvae.VAE(*kvae.networks.mlp((3,), 2, hidden=(4,)), likelihood=_table().likelihood())


def _with(**columns) -> pd.DataFrame:
    return _frame().assign(**columns)


def _of_text(*values) -> pd.DataFrame:
    return pd.DataFrame({"t": list(values)})


def _without_scikit_learn():
    with mock.patch.dict(sys.modules, {"sklearn.impute": None}):
        kvae.evaluate.imputation(vae(), X, X > 0.5, ["iterative"], samples=2)


ROWS = {
    "data.frames.read": [
        (lambda: table(pl.DataFrame({"a": [1.0]}).lazy()), "frame is a LazyFrame, .* Give frame.collect()"),
        (lambda: table(X), "frame must be a DataFrame of pandas or polars, got ndarray"),
        (lambda: table(_frame()["a"]), "frame must be a DataFrame of pandas or polars, got Series"),
        (lambda: table(_frame()[:0]), "frame has 0 rows and 3 columns. Give at least one of each"),
        (lambda: table(pd.DataFrame(X)), r"must have different names that are text, got \[0, 1, 2"),
    ],
    "data.frames.cells": [
        (
            lambda: table(pd.DataFrame({"day": pd.date_range("2020-01-01", periods=3)})),
            r"Column 'day' has the dtype datetime64.* columns of numbers, booleans, text or categories. Give the time "
            r"since a start as a number: \(frame\['day'\] - start\) / numpy.timedelta64\(1, 'D'\)",
        ),
        (
            lambda: table(pl.DataFrame({"day": [datetime.date(2020, 1, 1)]})),
            r"Column 'day' has the dtype Date. .* a number: total_days\(\)",
        ),
        (lambda: table(pd.DataFrame({"c": [1j]})), "Column 'c' has the dtype complex128. .* Convert it to one of them"),
    ],
    "data.frames._to_pandas": [
        (
            lambda: _table().frame([[1.0, np.nan, 0.0]]),
            "Column 'n' has the dtype int64, in which no value can be missing, but 1 are. Fill them in, or make the "
            r"table of frame.convert_dtypes\(\)",
        ),
    ],
    "data.columns.Column.of": [
        (
            lambda: table(_frame(), {"a": "float"}),
            r"The kind of column 'a' must be one of \['real', .*'ordinal'\], or the levels of an ordinal one in their "
            "order, got 'float'",
        ),
        (
            lambda: table(_of_text("x", "x")),
            r"Column 't' is categorical, but has 1 levels, \['x'\]. Leave it out",
        ),
        (
            lambda: table(_frame(), {"n": "binary"}),
            r"Column 'n' is binary, but has 3 levels, \[1, 2, 3\]. Give another kind: 'binary' for two, 'real' for",
        ),
    ],
    "data.columns.Column.from_dict": [
        (
            lambda: Table.from_schema({"package": "pandas", "columns": [{"name": "a"}]}),
            r"A column of a schema has \['name', 'kind', .*\], got \{'name': 'a'\}. Take Table.schema",
        ),
    ],
    "data.columns.Column.numbers": [
        (
            lambda: _table().encode(_with(a=["q", "r", "s"])),
            f"Column 'a' is real and holds numbers, but its dtype is {TEXT} here, with 'q'. Convert it to numbers",
        ),
        (
            lambda: table(_frame(), {"a": "positive"}),
            "Column 'a' is positive, whose values are the positive numbers, but it holds -1. Give NaN where a value is "
            r"missing, or another kind: kinds=\{'a': 'real'\}",
        ),
    ],
    "data.columns.Column._codes": [
        (
            lambda: _table().encode(_with(job=["x", "pilot", "z"])),
            r"Column 'job' holds 'pilot', which is none of its 3 levels \['x', 'y', 'z'\]. Leave such rows",
        ),
    ],
    "data.columns._order": [
        (
            lambda: table(_frame(), {"job": ["x", "x", "y"]}),
            "The levels of column 'job' must be three or more different texts or numbers in their order, got .* F",
        ),
    ],
    "data.columns._inferred": [
        (
            lambda: table(_of_text(*map(str, range(30)))),
            "Column 't' has another text in every row, .* nothing to learn. Leave it out, or give "
            r"kinds=\{'t': 'categorical'\}",
        ),
    ],
    "data.columns._levels": [
        (
            lambda: table(_frame(), {"job": "ordinal"}),
            r"The order of the texts in column 'job' is not known. List them, the lowest first: kinds=\{'job': \['low'",
        ),
    ],
    "data.tables.table": [
        (lambda: table(_frame(), ["real"]), r"kinds must be a dictionary of column to kind, got \['real'\]"),
        (
            lambda: table(_frame(), {"b": "real"}),
            r"kinds names \['b'\], but the columns of frame are \['a', 'n', 'job'",
        ),
    ],
    "data.tables.Table.__init__": [
        (lambda: Table("pandas", ["a"]), "columns must be kvae.data.Column, as kvae.data.table makes them, got"),
    ],
    "data.tables.Table.from_schema": [
        (lambda: Table.from_schema({"a": 1}), "A schema has a package and columns, got .* Take Table.schema"),
    ],
    "data.tables.Table.of": [
        (
            lambda: Table.of(vae()),
            r"was made for no table: make it by kvae.VAE\(..., likelihood=table.likelihood\(\)\)",
        ),
    ],
    "data.tables.Table._numbers": [
        (
            lambda: _table().encode(_frame()[["a", "n"]]),
            r"frame lacks the columns \['job'\]. Give those of the table, in any order: \['a', 'n', 'job'\]",
        ),
        (lambda: _table().encode(_with(b=1)), r"frame has the columns \['b'\] besides"),
    ],
    "data.tables.Table._rows": [
        (lambda: _table().frame(X), r"x must have shape \[N, 3\], the columns of the table, got \(10, 6\)"),
    ],
    "data.tables.Table._framed": [
        (
            lambda: _table().frame([[1.0, 2.0, 0.5]]),
            r"Column 'job' has the levels 0..2, but x holds 0.5 there. Give draws or points: vae.sample\(n, output=",
        ),
    ],
    "data.tables.Table._check": [
        (
            lambda: table(_frame()[["a", "n"]]).sample(_model(), 1),
            r"The model was made for another table, Table\(.*job: categorical\). Take its own: kvae.data.Table.of",
        ),
    ],
    "likelihoods.joint.Joint.__init__": [
        (
            lambda: kvae.likelihoods.Joint({"a": (0, kvae.likelihoods.Normal())}, schema=3),
            "schema must be that of a kvae.data.Table, or None, got 3",
        ),
    ],
    "networks.one_hot.OneHot.__init__": [
        (lambda: kvae.networks.OneHot((0, 1)), r"classes must be 0 for numbers and K >= 2 for K classes, got \(0, 1\)"),
    ],
    "networks.one_hot.OneHot.build": [
        (
            lambda: kvae.networks.mlp((6,), 2, classes=(0, 3)),
            r"classes has 2 columns, but one example has shape \(6,\). Give a number for each column, 0 where",
        ),
    ],
    "evaluate.imputation.imputation": [
        (
            lambda: kvae.evaluate.imputation(kvae.VAE(*kvae.networks.mlp((2, 2), 2)), X, X),
            r"imputation is for tables, rows of shape \(D,\), but one example has shape \(2, 2\)",
        ),
        (
            lambda: kvae.evaluate.imputation(vae(), X, np.ones_like(X)),
            r"Nothing is hidden: the mask is 1 wherever data has a value. Take for example data.hide\(0.1\).mask",
        ),
        (lambda: kvae.evaluate.imputation(vae(), X, np.zeros_like(X)), "Nothing is seen: the mask is 0 wherever data"),
    ],
    "evaluate.imputers._iterative_imputer": [
        (
            _without_scikit_learn,
            r"The baseline 'iterative' comes from scikit-learn: pip install .*\[examples\]\", or leave it out: b",
            ImportError,
        ),
    ],
    "models.resolve.check_density": [
        (lambda: kvae.evaluate.imputation(autoencoder(), X, X > 0.5), "imputation needs a density"),
    ],
}
