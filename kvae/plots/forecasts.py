"""Figures of forecasts and of codes in time, for `kvae.dynamics`."""

import numpy as np

from kvae.numerics import arguments
from kvae.plots.figures import as_finite, new_figure

_MOST = 12  # latents that get an axis each


def forecast_errors(errors, dt: float = 1.0, coverage=None, level: float = 0.9):
    """Errors of forecasts over time with a band of two standard errors, and below it how many values the bands hold.

    Args:
        errors: name to what `kvae.dynamics.forecast_error` gives, the baselines beside the model.
        dt: time between two states; the first is `dt` after the start.
        coverage: None, or what `kvae.dynamics.coverage` gives.
        level: of that band, drawn as a line.
    """
    dt, level = arguments.number("dt", dt, above=0.0), arguments.number("level", level, above=0.0, below=1.0)
    lines = {name: _estimates("errors", one) for name, one in _named("errors", errors).items()}
    shares = None if coverage is None else _estimates("coverage", coverage)
    figure = new_figure(7, 4 if shares is None else 6)
    axes, *below = np.atleast_1d(figure.subplots(1 if shares is None else 2, sharex=True))
    for name, (mean, error) in lines.items():
        _band(axes, dt * np.arange(1, len(mean) + 1), mean, 2.0 * error, str(name))
    axes.set(ylabel="error", title="error over time, ± 2 standard errors")
    axes.legend()
    if shares is not None:
        (under,), (mean, error) = below, shares
        _band(under, dt * np.arange(1, len(mean) + 1), mean, 2.0 * error, "")
        under.axhline(level, color="black", linestyle=":")
        under.set(ylabel=f"inside the {100 * level:g} % band", ylim=(0.0, 1.05))
    (*_, last) = figure.axes
    last.set_xlabel("time")
    return figure


def spectra(energies):
    """Energy by wavenumber on a logarithmic axis: where a model's line is flat and the truth falls, it is noise.

    Args:
        energies: name to what `kvae.dynamics.spectrum` gives.
    """
    figure = new_figure(6, 4)
    axes = figure.add_subplot()
    for name, one in _named("energies", energies).items():
        mean, error = _estimates("energies", one)
        axes.errorbar(np.arange(len(mean)), mean, error, marker=".", label=str(name))
    axes.set(xlabel="wavenumber", ylabel="energy", title="energy by wavenumber", yscale="log")
    axes.legend()
    return figure


def code_paths(paths, truth=None, dt: float = 1.0, level: float = 0.9):
    """Each latent over time: the median of an ensemble of paths, its central band, and the codes of the truth.

    Args:
        paths: `[S, T, D]`, such as `model.rollout(x0, steps, samples, output="codes")[:, 0]`, or one path `[T, D]`.
        truth: None, or codes `[T, D]`, such as `model.codes(x)[0]`.
        dt: time between two states.
        level: of the band.
    """
    paths, dt = as_finite("paths", paths), arguments.number("dt", dt, above=0.0)
    level = arguments.number("level", level, above=0.0, below=1.0)
    paths = paths[None] if paths.ndim == 2 else paths
    if paths.ndim != 3 or 0 in paths.shape:
        raise ValueError(f"paths must have shape [S, T, D] or [T, D], got {paths.shape}. Take one start.")
    truth = None if truth is None else as_finite("truth", truth)
    if truth is not None and truth.shape != paths.shape[1:]:
        raise ValueError(f"truth must have shape {paths.shape[1:]}, as a path, got {truth.shape}.")
    time, drawn = dt * np.arange(1, paths.shape[1] + 1), min(_MOST, paths.shape[-1])
    low, middle, high = np.quantile(paths, [(1.0 - level) / 2.0, 0.5, (1.0 + level) / 2.0], axis=0)
    figure = new_figure(7, 1.2 * drawn + 0.8)
    for i, axes in enumerate(np.atleast_1d(figure.subplots(drawn, sharex=True))):
        axes.fill_between(time, low[:, i], high[:, i], alpha=0.3)
        axes.plot(time, middle[:, i], label="forecast")
        if truth is not None:
            axes.plot(time, truth[:, i], "k:", label="truth")
        axes.set_ylabel(f"z{i}")
    figure.axes[0].legend(loc="upper right")
    figure.axes[-1].set_xlabel("time")
    return figure


def code_moves(codes, most: int = 16, dt: float = 1.0):
    """The mean of |z(t + k dt) - z(t)| over k, with its standard error over trajectories, and k times its first value.

    Args:
        codes: `[N, T, D]`, such as `model.codes(x)`.
        most: the largest k, below T.
        dt: time between two states.
    """
    codes, dt = as_finite("codes", codes, 3), arguments.number("dt", dt, above=0.0)
    most = arguments.whole("most", most, 1)
    if not codes.size or codes.shape[1] <= most:
        raise ValueError(f"codes must have shape [N, T, D] with T above {most}, got {codes.shape}. Give a smaller one.")
    k = np.arange(1, most + 1)
    moves = np.stack([np.linalg.norm(codes[:, i:] - codes[:, :-i], axis=-1).mean(axis=1) for i in k], axis=1)
    mean = moves.mean(axis=0)
    error = moves.std(axis=0, ddof=1) / np.sqrt(len(moves)) if len(moves) > 1 else np.zeros(most)
    figure = new_figure(5, 4)
    axes = figure.add_subplot()
    axes.errorbar(dt * k, mean, error, marker="o", label="|z(t + k dt) - z(t)|")
    axes.plot(dt * k, k * mean[0], "k:", label="k times its first value")
    axes.set(xlabel="k dt", ylabel="distance", title="how far the code moves", xlim=(0, None), ylim=(0, None))
    axes.legend()
    return figure


def _band(axes, time, mean, half, label: str) -> None:
    (line,) = axes.plot(time, mean, label=label)
    axes.fill_between(time, mean - half, mean + half, color=line.get_color(), alpha=0.25)


def _named(name: str, value) -> dict:
    if not isinstance(value, dict) or not value:
        raise ValueError(f"{name} must be a dict, name to a list of estimates, got {arguments.shown(value)}.")
    return value


def _estimates(name: str, values) -> tuple[np.ndarray, np.ndarray]:
    """Means and standard errors of a list of estimates, or of numbers; where there is no error it is 0."""
    means = [getattr(one, "mean", one) for one in arguments.listed(name, values)]
    errors = [getattr(one, "standard_error", 0.0) for one in values]
    if not means or not all(arguments.is_number(one) for one in (*means, *errors)):
        raise ValueError(f"{name} must be estimates over starts, one for each step, got {arguments.shown(values)}.")
    return np.array(means, np.float64), np.nan_to_num(np.array(errors, np.float64))
