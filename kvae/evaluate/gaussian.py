"""One normal distribution with a full covariance: what a VAE on tables has to beat."""

import math
import warnings

import numpy as np

from kvae.data import inputs
from kvae.data.arrays import as_array
from kvae.data.column_supports import ColumnSupports
from kvae.data.support import REAL, Support
from kvae.evaluate.estimates import Estimate, mean_of
from kvae.models.resolve import check_model
from kvae.numerics import arguments

_FLOATS = 1_000_000  # of matrices at a time
_SINGULAR = 1e-12  # the smallest eigenvalue of a correlation matrix that is not called 0


def gaussian(vae, train, test, ridge=0.0) -> Estimate:
    """The log-likelihood on `test`, in nats, of one normal distribution with a full covariance fitted to `train`.

    It stands beside `independent_pixels`: a VAE that does not beat it has learned no more than a mean and correlations.
    Where `test` has a mask, it is the log-density of what was observed.

    Args:
        vae: a `kvae.VAE` whose likelihood is a density over the real numbers.
        train, test, ridge: as for `Gaussian.fit` and `Gaussian.log_prob`.
    """
    check_model(vae)
    if vae.likelihood.support != REAL:
        raise ValueError(
            f"A normal distribution has a density over the real numbers, and {type(vae.likelihood).__name__} explains "
            f"x in {vae.likelihood.support.name}. Compare with kvae.evaluate.independent_pixels."
        )
    return mean_of(Gaussian.fit(train, ridge).log_prob(test), measure="density")


class Gaussian:
    """N(m, S) over whole events, with a full covariance; in float64.

    Args:
        mean: m, `[*event_shape]`.
        covariance: S, `[D, D]` for an event of D elements; positive definite.

    Attributes:
        mean, covariance: these arrays.
    """

    support: Support | ColumnSupports = REAL
    neutral, compute_dtype = 0.0, "float64"
    columns: tuple[str, ...] | None = None

    def __init__(self, mean, covariance):
        self.mean, self.covariance = _finite("mean", mean), _finite("covariance", covariance)
        self.event_shape = self.mean.shape
        if self.covariance.shape != (self.mean.size, self.mean.size):
            raise ValueError(
                f"For a mean of shape {self.event_shape} the covariance must have shape "
                f"{(self.mean.size, self.mean.size)}, got {self.covariance.shape}."
            )
        symmetric = np.allclose(self.covariance, self.covariance.T, atol=0.0) and (np.diag(self.covariance) > 0.0).all()
        if not symmetric or np.linalg.eigvalsh(self._correlation())[0] <= 0.0:
            raise ValueError("The covariance must be symmetric and positive definite: add a ridge to its diagonal.")

    @classmethod
    def fit(cls, data, ridge=0.0, steps: int = 2000, tolerance: float = 1e-7) -> "Gaussian":
        """The Gaussian of the largest likelihood.

        Where all is observed, m and S are the mean and the covariance of the data (divided by N). With a mask they
        maximise the likelihood of what was observed, by the EM algorithm: it fills in the conditional means, and adds
        the conditional covariances to the squares. Values have to be missing at random.

        Args:
            data: an array `[N, *event_shape]`, a split, or a finite `tf.data.Dataset` of batches; with a mask where
                values are missing. All are kept in memory, in float64.
            ridge: a variance that is added to each element, a number or `[*event_shape]`, in squared units of x. The
                fit then maximises the mean log-likelihood less 1/2 tr(R S^-1), R = diag(ridge). It is needed where
                there are no more rows than elements, and where elements are constant or repeat others.
            steps: of EM, at most. A warning says where they were too few.
            tolerance: nats for each row; EM stops where a step gains less.

        Raises:
            ValueError: where the covariance is singular, or an element was never observed.

        Reference: Little, Rubin (2019), Statistical analysis with missing data, 3rd edition, section 11.2.
        """
        steps, tolerance = arguments.whole("steps", steps, 1), arguments.number("tolerance", tolerance, 0.0)
        data = inputs.in_memory(data)
        empty = cls(np.zeros(data.event_shape), np.eye(math.prod(data.event_shape)))
        x, mask = empty._rows(data)
        never = np.flatnonzero(~mask.any(axis=0))
        if len(never):
            raise ValueError(f"Nothing was observed of {_named(never)} of x. Leave them out.")
        count = mask.sum(axis=0)
        center = np.where(mask, x, 0.0).sum(axis=0) / count
        spread = np.sqrt(np.where(mask, np.square(x - center), 0.0).sum(axis=0) / count + _ridge(ridge, empty))
        if not spread.all():
            raise ValueError(
                f"All training data agree on {_named(np.flatnonzero(spread == 0.0))} of x, where a density has no "
                "bound. Leave them out, or give ridge=, a variance to add to each."
            )
        x, added = (x - center) / spread, np.diag(_ridge(ridge, empty) / np.square(spread))
        if mask.all():
            mean, covariance = x.mean(axis=0), x.T @ x / len(x) - np.outer(x.mean(axis=0), x.mean(axis=0)) + added
        else:
            mean, covariance = _em(x, mask, added, steps, tolerance)
        _check_regular(covariance, len(x))
        return cls((center + spread * mean).reshape(data.event_shape), covariance * np.outer(spread, spread))

    def log_prob(self, data) -> np.ndarray:
        """The log-density of each example, or of what was observed of it: float64 `[N]`, in nats."""
        x, mask = self._rows(data)
        spread = np.sqrt(np.diag(self.covariance))
        log_density, _, _ = _conditionals((x - self.mean.ravel()) / spread, mask, self._correlation())
        return log_density - mask @ np.log(spread)

    def impute(self, x, mask=None) -> np.ndarray:
        """x `[N, *event_shape]` with the conditional mean E[x_m | x_o] = m_m + S_mo S_oo^-1 (x_o - m_o) where missing.

        Args:
            x: with anything, NaN for example, where it is missing.
            mask: 1 where x was observed; by default where it is not NaN.
        """
        x, missing, _ = as_array(x)
        x = np.asarray(x, np.float64)
        mask = ~np.isnan(x) if mask is None else mask
        given, mask = self._rows({"x": x if missing is None else np.ma.masked_array(x, ~missing), "mask": mask})
        spread = np.sqrt(np.diag(self.covariance))
        _, filled, _ = _conditionals((given - self.mean.ravel()) / spread, mask, self._correlation())
        return np.where(mask, given, self.mean.ravel() + spread * filled).reshape(x.shape)

    def _correlation(self) -> np.ndarray:
        spread = np.sqrt(np.diag(self.covariance))
        return self.covariance / np.outer(spread, spread)

    def _rows(self, data) -> tuple[np.ndarray, np.ndarray]:
        """x and what was observed of it, `[N, D]` both, float64 and bool."""
        parts = [(batch.x, batch.mask) for batch in inputs.batches(data, self)]
        x = np.concatenate([np.asarray(x, np.float64).reshape(len(x), -1) for x, _ in parts])
        masks = [np.ones(np.shape(x), bool) if mask is None else np.asarray(mask, bool) for x, mask in parts]
        return x, np.concatenate([mask.reshape(len(mask), -1) for mask in masks])


def _em(x, mask, added, steps: int, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of the largest likelihood of what was observed, `added` being the ridge."""
    size = x.shape[1]
    mean, covariance, before = np.zeros(size), np.eye(size), -math.inf
    for _ in range(steps):
        log_density, filled, missing = _conditionals(x - mean, mask, covariance)
        now = log_density.mean() - 0.5 * np.trace(np.linalg.solve(covariance, added))
        if now - before < tolerance:
            return mean, covariance
        before, shift = now, filled.mean(axis=0)
        mean = mean + shift
        covariance = (filled - shift).T @ (filled - shift) / len(x) + missing / len(x) + added
        _check_regular(covariance, len(x))
    warnings.warn(
        f"The EM algorithm has not settled after {steps} steps: the likelihood still rises. Give steps={10 * steps}, "
        "or a ridge.",
        stacklevel=3,
    )
    return mean, covariance


def _conditionals(x, mask, covariance) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Under N(0, S): log p(x_o) `[N]`, x with E[x_m|x_o] where missing, and the sum of all Cov[x_m|x_o], `[D, D]`."""
    size = len(covariance)
    log_density, filled, total = np.zeros(len(x)), np.where(mask, x, 0.0), np.zeros_like(covariance)
    patterns, which = np.unique(mask, axis=0, return_inverse=True)
    order = np.argsort(which.ravel(), kind="stable")
    ends = np.cumsum(np.bincount(which.ravel()))
    at_a_time = max(1, _FLOATS // size**2)
    for first in range(0, len(patterns), at_a_time):
        seen = patterns[first : first + at_a_time]
        begin = ends[first - 1] if first else 0
        rows = order[begin : ends[first + len(seen) - 1]]
        both, neither = seen[:, :, None] & seen[:, None], ~(seen[:, :, None] | seen[:, None])
        within = np.where(both, covariance, np.eye(size))  # S_oo, and 1 on the diagonal where missing
        precision = np.where(both, np.linalg.inv(within), 0.0)
        log_scale = np.log(np.diagonal(np.linalg.cholesky(within), axis1=1, axis2=2)).sum(axis=1)
        count = np.bincount(which.ravel()[rows] - first, minlength=len(seen))
        rest = covariance - covariance @ precision @ covariance
        total += np.einsum("p,pij->ij", count, np.where(neither, rest, 0.0))
        for part in np.array_split(rows, -(-len(rows) // at_a_time)):
            own = which.ravel()[part] - first
            weighted = np.einsum("nij,nj->ni", precision[own], filled[part])  # S_oo^-1 x_o
            square = np.einsum("ni,ni->n", weighted, filled[part])
            log_density[part] = -0.5 * (square + mask[part].sum(axis=1) * math.log(2.0 * math.pi)) - log_scale[own]
            filled[part] = np.where(mask[part], x[part], weighted @ covariance)
    return log_density, filled, total


def log_normal(x, covariance) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """log N(x; 0, S) `[N]` of rows `[N, D]`, L^-1 x `[D, N]`, and the Cholesky factor L of S `[D, D]`."""
    factor = np.linalg.cholesky(covariance)
    white = np.linalg.solve(factor, x.T)
    log_density = -0.5 * np.square(white).sum(axis=0) - np.log(np.diag(factor)).sum()
    return log_density - 0.5 * len(factor) * math.log(2.0 * math.pi), white, factor


def _finite(name: str, value) -> np.ndarray:
    """An array of finite numbers, float64."""
    found, missing, _ = as_array(value, name)
    found = np.asarray(found, np.float64)
    if missing is not None or not np.isfinite(found).all():
        raise ValueError(f"{name} holds values that are not finite. Leave them out.")
    return found


def _ridge(ridge, empty: Gaussian) -> np.ndarray:
    """The ridge of each element, `[D]`."""
    if arguments.is_number(ridge) or ridge is None or isinstance(ridge, (str, bytes)):
        return np.full(empty.mean.size, arguments.number("ridge", ridge, 0.0))
    ridge = np.asarray(as_array(ridge, "ridge").values)
    numbers = ridge.shape == empty.event_shape and ridge.dtype.kind in "iuf"
    if not numbers or not (np.isfinite(ridge) & (ridge >= 0.0)).all():
        raise ValueError(
            f"ridge must be a variance, or one for each element, of shape {empty.event_shape}, got an array of shape "
            f"{ridge.shape} and dtype {ridge.dtype}. Variances are finite, and not negative."
        )
    return ridge.ravel().astype(np.float64)


def _check_regular(covariance, rows: int) -> None:
    """Raise a ValueError where a covariance, of elements of about unit variance, is singular."""
    if np.linalg.eigvalsh(covariance)[0] < _SINGULAR:
        raise ValueError(
            f"The covariance of {rows} rows of {len(covariance)} elements is singular, where a density has no bound. "
            "Leave out elements that repeat others, or give ridge=, a variance to add to each."
        )


def _named(elements) -> str:
    """Elements, by their numbers in the flat event; the first few of many."""
    shown = ", ".join(map(str, elements[:8])) + (", ..." if len(elements) > 8 else "")
    return f"element {shown}" if len(elements) == 1 else f"elements {shown}"
