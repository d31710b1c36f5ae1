"""Forecasts: codes drawn step by step, and decoded."""

import numpy as np
import tensorflow as tf

from kvae.data.batch import Batch
from kvae.dynamics.base import Transition
from kvae.numerics import noise
from kvae.numerics.chunks import ROWS

_AT_A_TIME = 4096  # codes that are stepped together
_STREAM = 3 * noise.ROLLOUT  # of draws of x


def code_paths(model: Transition, x0: np.ndarray, given: np.ndarray, steps: int, samples: int, seed: int) -> np.ndarray:
    """Codes `[S, N, steps, D]` after the states x0 `[N, K, *event_shape]` at conditions `[N, C]`.

    See `kvae.dynamics.Dynamics.rollout`.
    """
    at_a_time, parts = max(1, _AT_A_TIME // max(1, samples)), []
    function = model.programs.function(_Paths(model).run)
    for first in range(0, len(x0), at_a_time):
        start = tf.constant(seed, tf.int64), tf.constant(first, tf.int64)
        here = slice(first, first + at_a_time)
        x, c = tf.convert_to_tensor(x0[here]), tf.constant(given[here], x0.dtype)
        parts.append(function(x, c, *start, tf.constant(samples), tf.constant(steps)).numpy())
    return np.concatenate(parts, axis=1)


class _Paths:
    def __init__(self, model: Transition):
        self.model = model

    def run(self, x, condition, seed, first, samples, steps):
        """Codes `[S, N, steps, D]` after x `[N, K, *event_shape]`, which is number `first`."""
        model, vae = self.model, self.model.vae
        n, k, size = tf.shape(x)[0], tf.shape(x)[1], vae.latent_dim
        q = vae.posterior_distribution(vae.prepared(Batch(tf.reshape(x, [-1, *vae.event_shape]))))
        many = tf.maximum(samples, 1)

        def draws(step, rows, width):
            """Noise for `rows` states of each start, `[S, N rows, width]`."""
            begin = first * tf.cast(rows * many, tf.int64)
            eps = noise.normal(seed, noise.ROLLOUT - step, begin, n * rows * many, width, model.compute_dtype)
            return tf.transpose(tf.reshape(eps, [n * rows, many, width]), [1, 0, 2])

        zero = tf.zeros([], tf.int64)
        if vae.posterior.has_density:
            drawn = vae.posterior.draw(q, draws(zero, k, vae.posterior.noise_size))
            z = tf.where(samples > 0, drawn, vae.posterior.center(q)[None])
        else:
            z = tf.repeat(vae.posterior.center(q)[None], many, axis=0)
        scale = tf.where(samples > 0, model.scale, tf.zeros_like(model.scale))
        z = tf.reshape(z, [many * n, k, size])
        condition = tf.tile(condition, [many, 1])

        def moved(step):
            return scale * tf.reshape(draws(step, 1, size), [many * n, size])

        return walk(model, z, condition, steps, moved, [many, n])


def walk(model: Transition, z, condition, steps, moved, shape):
    """Codes `[*shape, steps, D]` after z `[B, K, D]` at a condition `[B, C]`.

    `moved(step)` is what is added to the mean, from step 1 on.
    """
    size = model.vae.latent_dim
    z = z[:, -model.order :]
    window = tf.concat([tf.repeat(z[:, :1], model.order - tf.shape(z)[1], axis=1), z], axis=1)

    def body(step, window, found):
        z = model.mean(window, condition) + moved(tf.cast(step + 1, tf.int64))
        return step + 1, tf.concat([window[:, 1:], z[:, None]], axis=1), found.write(step, z)

    found = tf.TensorArray(window.dtype, steps, element_shape=[None, size])
    shapes = tf.TensorShape([]), tf.TensorShape([None, model.order, size]), None
    window.set_shape(shapes[1])
    *_, found = tf.while_loop(lambda step, *_: step < steps, body, (tf.constant(0), window, found))
    found = tf.reshape(found.stack(), tf.concat([[steps], shape, [size]], axis=0))
    rank = len(shape)
    return tf.transpose(found, [*range(1, rank + 1), 0, rank + 1])


def decoded(model: Transition, z: np.ndarray, seed: int, output: str) -> np.ndarray:
    """Means of p(x|z), or draws from it, for codes `[S, N, steps, D]`: `[S, N, steps, *event_shape]`."""
    vae, parts = model.vae, []
    by_step = np.transpose(z, (2, 1, 0, 3))
    flat, per_step = by_step.reshape(-1, z.shape[-1]), z.shape[0] * z.shape[1]
    for first in range(0, len(flat), ROWS):
        p = vae.decode(flat[first : first + ROWS])
        x = p.mean()
        if output == "sample":
            uniform = _uniform(seed, first, len(x), per_step, x.shape[1:].num_elements(), x.dtype)
            x = vae.likelihood.draw(p, tf.reshape(uniform, x.shape))
        parts.append(x.numpy())
    found = np.concatenate(parts).reshape(*by_step.shape[:-1], *vae.event_shape)
    return np.moveaxis(found, (0, 1, 2), (2, 1, 0))


def _uniform(seed: int, first: int, rows: int, per_step: int, size: int, dtype):
    """Noise `[rows, size]` of the states `first`, ... step by step, each of which has `per_step` rows and a stream."""
    parts = []
    for step in range(first // per_step, -(-(first + rows) // per_step)):
        begin, end = (min(max(at - step * per_step, 0), per_step) for at in (first, first + rows))
        parts.append(noise.uniform(seed, _STREAM - step, begin, end - begin, size, dtype))
    return tf.concat(parts, axis=0)
