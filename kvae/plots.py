"""Figures. Each function takes arrays, or a model where that says it all, and returns a Matplotlib figure.

None shows or saves it. Where a function takes `decode`, this is a `kvae.VAE` or a function from z `[N, D]` to means.
"""

import math

import numpy as np

from kvae.counts import check_at_least


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


def _decoded(decode, z) -> np.ndarray:
    z = np.asarray(z, np.float32)
    return np.asarray(decode.decode(z).mean() if hasattr(decode, "decode") else decode(z))


def _shown(axes, image, low, high):
    axes.set_axis_off()
    image = np.clip(image, low, high)
    if image.ndim == 3:  # of colours Matplotlib wants [0, 1]
        image = (image - low) / ((high - low) or 1.0)
    return axes.imshow(image, cmap="gray_r", vmin=low, vmax=high, interpolation="nearest", animated=True)


def grid(images, columns: int = 10, title: str = "", low=None, high=None):
    """Images `[N, *event_shape]` on a grid, all with one grey scale from `low` to `high`."""
    images = [_image(x) for x in np.asarray(images)]
    if not images:
        raise ValueError("There are no images to draw.")
    low = min(x.min() for x in images) if low is None else low
    high = max(x.max() for x in images) if high is None else high
    check_at_least(1, columns=columns)
    rows = math.ceil(len(images) / columns)
    figure = _figure(0.8 * columns, 0.8 * rows + 0.4)
    for i in range(rows * columns):
        axes = figure.add_subplot(rows, columns, i + 1)
        if i < len(images):
            _shown(axes, images[i], low, high)
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


def curves(history):
    """ELBO, reconstruction and KL over the epochs, training and validation; and what else was logged.

    Args:
        history: what `fit` returned, or its `.history`. `beta` and `learning_rate` have panels of their own where they
            are logged. Where only every n-th epoch was validated, validation is drawn there.
    """
    history = getattr(history, "history", history)
    beside = [name for name in ("beta", "learning_rate") if name in history]
    names = [name for name in ("elbo", "reconstruction", "kl") if name in history] + beside
    if not names:
        raise ValueError(
            f"A history of a kvae.VAE has elbo, reconstruction or kl in it; this one has {sorted(history)}."
        )
    figure = _figure(3 * len(names), 3)
    for i, name in enumerate(names):
        axes = figure.add_subplot(1, len(names), i + 1)
        for key, label in ((name, "training"), (f"val_{name}", "validation")):
            if key in history:
                every = len(history[name]) // max(1, len(history[key]))
                axes.plot(every * np.arange(1, len(history[key]) + 1), history[key], label=label)
        axes.set_xlabel("epoch")
        axes.set_title(name.replace("_", " ") if name in beside else f"{name}, nats")
        if name not in beside:
            axes.legend()
    return figure


def latent_plane(decode, size: int = 15):
    """Decoded means over the plane of two latents, at the quantiles of the prior N(0, I)."""
    quantiles = np.asarray([_normal_quantile((i + 0.5) / size) for i in range(size)])
    z = np.stack(np.meshgrid(quantiles, -quantiles), axis=-1).reshape(-1, 2)
    return grid(_decoded(decode, z), size, "the latent plane at the prior's quantiles")


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
    return grid(_decoded(decode, z), steps, f"along latents {', '.join(map(str, dimensions))}")


def interpolations(decode, starts, ends, steps: int = 9):
    """Decoded means on straight lines between codes, `[N, D]` both, one line a row."""
    along = np.linspace(0.0, 1.0, steps)[None, :, None]
    z = (1.0 - along) * np.asarray(starts)[:, None] + along * np.asarray(ends)[:, None]
    return grid(_decoded(decode, z.reshape(-1, z.shape[-1])), steps, "between two codes")


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
    figure = _figure(6, 6)
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


def kl_bars(per_dimension, threshold: float = 0.01):
    """The KL term of each latent dimension, the largest first, with standard errors.

    Args:
        per_dimension: what `kvae.evaluate.kl_per_dimension` gives, or numbers.
        threshold: nats, drawn as a line: a dimension below it carries nothing.
    """
    values = np.array([getattr(e, "mean", e) for e in per_dimension], np.float64)
    errors = np.array([getattr(e, "standard_error", 0.0) for e in per_dimension], np.float64)
    order = np.argsort(-values, kind="stable")
    figure = _figure(max(4.0, 0.35 * len(values)), 3)
    axes = figure.add_subplot()
    axes.bar([str(i) for i in order], values[order], yerr=errors[order])
    axes.axhline(threshold, color="black", linestyle=":")
    axes.set(xlabel="latent dimension", ylabel="nats", title="KL by dimension")
    return figure


def rate_distortion(curve, own: tuple[float, float] | None = None):
    """A rate-distortion curve with its standard errors, and where the model itself is.

    Args:
        curve: what `kvae.evaluate.rate_distortion` gives.
        own: None, or the model's own (rate, distortion): (`kl`, -`reconstruction`) of a summary.
    """
    figure = _figure(5, 4)
    axes = figure.add_subplot()
    rate, distortion = ([e.mean for e in column] for column in (curve.rate, curve.distortion))
    errors = ([e.standard_error for e in column] for column in (curve.distortion, curve.rate))
    axes.errorbar(rate, distortion, *errors, marker="o", label="the decoder's best")
    for beta, x, y in zip(curve.beta, rate, distortion, strict=True):
        axes.annotate(f"{beta:g}", (x, y), xytext=(4, 4), textcoords="offset points")
    if own is not None:
        axes.plot(*own, "k*", markersize=12, label="the model, with its encoder")
    axes.set(xlabel="rate KL(q(z|x) || p(z)), nats", ylabel="distortion -E log p(x|z), nats")
    axes.legend()
    return figure


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

    frames = [[_image(x) for x in images] for images in frames]
    if not frames:
        raise ValueError("There are no frames to draw.")
    low = min(x.min() for images in frames for x in images)
    high = max(x.max() for images in frames for x in images)
    count = len(frames[0])
    rows = math.ceil(count / columns)
    figure = _figure(0.8 * columns, 0.8 * rows)
    FigureCanvasAgg(figure)
    places = [figure.add_subplot(rows, columns, i + 1) for i in range(count)]
    shown = [[_shown(axes, x, low, high) for axes, x in zip(places, images, strict=True)] for images in frames]
    return ArtistAnimation(figure, shown, interval=interval)


def _normal_quantile(p: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(p)
