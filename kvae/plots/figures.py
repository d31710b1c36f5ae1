"""What all figures are made of."""

import math

import numpy as np

from kvae.data import arrays
from kvae.numerics.arguments import shown

MOST = 500  # images side by side: a figure has no more pixels


def new_figure(width: float, height: float):
    """An empty Matplotlib figure of so many inches."""
    from matplotlib.figure import Figure  # no pyplot: no window, no global state

    return Figure(figsize=(width, height), layout="constrained")


def as_array(name: str, values, rank: int | None = None) -> np.ndarray:
    """Values as an array of numbers, with so many axes; NaN where one is marked as missing.

    Raises:
        ValueError: for what is no array of numbers.
    """
    try:
        found, seen, _ = arrays.as_array(values, name)
    except ValueError:
        raise ValueError(f"{name} must be an array of numbers, got {shown(values)}.") from None
    found = np.asarray(found) if seen is None else np.where(seen, found, np.nan)
    if rank is not None and found.ndim != rank:
        raise ValueError(f"{name} must have {rank} axes, got shape {found.shape}.")
    return found


def as_finite(name: str, values, rank: int | None = None) -> np.ndarray:
    """`as_array`, with numbers that are all finite.

    Raises:
        ValueError: for anything else.
    """
    found = as_array(name, values, rank)
    if not np.isfinite(found).all():
        raise ValueError(f"{name} holds values that are not finite. Leave out the steps from the first of them on.")
    return found


def as_images(name: str, values) -> np.ndarray:
    """Images `[N, *event_shape]`, at least one."""
    found = as_array(name, values)
    if found.ndim < 2 or not found.size:
        what = (
            "There are no images to draw" if not found.size else "One axis is missing in front: x[None] for one image"
        )
        raise ValueError(f"{name} must have shape [N, *event_shape], got {found.shape}. {what}.")
    return found


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
    if hasattr(decode, "decode"):
        return np.asarray(decode.decode(z).mean())
    if not callable(decode):
        raise TypeError(f"decode must be a kvae.VAE or a function from z [N, D] to means, got {shown(decode)}.")
    return as_array("What decode returns", decode(z))


def means_of(x, means) -> np.ndarray:
    """The means of a model at x `[N, *event_shape]`; or the array that is given."""
    if hasattr(means, "reconstruct"):
        return np.asarray(means.reconstruct(x))
    found = as_array("means", means)
    if found.shape[:1] != np.shape(x)[:1]:
        raise ValueError(
            f"means must be a kvae.VAE, or an array with a row for each of the {len(np.asarray(x))} of x, got shape "
            f"{found.shape}."
        )
    return found


def show(axes, image, low, high, ink=False):
    """Draw one image, `low` black and `high` white; with `ink` the other way round. Colours stay as they are."""
    axes.set_axis_off()
    image = np.clip(image, low, high)
    if image.ndim == 3:  # of colours Matplotlib wants [0, 1]
        image = (image - low) / ((high - low) or 1.0)
    cmap = "gray_r" if ink else "gray"
    return axes.imshow(image, cmap=cmap, vmin=low, vmax=high, interpolation="nearest", animated=True)
