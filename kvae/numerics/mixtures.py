"""Mixtures of distributions over z: their density, the choice of a component, and the fit of normals to codes."""

import math

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from kvae.numerics.codes import inverse
from kvae.numerics.elementary import uniform

_PAIRS_AT_A_TIME = 4_000_000  # of a code and a component
_PATIENCE, _GAIN = 300, 1e-6  # steps of a fit at most, and nats a code of a step that is worth another


class Mixture(tfd.MixtureSameFamily):
    """`tfd.MixtureSameFamily` with a density that takes less memory where the components are diagonal normals.

    log p(z) = log sum_k w_k p_k(z). TFP has all K D differences of a z and the means in memory.
    """

    def _log_prob(self, x):
        components, weights = self.components_distribution, self.mixture_distribution
        if isinstance(components, tfd.MultivariateNormalDiag):
            each = _normal_log_probs(x, components.mean(), components.stddev())
        else:  # a z for every component: not all distributions broadcast by themselves
            each = components.log_prob(tf.repeat(x[..., None, :], components.batch_shape[0], axis=-2))
        return tf.reduce_logsumexp(each + tf.nn.log_softmax(weights.logits), axis=-1)


def _normal_log_probs(x, loc, scale):
    """log N(x; m_k, diag(s_k)^2) for all k, `[..., K]`, in the dtype of x `[..., D]`.

    It is linear in (x^2, x, 1): one matrix product, in float64 because its terms nearly cancel.
    """
    wide, loc, scale = (tf.cast(tensor, tf.float64) for tensor in (x, loc, scale))
    precision = 1.0 / tf.square(scale)  # [K, D]
    logs = tf.math.log(scale) + 0.5 * math.log(2.0 * math.pi)
    constant = -tf.reduce_sum(0.5 * tf.square(loc) * precision + logs, axis=-1, keepdims=True)
    factors = tf.concat([-0.5 * precision, loc * precision, constant], axis=-1)  # [K, 2 D + 1]
    features = tf.concat([tf.square(wide), wide, tf.ones_like(wide[..., :1])], axis=-1)
    return tf.cast(tf.tensordot(features, factors, [[-1], [-1]]), x.dtype)


def chosen(logits, number):
    """The number of a component, int32 `[...]`, for a standard normal number `[...]`: its quantile among the weights.

    It is k with the probability that softmax of logits `[K]` gives to k.
    """
    return inverse(tf.nn.softmax(logits), uniform(number))


def fitted(
    z: np.ndarray, components: int, floor: float, cap: float, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights `[K]`, means and scales `[K, D]` of diagonal normals, by expectation maximisation on codes `[N, D]`.

    It begins at centers that are far apart (k-means++) and ends where a step gains less than a millionth of a nat.

    Reference: Arthur, Vassilvitskii (2007), k-means++: the advantages of careful seeding.
    """
    z = np.asarray(z, np.float64)
    means = _spread_out(z, components, np.random.default_rng(seed))
    scales = np.full_like(means, np.clip(z.std(axis=0).mean() / components ** (1.0 / z.shape[1]), floor, cap))
    weights, before = np.full(components, 1.0 / components), -np.inf
    for _ in range(_PATIENCE):
        count, first, second, total = _expected(z, weights, means, scales)
        if not total - before > _GAIN * len(z):
            break
        before, alive = total, count > 1e-6  # of the others nothing is known
        share = np.maximum(count, 1e-6)[:, None]
        means = np.where(alive[:, None], first / share, means)
        variance = second / share - np.square(means)
        scales = np.where(alive[:, None], np.sqrt(np.clip(variance, floor**2, cap**2)), scales)
        weights = np.maximum(count, 1e-6) / np.maximum(count, 1e-6).sum()
    return weights, means, scales


def _spread_out(z, components: int, random) -> np.ndarray:
    """Codes to begin at, each drawn in proportion to its squared distance from those before."""
    found = [z[random.integers(len(z))]]
    distance = np.square(z - found[0]).sum(axis=1)
    while len(found) < components:
        total = distance.sum()
        found.append(z[random.choice(len(z), p=distance / total if total > 0.0 else None)])
        distance = np.minimum(distance, np.square(z - found[-1]).sum(axis=1))
    return np.stack(found)


def _expected(z, weights, means, scales):
    """Of each component the expected number of codes, their sum and that of their squares; and log p of all codes."""
    precision, count, first, second, total = np.square(1.0 / scales), 0.0, 0.0, 0.0, 0.0
    offsets = 0.5 * (np.square(means) * precision).sum(axis=1) + np.log(scales).sum(axis=1) - np.log(weights)
    rows = max(1, _PAIRS_AT_A_TIME // len(weights))
    for some in (z[i : i + rows] for i in range(0, len(z), rows)):
        logs = some @ (means * precision).T - 0.5 * np.square(some) @ precision.T - offsets
        largest = logs.max(axis=1, keepdims=True)
        part = np.exp(logs - largest)
        sums = part.sum(axis=1, keepdims=True)
        part /= sums
        total += (largest + np.log(sums)).sum()
        count += part.sum(axis=0)
        first += part.T @ some
        second += part.T @ np.square(some)
    return count, first, second, total - 0.5 * z.size * math.log(2.0 * math.pi)
