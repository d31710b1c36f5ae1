"""Figures. Each function takes arrays and returns a Matplotlib figure; none shows or saves it."""

import math

import numpy as np


def _figure(width: float, height: float):
    from matplotlib.figure import Figure  # no pyplot: no window, no global state

    return Figure(figsize=(width, height), layout="constrained")


def _image(x) -> np.ndarray:
    """One example as something `imshow` takes: `[H, W]` or `[H, W, 3]`, anything else as a single row."""
    x = np.asarray(x, np.float32)
    if x.ndim == 3 and x.shape[-1] == 1:
        return x[..., 0]
    if x.ndim == 2 or (x.ndim == 3 and x.shape[-1] == 3):
        return x
    side = math.isqrt(x.size)
    return x.reshape(side, side) if side * side == x.size else x.reshape(1, -1)


def grid(images, columns: int = 10, title: str = "", low=None, high=None):
    """Images `[N, *event_shape]` on a grid, all with one grey scale from `low` to `high`."""
    images = [_image(x) for x in images]
    low = min(x.min() for x in images) if low is None else low
    high = max(x.max() for x in images) if high is None else high
    rows = math.ceil(len(images) / columns)
    figure = _figure(0.8 * columns, 0.8 * rows + 0.4)
    for i in range(rows * columns):
        axes = figure.add_subplot(rows, columns, i + 1)
        axes.set_axis_off()
        if i < len(images):
            axes.imshow(np.clip(images[i], low, high), cmap="gray_r", vmin=low, vmax=high, interpolation="nearest")
    figure.suptitle(title)
    return figure


def reconstructions(x, means, columns: int = 10):
    """Inputs (odd rows) above their reconstructions (even rows), both `[N, *event_shape]`."""
    pairs = []
    for first in range(0, len(x), columns):
        pairs += [*x[first : first + columns], *means[first : first + columns]]
    return grid(pairs, columns, "inputs, and below each its reconstruction")


def curves(history: dict[str, list[float]]):
    """ELBO, reconstruction and KL over the epochs, training and validation."""
    figure = _figure(9, 3)
    for i, name in enumerate(("elbo", "reconstruction", "kl")):
        axes = figure.add_subplot(1, 3, i + 1)
        for key, label in ((name, "training"), (f"val_{name}", "validation")):
            if key in history:
                axes.plot(np.arange(1, len(history[key]) + 1), history[key], label=label)
        axes.set_xlabel("epoch")
        axes.set_title(f"{name}, nats")
        axes.legend()
    return figure


def latent_plane(decode, size: int = 15):
    """Decoded means over the plane of two latents, at the quantiles of the prior; `decode` takes z `[N, 2]`."""
    quantiles = np.asarray([_normal_quantile((i + 0.5) / size) for i in range(size)], np.float32)
    z = np.stack(np.meshgrid(quantiles, -quantiles), axis=-1).reshape(-1, 2)
    return grid(np.asarray(decode(z)), size, "the latent plane at the prior's quantiles")


def traversals(decode, code, dimensions, steps: int = 9, reach: float = 3.0):
    """Decoded means along latent dimensions from -reach to reach, one dimension a row, the others as in `code`.

    Args:
        decode: from z `[N, D]` to means.
        code: `[D]`.
        dimensions: which to move along.
    """
    z = np.repeat(np.asarray(code, np.float32)[None], len(dimensions) * steps, axis=0)
    for row, dimension in enumerate(dimensions):
        z[row * steps : (row + 1) * steps, dimension] = np.linspace(-reach, reach, steps)
    return grid(np.asarray(decode(z)), steps, f"along latents {', '.join(map(str, dimensions))}")


def _normal_quantile(p: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(p)
