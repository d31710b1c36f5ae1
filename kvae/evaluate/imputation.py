"""How well missing values are filled in, column by column, beside simpler methods."""

import warnings
from typing import NamedTuple

import numpy as np

from kvae.data import inputs
from kvae.data.columns import LABELS
from kvae.data.splits import observed as checked_mask
from kvae.evaluate import imputers
from kvae.likelihoods import Categorical, Ordinal
from kvae.models.resolve import check_continuous, check_model
from kvae.numerics import arguments

BASELINES = ("mean", "gaussian", "iterative")


class Imputation(NamedTuple):
    """The errors of filled in values, by method: "vae" and the baselines.

    Attributes:
        columns: method to column to error; NaN where nothing was missing or, for baselines, nothing observed.
        kinds: method to kind to the mean error of its columns.
        error: method to the mean error of all columns.
        cells: how many values were compared.
    """

    columns: dict[str, dict[str, float]]
    kinds: dict[str, dict[str, float]]
    error: dict[str, float]
    cells: int

    def __str__(self):
        methods = list(self.error)
        rows = {kind: [self.kinds[m][kind] for m in methods] for kind in self.kinds[methods[0]]}
        rows["mean"] = list(self.error.values())
        width = max(map(len, rows))
        head = " " * width + "".join(f"  {method:>10}" for method in methods)
        lines = [f"{name:{width}}" + "".join(f"  {value:10.4f}" for value in values) for name, values in rows.items()]
        return "\n".join([head, *lines])


def imputation(vae, data, mask, baselines=BASELINES, samples: int = 1000, seed: int = 0) -> Imputation:
    """How far `vae.impute(..., output="point")` is from the truth, where values are hidden from the model.

    With HI-VAE's errors, over the hidden values of a column:

    | kind of column | error |
    |---|---|
    | real, positive, count | root mean squared error / (largest - smallest value of the column) |
    | binary, categorical | the share of wrong labels |
    | ordinal | the mean distance in levels / number of levels |

    The baselines see the same values: "mean", the column's mean, its most frequent label or its median grade;
    "gaussian", the conditional means of one normal distribution, fitted by EM (`Gaussian`); "iterative", scikit-learn's
    `IterativeImputer`, a ridge regression on all other columns in turn. The latter two see classes as indicators, of
    which the largest wins, and round counts and grades.

    Args:
        vae: a `kvae.VAE` of rows `[D]`.
        data: rows with their true values, as for `fit`. Cells whose true value is not known (mask 0, or NaN in a data
            frame) are not compared.
        mask: 1 where the methods see a value, `[N, D]`. What they do not see and `data` has is compared.
        baselines: some of ("mean", "gaussian", "iterative").
        samples, seed: as for `vae.impute`.

    Raises:
        ImportError: for "iterative" without scikit-learn.
        ValueError: where nothing is hidden, or nothing seen.

    Reference: Nazabal, Olmos, Ghahramani, Valera (2020), Handling incomplete heterogeneous data using VAEs, arXiv
    1807.03653.
    """
    check_model(vae)
    check_continuous(vae, "imputation")
    if len(vae.event_shape) != 1:
        raise ValueError(f"imputation is for tables, rows of shape (D,), but one example has shape {vae.event_shape}.")
    chosen = [arguments.choice("A baseline", one, BASELINES) for one in arguments.listed("baselines", baselines)]
    batch = inputs.examples(data, vae.likelihood, vae.condition_shape)
    x = np.asarray(batch.x, np.float64)
    known = np.ones(x.shape, bool) if batch.mask is None else np.asarray(batch.mask, bool)
    seen = checked_mask(mask, x.shape) & known
    hidden = known & ~seen
    if not hidden.any() or not seen.any():
        which = "hidden: the mask is 1" if seen.any() else "seen: the mask is 0"
        raise ValueError(f"Nothing is {which} wherever data has a value. Take for example data.hide(0.1).mask.")
    columns = columns_of(vae.likelihood)
    with warnings.catch_warnings():  # few effective draws make bands of draws narrow, not points
        warnings.filterwarnings("ignore", message="The effective sample size")
        own = vae.impute(x, seen, samples, seed, "point", batch.condition)
    given, filled = np.where(seen, x, np.nan), {"vae": own}
    for baseline in chosen:
        filled[baseline] = imputers.IMPUTERS[baseline](given, columns, arguments.seed(seed))
    errors = {method: column_errors(x, known, hidden, np.asarray(found), columns) for method, found in filled.items()}
    return Imputation(
        columns={m: dict(zip((c.name for c in columns), each, strict=True)) for m, each in errors.items()},
        kinds={m: _by_kind(each, columns) for m, each in errors.items()},
        error={m: _mean(each) for m, each in errors.items()},
        cells=int(hidden.sum()),
    )


def columns_of(likelihood) -> list[imputers.Column]:
    """Name, kind and number of levels of each column that a likelihood explains."""
    groups = likelihood.groups.values() or [(range(likelihood.event_shape[0]), likelihood)]
    schema = likelihood.schema["columns"] if likelihood.schema else None
    found: dict[int, imputers.Column] = {}
    for own, part in groups:
        support = part.support
        kind = "count" if support.integer else "positive" if support.low == 0.0 and support.open else "real"
        if support.binary or isinstance(part, (Categorical, Ordinal)):
            kind = "binary" if support.binary else "ordinal" if isinstance(part, Ordinal) else "categorical"
        for i in own:
            name = schema[i]["name"] if schema else likelihood.columns[i] if likelihood.columns else str(i)
            found[i] = imputers.Column(name, kind, round(support.high) + 1 if kind in LABELS else 0)
    return [found[i] for i in range(len(found))]


def column_errors(x, known, hidden, filled, columns) -> list[float]:
    """The error of each column over what was hidden of it; NaN where nothing was."""
    found = []
    for i, column in enumerate(columns):
        rows = hidden[:, i]
        difference = filled[rows, i] - x[rows, i]
        if not rows.any():
            found.append(float("nan"))
        elif column.kind in ("binary", "categorical"):
            found.append(float(np.mean(np.where(np.isnan(difference), np.nan, difference != 0.0))))
        elif column.kind == "ordinal":
            found.append(float(np.mean(np.abs(difference)) / column.levels))
        else:
            width = np.ptp(x[known[:, i], i])
            found.append(float(np.sqrt(np.mean(np.square(difference))) / width) if width else float("nan"))
    return found


def _by_kind(errors, columns) -> dict[str, float]:
    kinds = dict.fromkeys(column.kind for column in columns)
    return {kind: _mean([e for e, c in zip(errors, columns, strict=True) if c.kind == kind]) for kind in kinds}


def _mean(errors) -> float:
    """Of those that are numbers."""
    there = [one for one in errors if not np.isnan(one)]
    return float(np.mean(there)) if there else float("nan")
