"""What a VAE has to beat where values are missing: means, one Gaussian, regressions. NumPy arrays with NaN."""

import warnings
from typing import Any, NamedTuple

import numpy as np

from kvae._environment import install
from kvae.evaluate.gaussian import Gaussian

_RIDGE = 1e-6  # in squared standard deviations: columns may be constant, or repeat others
_TOLERANCE, _STEPS = 1e-5, 500  # of EM: nats for each row


class Column(NamedTuple):
    """A column of a table: its name, its kind as in `kvae.data.table`, and its number of levels or 0."""

    name: str
    kind: str
    levels: int


class _Design:
    """x `[N, D]` as standardised numbers, classes as K - 1 indicators; and back."""

    def __init__(self, x: np.ndarray, columns):
        self.columns = columns
        self.widths = [
            0 if np.isnan(x[:, i]).all() else max(1, column.levels - 1) if column.kind == "categorical" else 1
            for i, column in enumerate(columns)
        ]
        raw = [self._indicators(x[:, i], width) for i, width in enumerate(self.widths)]
        numbers = np.concatenate(raw, axis=1)
        self.center, spread = np.nanmean(numbers, axis=0), np.nanstd(numbers, axis=0)
        self.spread = np.where(spread > 0.0, spread, 1.0)
        self.numbers = (numbers - self.center) / self.spread

    @staticmethod
    def _indicators(values, width: int) -> np.ndarray:
        if width < 2:
            return values[:, None][:, :width]
        return np.where(np.isnan(values)[:, None], np.nan, values[:, None] == np.arange(width))

    def restored(self, numbers: np.ndarray) -> np.ndarray:
        """The x of completed numbers; NaN in columns of which nothing was observed."""
        numbers = numbers * self.spread + self.center
        found = np.full((len(numbers), len(self.columns)), np.nan)
        parts = np.split(numbers, np.cumsum(self.widths)[:-1], axis=1)
        for i, (column, part) in enumerate(zip(self.columns, parts, strict=True)):
            if part.shape[1] > 1:
                found[:, i] = np.concatenate([part, 1.0 - part.sum(axis=1, keepdims=True)], axis=1).argmax(axis=1)
            elif part.shape[1]:
                found[:, i] = valid(part[:, 0], column)
        return found


def valid(values, column: Column):
    """Numbers rounded to what the column may hold."""
    if column.kind == "count":
        return np.maximum(np.rint(values), 0.0)
    return np.clip(np.rint(values), 0, column.levels - 1) if column.levels else values


def mean(x: np.ndarray, columns, seed: int) -> np.ndarray:
    """Each column's mean, most frequent label or median grade."""
    del seed
    found = np.full(x.shape, np.nan)
    for i, column in enumerate(columns):
        known = x[~np.isnan(x[:, i]), i]
        if not known.size:
            continue
        if column.kind in ("binary", "categorical"):
            found[:, i] = np.bincount(known.astype(int)).argmax()
        else:
            median = np.quantile(known, 0.5, method="inverted_cdf")
            found[:, i] = median if column.levels else valid(known.mean(), column)
    return found


def gaussian(x: np.ndarray, columns, seed: int) -> np.ndarray:
    """The conditional means of one normal distribution with a full covariance, fitted by EM."""
    del seed
    design = _Design(x, columns)
    mask = ~np.isnan(design.numbers)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The EM algorithm has not settled")
        model = Gaussian.fit({"x": design.numbers, "mask": mask}, _RIDGE, _STEPS, _TOLERANCE)
    return design.restored(model.impute(design.numbers, mask))


def iterative(x: np.ndarray, columns, seed: int) -> np.ndarray:
    """scikit-learn's `IterativeImputer`, as it comes."""
    design = _Design(x, columns)
    imputer = _iterative_imputer()(random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"\[IterativeImputer\] Early stopping criterion not reached")
        return design.restored(imputer.fit_transform(design.numbers))


def _iterative_imputer() -> Any:
    try:
        from sklearn.experimental import enable_iterative_imputer  # noqa: F401
        from sklearn.impute import IterativeImputer
    except ImportError as error:
        raise ImportError(
            f"The baseline 'iterative' comes from scikit-learn: {install('examples')}, or leave it out: "
            "baselines=('mean', 'gaussian')."
        ) from error
    return IterativeImputer


IMPUTERS = {"mean": mean, "gaussian": gaussian, "iterative": iterative}
