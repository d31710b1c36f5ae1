"""How good forecasts are: functions of arrays, each an `Estimate` over starts."""

import math

import numpy as np

from kvae.dynamics.trajectories import array
from kvae.evaluate import Estimate
from kvae.evaluate.estimates import mean_of
from kvae.numerics import arguments


def forecast_error(forecast, truth, scale=None) -> list[Estimate]:
    """Error by lead: the root mean square of forecast - truth over the event, in units of `scale`.

    Args:
        forecast: `[N, steps, *event_shape]`, or an ensemble `[S, N, steps, *event_shape]`, whose mean is taken.
        truth: `[N, steps, *event_shape]`.
        scale: a number; by default the root mean square of truth less its mean over starts and steps. Where a mean
            field carries most of the energy, the mean has no part in it.

    Returns:
        an Estimate over the N starts for each step.

    Raises:
        ValueError: for arrays of other shapes, or that are not finite.
    """
    forecast, truth = _pair(forecast, truth)
    error = _error(forecast.mean(axis=0), truth, scale)
    return [mean_of(error[:, step], unit="") for step in range(error.shape[1])]


def valid_prediction_time(forecast, truth, dt: float = 1.0, threshold: float = 0.5, scale=None) -> Estimate:
    """The time until the error of `forecast_error` passes the threshold, a mean over starts.

    A start whose error stays below it counts with the whole length of the forecast, so that the mean is a lower bound.

    Args:
        forecast, truth, scale: as in `forecast_error`.
        dt: time between two steps; the first step is `dt` after the start.
        threshold: of the error.

    Raises:
        ValueError: as in `forecast_error`.
    """
    dt, threshold = arguments.number("dt", dt, above=0.0), arguments.number("threshold", threshold, above=0.0)
    forecast, truth = _pair(forecast, truth, finite=False)
    with np.errstate(all="ignore"):
        error = _error(forecast.mean(axis=0), truth, scale)
    passed = ~(error <= threshold)  # NaN, too
    steps = np.where(passed.any(axis=1), passed.argmax(axis=1), error.shape[1])
    return mean_of(dt * steps, unit="")


def coverage(ensemble, truth, level: float = 0.9) -> list[Estimate]:
    """The share of values of truth within the central band of an ensemble, by lead; a good one's is `level`.

    The band goes from the (1 - level) / 2 quantile to that of (1 + level) / 2, element by element. Take
    `rollout(output="sample")`, whose draws have the noise of p(x|z), too. Of S draws the band holds a little less than
    the level, as (S - 1) / (S + 1) says: take S of 100 and more.

    Args:
        ensemble: `[S, N, steps, *event_shape]`, S at least 2.
        truth: `[N, steps, *event_shape]`.
        level: of the band.

    Returns:
        an Estimate over the N starts for each step.

    Raises:
        ValueError: as in `forecast_error`, and for a single draw.
    """
    level = arguments.number("level", level, above=0.0, below=1.0)
    ensemble, truth = _pair(ensemble, truth)
    if len(ensemble) < 2:
        raise ValueError("coverage needs an ensemble of at least 2 draws, got one. Give rollout(samples=100).")
    low, high = np.quantile(ensemble, [(1.0 - level) / 2.0, (1.0 + level) / 2.0], axis=0)
    inside = ((low <= truth) & (truth <= high)).reshape(*truth.shape[:2], -1).mean(axis=-1)
    return [mean_of(inside[:, step], unit="") for step in range(inside.shape[1])]


def spectrum(trajectories) -> list[Estimate]:
    """The mean energy by wavenumber of fields on a periodic grid `[N, T, points]`: their sum is the mean of x^2.

    Returns:
        an Estimate over the N trajectories for each wavenumber 0, 1, ..., points // 2.

    Raises:
        ValueError: for other shapes, or values that are not finite.
    """
    fields = _wide(trajectories, "trajectories")
    if fields.ndim != 3 or not np.isfinite(fields).all() or 0 in fields.shape:
        raise ValueError(f"spectrum takes finite fields [N, T, points], got shape {fields.shape}. Take one channel.")
    points = fields.shape[-1]
    power = np.square(np.abs(np.fft.rfft(fields) / points))
    power[..., 1 : (points + 1) // 2] *= 2.0  # waves of k and -k
    power = power.mean(axis=1)
    return [mean_of(power[:, k], unit="") for k in range(power.shape[1])]


def frequency(series, dt: float = 1.0) -> Estimate:
    """The frequency of a cycle, turns in a unit of time, from series `[N, T]`: by their upward passes through the mean.

    The time from the first such pass to the last one, between states by linear interpolation, divides the number of
    cycles between them.

    Args:
        series: values of one element, or of one code; of a few cycles at least.
        dt: time between two states.

    Raises:
        ValueError: for other shapes, values that are not finite, and series of less than two passes.
    """
    dt, series = arguments.number("dt", dt, above=0.0), _wide(series, "series")
    if series.ndim != 2 or not np.isfinite(series).all():
        raise ValueError(f"frequency takes finite series [N, T], got shape {series.shape}. Take one element of x.")
    found = []
    for values in series - series.mean(axis=1, keepdims=True):
        before = np.flatnonzero((values[:-1] < 0.0) & (values[1:] >= 0.0))
        if len(before) < 2:
            raise ValueError("frequency needs two passes through the mean in each series. Give longer ones.")
        times = before - values[before] / (values[before + 1] - values[before])
        found.append((len(times) - 1) / (dt * (times[-1] - times[0])))
    return mean_of(np.array(found), unit="")


def amplitude(series) -> Estimate:
    """The amplitude of a cycle from series `[N, T]`: the root of twice the variance, which is a for a sine of height a.

    Raises:
        ValueError: for other shapes, or values that are not finite.
    """
    series = _wide(series, "series")
    if series.ndim != 2 or not np.isfinite(series).all() or 0 in series.shape:
        raise ValueError(f"amplitude takes finite series [N, T], got shape {series.shape}. Take one element of x.")
    return mean_of(math.sqrt(2.0) * series.std(axis=1), unit="")


def _wide(value, name: str) -> np.ndarray:
    return array(value, name).astype(np.float64)


def _pair(forecast, truth, finite: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """An ensemble `[S, N, steps, ...]` and the truth `[N, steps, ...]`."""
    forecast, truth = _wide(forecast, "forecast"), _wide(truth, "truth")
    if forecast.ndim == truth.ndim:
        forecast = forecast[None]
    if truth.ndim < 2 or forecast.shape[1:] != truth.shape or 0 in forecast.shape:
        raise ValueError(
            f"A forecast [N, steps, ...] or [S, N, steps, ...] of a truth [N, steps, ...] is needed, got shapes "
            f"{forecast.shape} and {truth.shape}. Cut both to the same starts and steps."
        )
    if not np.isfinite(truth).all() or (finite and not np.isfinite(forecast).all()):
        raise ValueError("forecast and truth must be finite. Leave out the steps behind the last finite one.")
    return forecast, truth


def _error(forecast, truth, scale) -> np.ndarray:
    if scale is None:
        scale = np.sqrt(np.mean(np.square(truth - truth.mean(axis=(0, 1)))))
        if not scale > 0.0:
            raise ValueError("The truth is constant, so that no error has a scale. Give scale=.")
    else:
        scale = arguments.number("scale", scale, above=0.0)
    return np.sqrt(np.square(forecast - truth).reshape(*truth.shape[:2], -1).mean(axis=-1)) / scale
