"""Whether the scale of a normal likelihood is right."""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from kvae.evaluate.estimates import Estimate, bessel_correction, ratio_of
from kvae.likelihoods import Normal
from kvae.models import resolve
from kvae.models.importance import ImportanceSampler
from kvae.numerics import arguments


def calibration(vae, data, samples: int = 10, seed: int = 0) -> dict[str, Estimate]:
    """How far x is from the decoder's mean, in units of its scale; at z ~ q(z|x), over what was observed.

    `mean_square` is the mean of (x - m(z))^2 / s(z)^2. It is 1 where the scale is right and less where it is too large.
    The scale that fits the errors is s sqrt(mean_square). `within_one` and `within_two` are the parts of the elements
    within one and two scales of the mean: 0.683 and 0.954 where the errors are normal, too. All three are means over
    the elements. A scale that is too large for some and too small for others may look right: see
    `calibration_by_element` and `calibration_by_scale`.

    Args:
        vae: a `kvae.VAE` with a normal likelihood; for others a ValueError is raised.
        data: an array `[N, *event_shape]`, a split, or a finite `tf.data.Dataset` of batches.
        samples: draws of z for each example.
        seed: of the draws.
    """
    samples, seed = _checked(vae, samples, seed)
    draws = ImportanceSampler.of(vae)
    chunk_size = draws.at_a_time(samples)

    def squares(batch, parameters, eps):
        z, _ = draws.drawn(batch, parameters, eps)
        p = vae.likelihood.distribution(vae.decode_features(z, batch.condition)).distribution
        square = tf.square((batch.x - p.loc) / p.scale)
        seen = tf.ones_like(batch.x) if batch.mask is None else tf.cast(batch.mask, square.dtype)
        axes = list(range(-len(vae.event_shape), 0))
        inside = [tf.cast(square <= limit, square.dtype) for limit in (1.0, 4.0)]
        each = tf.stack([tf.reduce_sum(seen * value, axis=axes) for value in (square, *inside)])  # [3, S, B]
        return tf.reduce_mean(each, axis=1), tf.math.reduce_variance(each, axis=1), tf.reduce_sum(seen, axis=axes)[None]

    function: Callable = vae.methods.function(squares)
    found = [
        function(batch, parameters, draws.normals(seed, number * samples, count, samples))
        for number, count, batch, parameters in draws.chunks(data, chunk_size, pad=False)
    ]
    totals, variances, (seen,) = (tf.concat(c, axis=1).numpy().astype(np.float64) for c in zip(*found, strict=True))
    variances *= bessel_correction(samples) / samples
    names = ("mean_square", "within_one", "within_two")
    return {name: ratio_of(totals[i], seen, variances[i], samples) for i, name in enumerate(names)}


class CalibrationByElement(NamedTuple):
    """The calibration of each element of x, float64 `[*event_shape]`; NaN where it was never observed.

    Attributes:
        mean_square: the mean of (x_j - m_j)^2 / s_j^2 over the examples, 1 where the scale is right.
        standard_error: of `mean_square`, between data sets of this size.
        within_one, within_two: the parts of the examples within one and two scales of the mean.
    """

    mean_square: np.ndarray
    standard_error: np.ndarray
    within_one: np.ndarray
    within_two: np.ndarray


def calibration_by_element(vae, data, samples: int = 10, seed: int = 0) -> CalibrationByElement:
    """`calibration` of each element of x: which pixels or columns have a scale too large (below 1) or too small.

    The scale that fits the errors of element j is s_j sqrt(mean_square_j).

    Args:
        vae, data, samples, seed: as for `calibration`.
    """
    samples, seed = _checked(vae, samples, seed)
    shape = vae.event_shape
    n, seen, squares, total = 0, np.zeros(shape), np.zeros(shape), np.zeros((3, *shape))
    for mask, _, values in _elements(vae, data, samples, seed):
        n, seen, total = n + len(mask), seen + mask.sum(axis=0), total + (mask * values).sum(axis=1)
        squares += (mask * np.square(values[0])).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = total / seen
        residual = np.maximum(squares - seen * np.square(mean[0]), 0.0)  # the sum of (v - mean)^2
        error = np.sqrt(residual * n / (n - 1)) / seen if n > 1 else np.full(shape, math.nan)
    return CalibrationByElement(mean[0], error, mean[1], mean[2])


class CalibrationByScale(NamedTuple):
    """The calibration where the predicted scale is small, and where it is large.

    Attributes:
        scale: the mean scale in each group of elements, from small to large, in units of x.
        mean_square, within_one, within_two: of each group, as in `calibration`. Their standard errors are between
            examples; the Monte Carlo errors are not known (NaN).
    """

    scale: np.ndarray
    mean_square: list[Estimate]
    within_one: list[Estimate]
    within_two: list[Estimate]


def calibration_by_scale(vae, data, groups: int = 10, samples: int = 10, seed: int = 0) -> CalibrationByScale:
    """`calibration` by quantiles of the predicted scale: whether the errors are small where the model is sure.

    The observed elements of all examples are put in order of their scales (the means over the draws of z) and cut into
    groups of the same size. Equal scales stay together, so that a likelihood with one scale has one group. The scales
    and errors of all elements are kept in memory.

    Args:
        vae, data, samples, seed: as for `calibration`.
        groups: how many.
    """
    samples, seed = _checked(vae, samples, seed)
    groups = arguments.whole("groups", groups, 1)
    masks, scales, each = zip(*_elements(vae, data, samples, seed), strict=True)
    mask, scale, values = np.concatenate(masks), np.concatenate(scales), np.concatenate(each, axis=1)
    if not mask.any():
        raise ValueError(
            "Nothing was observed: every element of every example is masked. A mask is 1 where x was observed."
        )
    edges = np.unique(np.quantile(scale[mask], np.arange(1, groups) / groups, method="inverted_cdf"))
    edges = edges[edges < scale[mask].max() * (1.0 - 1e-6)]  # a group is above one edge, and up to the next
    group = np.where(mask, np.searchsorted(edges, scale, side="left"), -1)
    inside = [group == number for number in range(len(edges) + 1)]
    axes, unknown = tuple(range(1, mask.ndim)), np.full(len(mask), math.nan)
    mean_square, within_one, within_two = (
        [ratio_of((here * value).sum(axis=axes), here.sum(axis=axes), unknown, samples) for here in inside]
        for value in values
    )
    return CalibrationByScale(np.array([scale[here].mean() for here in inside]), mean_square, within_one, within_two)


def _checked(vae, samples, seed) -> tuple[int, int]:
    resolve.check_model(vae)
    if not isinstance(vae.likelihood, Normal):
        raise ValueError(
            f"calibration compares errors with the scale of a normal distribution, and {type(vae.likelihood).__name__} "
            "is none. It is for kvae.likelihoods.Normal."
        )
    return arguments.whole("samples", samples, 1), arguments.seed(seed)


def _elements(vae, data, samples: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Of some examples at a time: the mask, the scale, and the squared errors in units of it, with the parts within.

    `[B, *event_shape]` twice and `[3, B, *event_shape]`; the last two are means over the draws.
    """
    draws = ImportanceSampler.of(vae)

    def elements(batch, parameters, eps):
        z, _ = draws.drawn(batch, parameters, eps)
        p = vae.likelihood.distribution(vae.decode_features(z, batch.condition)).distribution
        square = tf.square((batch.x - p.loc) / p.scale)
        inside = [tf.cast(square <= limit, square.dtype) for limit in (1.0, 4.0)]
        each = tf.stack([square, *inside])  # [3, S, B, *event_shape]
        scale = tf.broadcast_to(p.scale, tf.shape(p.loc))
        return tf.reduce_mean(scale, axis=0), tf.reduce_mean(each, axis=1)

    function = vae.methods.function(elements)
    for number, count, batch, parameters in draws.chunks(data, draws.at_a_time(samples), pad=False):
        scale, each = function(batch, parameters, draws.normals(seed, number * samples, count, samples))
        mask = np.ones(scale.shape, bool) if batch.mask is None else batch.mask.numpy()
        yield mask, scale.numpy().astype(np.float64), each.numpy().astype(np.float64)
