"""Figures of the latent space."""

from statistics import NormalDist

import numpy as np

from kvae.plots.figures import decoded, new_figure
from kvae.plots.images import grid


def latent_plane(decode, size: int = 15):
    """Decoded means over the plane of two latents, at the quantiles of the prior N(0, I)."""
    quantiles = np.asarray([NormalDist().inv_cdf((i + 0.5) / size) for i in range(size)])
    z = np.stack(np.meshgrid(quantiles, -quantiles), axis=-1).reshape(-1, 2)
    return grid(decoded(decode, z), size, "the latent plane at the prior's quantiles")


def traversals(decode, code, dimensions, steps: int = 9, reach: float = 3.0):
    """Decoded means along latent dimensions from -reach to reach, one dimension a row, the others as in `code`.

    Args:
        decode: a model, or a function from z `[N, D]` to means.
        code: `[D]`.
        dimensions: which to move along.
        steps, reach: how many values, and how far from 0.
    """
    code, dimensions = np.asarray(code, np.float32).reshape(-1), np.atleast_1d(dimensions)
    z = np.repeat(code[None], len(dimensions) * steps, axis=0)
    for row, dimension in enumerate(dimensions):
        z[row * steps : (row + 1) * steps, dimension] = np.linspace(-reach, reach, steps)
    return grid(decoded(decode, z), steps, f"along latents {', '.join(map(str, dimensions))}")


def interpolations(decode, starts, ends, steps: int = 9):
    """Decoded means on straight lines between codes, `[N, D]` both, one line a row."""
    along = np.linspace(0.0, 1.0, steps)[None, :, None]
    z = (1.0 - along) * np.asarray(starts)[:, None] + along * np.asarray(ends)[:, None]
    return grid(decoded(decode, z.reshape(-1, z.shape[-1])), steps, "between two codes")


def posteriors(mean, scale=None, labels=None, dimensions=(0, 1)):
    """The codes of a data set in the plane of two latents, over the prior's circles at one and two standard deviations.

    Args:
        mean: of q(z|x), `[N, D]`.
        scale: None, or the standard deviations `[N, D]`: every code gets an ellipse.
        labels: None, or integers `[N]`: the colours.
        dimensions: which two.
    """
    from matplotlib.collections import EllipseCollection
    from matplotlib.patches import Circle

    mean, (first, second) = np.asarray(mean), dimensions
    if mean.ndim != 2 or not max(dimensions) < mean.shape[1]:
        raise ValueError(f"posteriors draws latents {dimensions}, but the codes have shape {mean.shape}.")
    figure = new_figure(6, 6)
    axes = figure.add_subplot()
    offsets = mean[:, [first, second]]
    drawn = axes.scatter(*offsets.T, s=8, **({} if labels is None else {"c": labels, "cmap": "tab10"}))
    if scale is not None:
        width, height = 2.0 * np.asarray(scale)[:, [first, second]].T
        ellipses = EllipseCollection(
            width, height, np.zeros(len(mean)), units="xy", offsets=offsets, offset_transform=axes.transData,
            facecolor="none", edgecolor=drawn.to_rgba(labels) if labels is not None else "tab:blue", alpha=0.3,
        )  # fmt: skip
        axes.add_collection(ellipses)
    for radius in (1.0, 2.0):
        axes.add_patch(Circle((0.0, 0.0), radius, fill=False, linestyle=":"))
    axes.set(xlabel=f"latent {first}", ylabel=f"latent {second}", title="q(z|x), and the prior", aspect="equal")
    if labels is not None:
        axes.legend(*drawn.legend_elements(num=None), title="label")
    return figure
