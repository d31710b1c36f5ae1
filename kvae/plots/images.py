"""Figures of images. Grey images are drawn as they are: low values black, high values white.

With `ink=True` low values are white and high values black, as ink on paper: for digits and letters in print.
"""

import math

import numpy as np

from kvae.numerics import arguments
from kvae.plots.figures import MOST, as_array, as_image, as_images, means_of, new_figure, show


def grid(images, columns: int = 10, title: str = "", low=None, high=None, ink: bool = False):
    """Images `[N, *event_shape]` on a grid, all with one grey scale from `low` (black) to `high` (white).

    Args:
        images: of any event shape. One that is no image is drawn as a square, or as a row.
        columns: of the grid.
        title: above it.
        low, high: the ends of the grey scale; by default those of the images.
        ink: True to draw `low` white and `high` black.
    """
    images, columns = [as_image(x) for x in as_images("images", images)], arguments.whole("columns", columns, 1, MOST)
    low = min(x.min() for x in images) if low is None else arguments.number("low", low)
    high = max(x.max() for x in images) if high is None else arguments.number("high", high)
    if low > high:
        raise ValueError(f"low must be below high, got {low:g} and {high:g}.")
    ink, rows = arguments.flag("ink", ink), math.ceil(len(images) / columns)
    figure = new_figure(0.8 * columns, 0.8 * rows + 0.4)
    for i, image in enumerate(images):
        show(figure.add_subplot(rows, columns, i + 1), image, low, high, ink)
    figure.suptitle(title)
    return figure


def reconstructions(
    x, means, columns: int = 10, title: str = "inputs, and below each its reconstruction", ink: bool = False
):
    """Inputs (odd rows) above their reconstructions (even rows), both `[N, *event_shape]`; or x and a model."""
    columns = arguments.whole("columns", columns, 1, MOST)
    means, x = means_of(x, means), as_images("x", x)
    pairs = []
    for first in range(0, len(x), columns):
        pairs += [*x[first : first + columns], *means[first : first + columns]]
    return grid(pairs, columns, title, ink=ink)


def worst(x, means, scores, count: int = 20, columns: int = 10, ink: bool = False):
    """The reconstructions of the examples with the lowest scores `[N]`, such as `vae.elbo(x)`, the worst first."""
    scores, means, x = as_array("scores", scores, 1), means_of(x, means), as_images("x", x)
    if len(scores) != len(x):
        raise ValueError(f"scores must be a number for each of the {len(x)} of x, got {len(scores)}.")
    order = np.argsort(scores)[: arguments.whole("count", count, 1)]
    return reconstructions(x[order], means[order], columns, "the worst reconstructions, the worst first", ink)


def animation(frames, columns: int = 5, interval: int = 200, ink: bool = False):
    """Frames `[T, N, *event_shape]`, such as those of `kvae.callbacks.Frames`, as a Matplotlib animation.

    `animation(frames).save("training.gif", writer="pillow")` writes it.

    Args:
        frames: T times N images.
        columns: of the grid.
        interval: milliseconds that a frame is shown, at least 1.
        ink: as for `grid`.
    """
    from matplotlib.animation import ArtistAnimation
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    frames = getattr(frames, "frames", frames)
    columns = arguments.whole("columns", columns, 1, MOST)
    milliseconds = arguments.number("interval", interval, least=1.0)
    frames, ink = as_array("frames", frames), arguments.flag("ink", ink)
    if frames.ndim < 3 or not frames.size:
        what = "There are no frames to draw" if not frames.size else "An axis is missing"
        raise ValueError(f"frames must have shape [T, N, *event_shape], got {frames.shape}. {what}.")
    low, high = frames.min(), frames.max()
    pictures = [[as_image(x) for x in images] for images in frames]
    count = len(pictures[0])
    rows = math.ceil(count / columns)
    figure = new_figure(0.8 * columns, 0.8 * rows)
    FigureCanvasAgg(figure)
    places = [figure.add_subplot(rows, columns, i + 1) for i in range(count)]
    drawn = [[show(axes, x, low, high, ink) for axes, x in zip(places, images, strict=True)] for images in pictures]
    return ArtistAnimation(figure, drawn, interval=milliseconds)
