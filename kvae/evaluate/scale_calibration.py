"""Whether the scale of a normal likelihood is right."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from kvae.evaluate.estimates import Estimate, bessel_correction, ratio_of
from kvae.likelihoods import Normal
from kvae.models import resolve
from kvae.models.importance import ImportanceSampler
from kvae.numerics.arguments import check_at_least


def calibration(vae, data, samples: int = 10, seed: int = 0) -> dict[str, Estimate]:
    """How far x is from the decoder's mean, in units of its scale; at z ~ q(z|x), over what was observed.

    `mean_square` is the mean of (x - m(z))^2 / s(z)^2. It is 1 where the scale is right and less where it is too large.
    The scale that fits the errors is s sqrt(mean_square). `within_one` and `within_two` are the parts of the elements
    within one and two
    scales of the mean: 0.683 and 0.954 where the errors are normal, too.

    Args:
        vae: a `kvae.VAE` with a normal likelihood; for others a ValueError is raised.
        data: an array `[N, *event_shape]`, a split, or a finite `tf.data.Dataset` of batches.
        samples: draws of z for each example.
        seed: of the draws.
    """
    resolve.check_model(vae)
    check_at_least(1, samples=samples)
    if not isinstance(vae.likelihood, Normal):
        raise ValueError(f"calibration is about a scale, and {type(vae.likelihood).__name__} has none.")
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

    function: Callable = vae.methods.get("calibration", lambda: tf.function(squares, reduce_retracing=True))
    found = [
        function(batch, parameters, draws.normals(seed, number * samples, count, samples))
        for number, count, batch, parameters in draws.chunks(data, chunk_size, pad=False)
    ]
    totals, variances, (seen,) = (tf.concat(c, axis=1).numpy().astype(np.float64) for c in zip(*found, strict=True))
    variances *= bessel_correction(samples) / samples
    names = ("mean_square", "within_one", "within_two")
    return {name: ratio_of(totals[i], seen, variances[i], samples) for i, name in enumerate(names)}
