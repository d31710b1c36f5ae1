"""Figures of numbers: training curves, KL by dimension, rate and distortion."""

import numpy as np

from kvae.numerics import arguments
from kvae.plots.figures import new_figure


def curves(history):
    """ELBO, reconstruction and KL over the epochs, training and validation; and what else was logged.

    Args:
        history: what `fit` returned, or its `.history`. `beta` and `learning_rate` have panels of their own where they
            are logged. Where only every n-th epoch was validated, validation is drawn there.
    """
    history = getattr(history, "history", history)
    if not isinstance(history, dict):
        raise TypeError(f"history must be what fit returned, got {arguments.shown(history)}.")
    beside = [name for name in ("beta", "learning_rate") if name in history]
    names = [name for name in ("elbo", "reconstruction", "kl") if name in history] + beside
    if not names:
        raise ValueError(
            f"A history of a kvae.VAE has elbo, reconstruction or kl in it; this one has {sorted(history)}."
        )
    figure = new_figure(3 * len(names), 3)
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


def kl_bars(per_dimension, threshold: float = 0.01):
    """The KL term of each latent dimension, the largest first, with standard errors.

    Args:
        per_dimension: what `kvae.evaluate.kl_per_dimension` gives, or numbers.
        threshold: nats, drawn as a line: a dimension below it carries nothing.
    """
    threshold = arguments.number("threshold", threshold, 0.0)
    several = isinstance(per_dimension, (list, tuple, np.ndarray)) and getattr(per_dimension, "ndim", 1) == 1
    each = list(per_dimension) if several else []
    if not each:
        raise TypeError(f"per_dimension must be what kl_per_dimension gives, got {arguments.shown(per_dimension)}.")
    values = np.array([arguments.number("per_dimension", e.mean if hasattr(e, "standard_error") else e) for e in each])
    errors = np.array([getattr(e, "standard_error", 0.0) for e in each], np.float64)
    order = np.argsort(-values, kind="stable")
    figure = new_figure(max(4.0, 0.35 * len(values)), 3)
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
    if not all(hasattr(curve, name) for name in ("beta", "rate", "distortion")):
        raise TypeError(f"curve must be what kvae.evaluate.rate_distortion gives, got {arguments.shown(curve)}.")
    point = () if own is None else [arguments.number("own", one) for one in arguments.listed("own", own)]
    if own is not None and len(point) != 2:
        raise ValueError(f"own must be a pair of rate and distortion, got {arguments.shown(own)}.")
    figure = new_figure(5, 4)
    axes = figure.add_subplot()
    rate, distortion = ([e.mean for e in column] for column in (curve.rate, curve.distortion))
    errors = ([e.standard_error for e in column] for column in (curve.distortion, curve.rate))
    axes.errorbar(rate, distortion, *errors, marker="o", label="the decoder's best")
    for beta, x, y in zip(curve.beta, rate, distortion, strict=True):
        axes.annotate(f"{beta:g}", (x, y), xytext=(4, 4), textcoords="offset points")
    if own is not None:
        axes.plot(*point, "k*", markersize=12, label="the model, with its encoder")
    axes.set(xlabel="rate KL(q(z|x) || p(z)), nats", ylabel="distortion -E log p(x|z), nats")
    axes.legend()
    return figure
