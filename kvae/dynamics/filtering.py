"""log p(x_1, ..., x_T) by a particle filter whose proposals use q(z_t|x_t), and the future for a linear transition.

With the potential g_t(z) = q(z|x_t) / N(z; 0, I), which is p(x_t|z) up to a factor where q is the exact posterior, the
proposal for z_t is p(z_t|z_t-1) g_t(z_t) b_t(z_t), normalised. b_t is the integral of all later transitions and
potentials, which is a normal function of z_t where the transition is linear of order 1, and 1 otherwise. So for such
a model with its exact posterior all weights are equal: the result is that of the Kalman filter, without an error.

Densities are in float64 on the host; networks run in the model's dtype.
"""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from kvae.data.batch import Batch
from kvae.dynamics.base import Transition
from kvae.models.importance import FLOATS_AT_A_TIME, ImportanceSampler
from kvae.numerics import noise
from kvae.numerics.low_rank import LowRankNormal

_NORMALS = (tfd.MultivariateNormalDiag, tfd.MultivariateNormalTriL, LowRankNormal)
_STREAM = 2 * noise.ROLLOUT


class _Normal(NamedTuple):
    """exp(-z^T precision z / 2 + shift^T z) for each trajectory and time: `[N, T, D, D]` and `[N, T, D]`."""

    precision: np.ndarray
    shift: np.ndarray


def log_likelihood(model: Transition, x: np.ndarray, given: np.ndarray, samples: int, seed: int) -> np.ndarray:
    """Estimates `[N]` for trajectories `[N, T, *event_shape]` at conditions `[N, C]`, some at a time.

    Raises:
        ValueError: for a posterior that is not normal.
    """
    at_a_time = ImportanceSampler(model.vae).at_a_time(samples, FLOATS_AT_A_TIME)
    parts = range(0, len(x), at_a_time)
    here = [slice(first, first + at_a_time) for first in parts]
    return np.concatenate([_part(model, x[some], given[some], samples, seed, some.start) for some in here])


def _part(model: Transition, x: np.ndarray, given: np.ndarray, samples: int, seed: int, first: int) -> np.ndarray:
    """Estimates for trajectories of which the first is number `first`."""
    x = x.astype(model.compute_dtype)
    potentials = _potentials(model, x)
    ahead = _messages(model, potentials, given) if model.linear else None
    (n, steps), size = x.shape[:2], model.vae.latent_dim
    variance = np.square(np.asarray(model.scale, np.float64))
    weigh, move = model.programs.function(_Weights(model).run), model.programs.function(model.mean)
    conditions = tf.constant(np.tile(given, (samples, 1)), model.compute_dtype)
    window, log_w = None, np.zeros((samples, n))
    for step in range(steps):
        precision = potentials.precision[:, step] + (0.0 if ahead is None else ahead.precision[:, step])
        shift = potentials.shift[:, step] + (0.0 if ahead is None else ahead.shift[:, step])
        if window is None:
            known, mean, before = np.ones(size), np.zeros((samples, n, size)), None
        else:
            mean = move(tf.constant(window.reshape(-1, model.order, size)), conditions).numpy()
            mean = mean.reshape(samples, n, size).astype(np.float64)
            known, before = 1.0 / variance, mean
        precision = precision + np.diag(known)
        root = np.linalg.cholesky(precision)
        eps = noise.draws(seed, _STREAM - step, first, n, samples, size, model.compute_dtype).numpy().astype(np.float64)
        inverse = np.linalg.inv(root)
        center = _times(inverse, known * mean + shift, transposed=False)
        z = _times(inverse, center + eps, transposed=True).astype(model.compute_dtype)
        eps = _times(root, z, transposed=True) - center  # of z as it was rounded
        log_proposal = np.log(np.diagonal(root, axis1=1, axis2=2)).sum(-1) - 0.5 * np.square(eps).sum(-1)
        log_px_z, log_pz = (one.numpy().astype(np.float64) for one in weigh(tf.constant(x[:, step]), tf.constant(z)))
        if before is not None:
            log_pz = -0.5 * (np.square(z - before) * known - np.log(known)).sum(-1)
            log_pz -= 0.5 * size * math.log(2.0 * math.pi)
        log_w = log_w + log_px_z + log_pz - log_proposal + 0.5 * size * math.log(2.0 * math.pi)
        window = np.repeat(z[:, :, None], model.order, axis=2) if window is None else window
        window = np.concatenate([window[:, :, 1:], z[:, :, None]], axis=2)
        if step < steps - 1:
            log_b = 0.0 if ahead is None else _log_of(ahead, step, z)
            uniform = noise.uniform(seed, _STREAM - step - 2**40, first, n, 1).numpy()[:, 0]
            log_w, window = _resampled(log_w, log_b, window, uniform)
    return _log_mean(log_w)


def _potentials(model: Transition, x) -> _Normal:
    q = model.vae.encode(x.reshape(-1, *model.vae.event_shape))
    if not isinstance(q, _NORMALS):
        raise ValueError(
            f"log_likelihood draws near a normal q(z|x), and that of {type(model.vae.posterior).__name__} is none. Use "
            "posterior='diagonal_normal', or another normal one."
        )
    precision = np.linalg.inv(q.covariance().numpy().astype(np.float64))
    shift = np.einsum("nij,nj->ni", precision, q.mean().numpy().astype(np.float64))
    values, vectors = np.linalg.eigh(precision - np.eye(precision.shape[-1]))
    precision = np.einsum("nij,nj,nkj->nik", vectors, np.maximum(values, 0.0), vectors)  # where q is wider than p(z)
    return _Normal(precision.reshape(*x.shape[:2], *precision.shape[1:]), shift.reshape(*x.shape[:2], -1))


def _messages(model: Transition, potentials: _Normal, given: np.ndarray) -> _Normal:
    """b_t for all times, backwards from 1: with M = Lambda + P for a precision P of the transition,

    the integral of exp(-y^T Lambda y / 2 + eta^T y) N(y; m, P^-1) over y is, up to a factor,
    exp(-m^T Lambda M^-1 P m / 2 + (P M^-1 eta)^T m), at m = A z + b.
    """
    maps = [model.linear_map(one) for one in given] if model.condition else [model.linear_map()]
    step, offset = (np.stack(one) for one in zip(*maps, strict=True))  # [N, D, D] and [N, D], or N = 1 for all
    p = np.diag(1.0 / np.square(np.asarray(model.scale, np.float64)))
    precision, shift = (np.zeros_like(one) for one in potentials)
    for t in range(precision.shape[1] - 2, -1, -1):
        ahead = potentials.precision[:, t + 1] + precision[:, t + 1]
        inverse = np.linalg.inv(ahead + p)
        square = ahead @ inverse @ p
        square = (square + np.swapaxes(square, 1, 2)) / 2.0
        slope = np.einsum("ij,njk,nk->ni", p, inverse, potentials.shift[:, t + 1] + shift[:, t + 1])
        precision[:, t] = np.swapaxes(step, 1, 2) @ square @ step
        shift[:, t] = ((slope - (square @ offset[..., None])[..., 0])[:, None] @ step)[:, 0]
    return _Normal(precision, shift)


def _times(matrix, z, transposed: bool):
    """matrix `[N, D, D]`, or its transpose, times z `[S, N, D]`."""
    return np.einsum("nji,snj->sni" if transposed else "nij,snj->sni", matrix, z)


def _log_of(normal: _Normal, step: int, z):
    precision, shift = normal.precision[:, step], normal.shift[:, step]
    z = z.astype(np.float64)
    return np.einsum("sni,ni->sn", z, shift) - 0.5 * np.einsum("sni,nij,snj->sn", z, precision, z)


def _log_mean(log_w):
    most = log_w.max(axis=0)
    return most + np.log(np.mean(np.exp(log_w - most), axis=0))


def _resampled(log_w, log_b, window, uniform):
    """Particles drawn by w b, by systematic resampling, of those trajectories of which few are effective."""
    samples = len(log_w)
    total = log_w + log_b
    w = np.exp(total - total.max(axis=0))
    few = np.square(w.sum(axis=0)) / np.square(w).sum(axis=0) < samples / 2
    if not few.any():
        return log_w, window
    share = np.cumsum(w / w.sum(axis=0), axis=0)
    places = (np.arange(samples)[:, None] + uniform) / samples
    chosen = np.stack([np.searchsorted(share[:, i], places[:, i]) for i in range(len(few))], axis=1)
    chosen = np.where(few, np.minimum(chosen, samples - 1), np.arange(samples)[:, None])
    columns = np.arange(len(few))
    after = np.broadcast_to(_log_mean(total), log_w.shape) - (total - log_w)[chosen, columns]
    return np.where(few, after, log_w), window[chosen, columns]


class _Weights:
    def __init__(self, model: Transition):
        self.model = model

    def run(self, x, z):
        """log p(x|z) and log p(z) `[S, N]` for x `[N, *event_shape]` and z `[S, N, D]`."""
        vae = self.model.vae
        x = vae.prepared(Batch(x)).x
        p = vae.likelihood.distribution(vae.decode_features(z, None))
        return vae.likelihood.log_prob(p, x, None), vae.prior_distribution().log_prob(z)
