"""Figures of images."""

import math

import numpy as np

from kvae.numerics.arguments import check_at_least
from kvae.plots.figures import as_image, new_figure, show


def grid(images, columns: int = 10, title: str = "", low=None, high=None):
    """Images `[N, *event_shape]` on a grid, all with one grey scale from `low` to `high`."""
    images = [as_image(x) for x in np.asarray(images)]
    if not images:
        raise ValueError("There are no images to draw.")
    low = min(x.min() for x in images) if low is None else low
    high = max(x.max() for x in images) if high is None else high
    check_at_least(1, columns=columns)
    rows = math.ceil(len(images) / columns)
    figure = new_figure(0.8 * columns, 0.8 * rows + 0.4)
    for i in range(rows * columns):
        axes = figure.add_subplot(rows, columns, i + 1)
        if i < len(images):
            show(axes, images[i], low, high)
        axes.set_axis_off()
    figure.suptitle(title)
    return figure


def reconstructions(x, means, columns: int = 10, title: str = "inputs, and below each its reconstruction"):
    """Inputs (odd rows) above their reconstructions (even rows), both `[N, *event_shape]`; or x and a model."""
    x, means = np.asarray(x), np.asarray(means.reconstruct(x) if hasattr(means, "reconstruct") else means)
    pairs = []
    for first in range(0, len(x), columns):
        pairs += [*x[first : first + columns], *means[first : first + columns]]
    return grid(pairs, columns, title)


def worst(x, means, scores, count: int = 20, columns: int = 10):
    """The reconstructions of the examples with the lowest scores `[N]`, such as `vae.elbo(x)`, the worst first."""
    order = np.argsort(np.asarray(scores))[:count]
    means = np.asarray(means.reconstruct(x) if hasattr(means, "reconstruct") else means)
    return reconstructions(np.asarray(x)[order], means[order], columns, "the worst reconstructions, the worst first")


def animation(frames, columns: int = 5, interval: int = 200):
    """Frames `[T, N, *event_shape]`, such as those of `kvae.callbacks.Frames`, as a Matplotlib animation.

    `animation(frames).save("training.gif", writer="pillow")` writes it.

    Args:
        frames: T times N images.
        columns: of the grid.
        interval: milliseconds that a frame is shown.
    """
    from matplotlib.animation import ArtistAnimation
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    frames = [[as_image(x) for x in images] for images in frames]
    if not frames:
        raise ValueError("There are no frames to draw.")
    low = min(x.min() for images in frames for x in images)
    high = max(x.max() for images in frames for x in images)
    count = len(frames[0])
    rows = math.ceil(count / columns)
    figure = new_figure(0.8 * columns, 0.8 * rows)
    FigureCanvasAgg(figure)
    places = [figure.add_subplot(rows, columns, i + 1) for i in range(count)]
    shown = [[show(axes, x, low, high) for axes, x in zip(places, images, strict=True)] for images in frames]
    return ArtistAnimation(figure, shown, interval=interval)
