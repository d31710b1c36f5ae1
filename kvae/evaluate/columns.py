"""The columns of a table one by one: how well each is explained, beside the scale of the likelihood."""

from typing import NamedTuple

import numpy as np

from kvae.likelihoods import Normal

_SMALL = 0.5  # of the squared scale: a column with less variance is not worth the model's while
_EXPLAINED = 0.5  # R^2 below which a column is badly explained
_ROWS = 64  # whose scales are looked at


class Columns(NamedTuple):
    """The columns of a table, `[D]` each.

    Attributes:
        variance: of the column, where it was observed.
        r2: 1 less the mean squared error of `reconstruct` over the variance; NaN where the column does not vary.
        scale: the likelihood's one scale for all of them.
    """

    variance: np.ndarray
    r2: np.ndarray
    scale: float

    @property
    def neglected(self) -> np.ndarray:
        """The numbers of the columns of little variance beside the one scale, and badly explained."""
        return np.flatnonzero((self.variance < _SMALL * self.scale**2) & (self.r2 < _EXPLAINED))


def columns_of(vae, data) -> Columns | None:
    """The columns of a split; None unless events have one axis and a normal likelihood has one scale for all."""
    one = isinstance(vae.likelihood, Normal) and not vae.likelihood.has_unit
    if not one or len(vae.event_shape) != 1 or vae.event_shape[0] < 2:
        return None
    some = data.first(_ROWS)
    condition = None if vae.condition_shape is None else some.y
    scales = vae.decode(vae.posterior.center(vae.encode(some)), condition).stddev().numpy()
    if np.ptp(scales) > 1e-6 * scales.max():
        return None
    x = np.asarray(data.x, np.float64)
    mask = np.ones(x.shape, bool) if data.mask is None else np.asarray(data.mask, bool)
    count = np.maximum(mask.sum(axis=0), 1)
    mean = np.where(mask, x, 0.0).sum(axis=0) / count
    variance = np.where(mask, np.square(x - mean), 0.0).sum(axis=0) / count
    error = np.where(mask, np.square(x - vae.reconstruct(data).numpy()), 0.0).sum(axis=0) / count
    with np.errstate(divide="ignore", invalid="ignore"):
        r2 = np.where(variance > 0.0, 1.0 - error / variance, np.nan)
    return Columns(variance, r2, float(scales.max()))
