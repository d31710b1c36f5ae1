"""What all figures are made of."""

import math

import numpy as np


def new_figure(width: float, height: float):
    """An empty Matplotlib figure of so many inches."""
    from matplotlib.figure import Figure  # no pyplot: no window, no global state

    return Figure(figsize=(width, height), layout="constrained")


def as_image(x) -> np.ndarray:
    """One example as something `imshow` takes: `[H, W]` or `[H, W, 3]`, anything else as a single row."""
    x = np.asarray(x, np.float32)
    if x.ndim == 3 and x.shape[-1] == 1:
        return x[..., 0]
    if x.ndim == 2 or (x.ndim == 3 and x.shape[-1] == 3):
        return x
    side = math.isqrt(x.size)
    return x.reshape(side, side) if side * side == x.size else x.reshape(1, -1)


def decoded(decode, z) -> np.ndarray:
    """The means at z `[N, D]`, by a model or by a function."""
    z = np.asarray(z, np.float32)
    return np.asarray(decode.decode(z).mean() if hasattr(decode, "decode") else decode(z))


def show(axes, image, low, high):
    """Draw one image, `low` white and `high` black."""
    axes.set_axis_off()
    image = np.clip(image, low, high)
    if image.ndim == 3:  # of colours Matplotlib wants [0, 1]
        image = (image - low) / ((high - low) or 1.0)
    return axes.imshow(image, cmap="gray_r", vmin=low, vmax=high, interpolation="nearest", animated=True)
