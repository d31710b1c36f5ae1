"""Figures of the latent space."""

from statistics import NormalDist

import numpy as np

from kvae.numerics import arguments
from kvae.plots.figures import MOST, as_array, decoded, new_figure
from kvae.plots.images import grid


def latent_plane(decode, size: int = 15, ink: bool = False):
    """Decoded means over the plane of two latents, at the quantiles of N(0, I); of one latent along its line.

    Args:
        decode: a model of one or two latent dimensions, or a function from z `[N, 2]` to means.
        size: how many quantiles of each latent.
        ink: as for `kvae.plots.grid`.
    """
    size, latents = arguments.whole("size", size, 1, 100), getattr(decode, "latent_dim", 2)
    if getattr(getattr(decode, "prior", None), "measure", "density") == "mass":
        raise ValueError("latent_plane is for a prior N(0, I), but this model has codes. Draw samples or traversals.")
    if latents > 2:
        raise ValueError(f"latent_plane draws two latent dimensions, this model has {latents}. Take traversals.")
    quantiles = np.asarray([NormalDist().inv_cdf((i + 0.5) / size) for i in range(size)])
    z = np.stack(np.meshgrid(quantiles, -quantiles), axis=-1).reshape(-1, 2) if latents == 2 else quantiles[:, None]
    return grid(decoded(decode, z), size, "the latent plane at the quantiles of N(0, I)", ink=ink)


def traversals(decode, code, dimensions, steps: int = 9, reach: float = 3.0, ink: bool = False):
    """Decoded means along latent dimensions from -reach to reach, one dimension a row, the others as in `code`.

    Args:
        decode: a model, or a function from z `[N, D]` to means.
        code: `[D]`.
        dimensions: which to move along.
        steps, reach: how many values, and how far from 0.
        ink: as for `kvae.plots.grid`.
    """
    code = as_array("code", code).astype(np.float32).reshape(-1)
    steps, reach = arguments.whole("steps", steps, 1, MOST), arguments.number("reach", reach, above=0.0)
    dimensions = arguments.sizes("dimensions", dimensions, 0)
    if not dimensions or max(dimensions) >= len(code):
        raise ValueError(f"dimensions must be numbers of latents from 0 to {len(code) - 1}, got {dimensions}.")
    z = np.repeat(code[None], len(dimensions) * steps, axis=0)
    for row, dimension in enumerate(dimensions):
        z[row * steps : (row + 1) * steps, dimension] = np.linspace(-reach, reach, steps)
    return grid(decoded(decode, z), steps, f"along latents {', '.join(map(str, dimensions))}", ink=ink)


def interpolations(decode, starts, ends, steps: int = 9, ink: bool = False):
    """Decoded means on straight lines between codes, `[N, D]` both, one line a row."""
    starts, ends = as_array("starts", starts, 2), as_array("ends", ends, 2)
    if starts.shape != ends.shape:
        raise ValueError(f"starts and ends must have one shape [N, D], got {starts.shape} and {ends.shape}.")
    along = np.linspace(0.0, 1.0, arguments.whole("steps", steps, 1, MOST))[None, :, None]
    z = (1.0 - along) * starts[:, None] + along * ends[:, None]
    return grid(decoded(decode, z.reshape(-1, z.shape[-1])), len(along[0]), "between two codes", ink=ink)


def posteriors(mean, scale=None, labels=None, dimensions=(0, 1)):
    """The codes of a data set in the plane of two latents, over the circles of N(0, I) at one and two deviations.

    Args:
        mean: of q(z|x), `[N, D]`.
        scale: None, or the standard deviations `[N, D]`: every code gets an ellipse.
        labels: None, or integers or words `[N]`: the colours.
        dimensions: which two.
    """
    from matplotlib.collections import EllipseCollection
    from matplotlib.patches import Circle

    mean, dimensions = as_array("mean", mean), arguments.sizes("dimensions", dimensions, 0)
    if mean.ndim != 2 or len(dimensions) != 2 or not max(dimensions) < mean.shape[1]:
        raise ValueError(
            f"posteriors draws two latents, {dimensions}, but the codes have shape {mean.shape}. Give dimensions=, or "
            "for a single latent a histogram of its codes."
        )
    (first, second), names = dimensions, None
    if labels is not None:
        try:
            names, labels = np.unique(np.asarray(labels), return_inverse=True)
        except (TypeError, ValueError):
            raise ValueError(f"labels must be integers or words, got {arguments.shown(labels)}.") from None
        if labels.shape != mean.shape[:1]:
            raise ValueError(f"labels must be one for each of the {len(mean)} codes, got shape {labels.shape}.")
    if not np.isfinite(mean).all():
        raise ValueError("mean holds values that are not finite. Leave them out.")
    scale = None if scale is None else as_array("scale", scale)
    if scale is not None and scale.shape != mean.shape:
        raise ValueError(f"scale must have the shape of mean, {mean.shape}, got {scale.shape}.")
    if scale is not None and not (np.isfinite(scale) & (scale >= 0.0)).all():
        raise ValueError("scale holds values that are negative or not finite. Leave them out.")
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
    axes.set(xlabel=f"latent {first}", ylabel=f"latent {second}", title="q(z|x), and N(0, I)", aspect="equal")
    if labels is not None:
        axes.legend(drawn.legend_elements(num=None)[0], [str(name) for name in names], title="label")
    return figure
