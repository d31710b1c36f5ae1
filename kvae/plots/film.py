"""A film of a flow and of its code."""

import numpy as np

from kvae.numerics import arguments
from kvae.plots.figures import as_finite, new_figure


def film(truth, forecast, codes, true_codes=None, dt: float = 1.0, interval: int = 50):
    """The true states, the forecast ones and the path of the code, as a Matplotlib animation with a frame a step.

    `film(...).save("forecast.gif", writer="pillow")` writes it.

    Args:
        truth, forecast: `[T, points]`, drawn as curves, or `[T, height, width]`, drawn as images side by side.
        codes: of the forecast, `[T, D]`: a path in the plane of the two latents that vary most; over time for D = 1.
        true_codes: None, or those of the truth, in the same shape.
        dt: time between two states; the first is `dt` after the start.
        interval: milliseconds that a frame is shown, at least 1.
    """
    from matplotlib.animation import FuncAnimation
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    truth, forecast = as_finite("truth", truth), as_finite("forecast", forecast)
    if truth.ndim not in (2, 3) or truth.shape != forecast.shape or not truth.size:
        raise ValueError(
            f"truth and forecast must have one shape, [T, points] or [T, height, width], got {truth.shape} and "
            f"{forecast.shape}. Take one start and one channel."
        )
    paths = {"forecast": as_finite("codes", codes, 2)}
    if true_codes is not None:
        paths["truth"] = as_finite("true_codes", true_codes, 2)
    for name, path in paths.items():
        if path.shape != (len(truth), *paths["forecast"].shape[1:]) or not path.size:
            raise ValueError(f"The codes of the {name} must have shape [{len(truth)}, D], got {path.shape}.")
    dt = arguments.number("dt", dt, above=0.0)
    milliseconds = arguments.number("interval", interval, least=1.0)
    figure = new_figure(9, 3.2)
    FigureCanvasAgg(figure)
    flat = truth.ndim == 2
    places = figure.subplots(1, 2 if flat else 3, width_ratios=(1.6, 1) if flat else (1, 1, 1))
    states = _curves(places[0], truth, forecast) if flat else _images(places, truth, forecast)
    draw = [*states, *_paths(places[-1], paths, dt * np.arange(1, len(truth) + 1))]

    def frame(number: int):
        figure.suptitle(f"t = {dt * (number + 1):.2f}")
        return [artist for one in draw for artist in one(number)]

    return FuncAnimation(figure, frame, len(truth), interval=milliseconds, cache_frame_data=False)


def _curves(axes, truth, forecast) -> list:
    low, high = min(truth.min(), forecast.min()), max(truth.max(), forecast.max())
    (true,) = axes.plot(truth[0], "k:", label="truth")
    (line,) = axes.plot(forecast[0], label="forecast")
    room = 0.05 * (high - low) or 1.0
    axes.set(xlabel="point", ylim=(low - room, high + room))
    axes.legend(loc="upper right")

    def draw(number: int):
        true.set_ydata(truth[number])
        line.set_ydata(forecast[number])
        return true, line

    return [draw]


def _images(places, truth, forecast) -> list:
    scale = {"vmin": truth.min(), "vmax": truth.max(), "cmap": "RdBu_r", "origin": "lower"}
    found = []
    for axes, name, fields in zip(places, ("truth", "forecast"), (truth, forecast), strict=False):
        axes.set_axis_off()
        axes.set_title(name)
        image = axes.imshow(fields[0], **scale)

        def draw(number: int, image=image, fields=fields):
            image.set_data(fields[number])
            return (image,)

        found.append(draw)
    return found


def _paths(axes, paths: dict, time) -> list:
    """The path so far, and a dot where it is, in the plane of two latents, or of time and the only one."""
    spread = np.ptp(next(reversed(paths.values())), axis=0)
    chosen = sorted(np.argsort(-spread, kind="stable")[:2])
    planes = {name: path[:, chosen] for name, path in paths.items()}
    if len(chosen) == 1:
        planes = {name: np.stack([time, path[:, 0]], axis=1) for name, path in planes.items()}
    labels = ("time", "z0") if len(chosen) == 1 else tuple(f"z{i}" for i in chosen)
    points = np.concatenate(list(planes.values()))
    (left, bottom), (right, top) = points.min(axis=0), points.max(axis=0)
    room = [0.05 * (high - low) or 1.0 for low, high in ((left, right), (bottom, top))]
    axes.set(xlim=(left - room[0], right + room[0]), ylim=(bottom - room[1], top + room[1]))
    axes.set(xlabel=labels[0], ylabel=labels[1], title="code")
    found = []
    for name, plane in planes.items():
        (line,) = axes.plot([], [], "k:" if name == "truth" else "-", linewidth=1.0)
        filled = "none" if name == "truth" else "full"
        (dot,) = axes.plot([], [], marker="o", linestyle="", color=line.get_color(), fillstyle=filled)

        def draw(number: int, line=line, dot=dot, plane=plane):
            line.set_data(*plane[: number + 1].T)
            dot.set_data(*plane[number : number + 1].T)
            return line, dot

        found.append(draw)
    return found
