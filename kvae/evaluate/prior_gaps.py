"""How far the codes of a data set are from the prior that samples are drawn from."""

import math

import numpy as np
import tensorflow as tf

from kvae.evaluate.estimates import Estimate, mean_of
from kvae.evaluate.gaussian import log_normal
from kvae.models import resolve
from kvae.models.importance import ImportanceSampler
from kvae.numerics import arguments, noise

_WIDTHS = 2.0 ** np.arange(9)  # what the scales of q(z|x) are multiplied by
_PAIRS_AT_A_TIME = 4_000_000
_DRAWS = 64  # from which a mean and a standard deviation are estimated


def prior_gap(vae, train, test, seed: int = 0) -> Estimate:
    """How much a prior fitted to the codes of `train` would add to the ELBO of `test`, in nats.

    E_test log g(z) - log p(z), z ~ q(z|x). For each density g that does not depend on `test`, its expectation is at
    most KL(q(z) || p(z)), q(z) the aggregated posterior. A large value says that samples, decoded at z ~ p(z), come
    from where no data are; a richer prior, or one fitted to the codes, has that much to gain. A small or negative one
    says little. (`rate` estimates the same divergence from above, by too much where the KL term is above log N.)

    g is the normal with the mean and covariance of the codes of `train`, or a mixture of normals around them with the
    scales of q(z|x) times 1, 2, 4, ..., 256: whichever fits `train` best, each code left out of its own mixture.

    Args:
        vae: a `kvae.VAE` whose posterior has a density over real numbers, and whose prior is not conditional. Of codes
            `rate` tells the divergence.
        train, test: arrays `[N, *event_shape]`, splits, or finite `tf.data.Dataset`s of batches. The time grows with
            the product of their sizes.
        seed: of the draws of z.

    Raises:
        ValueError: for fewer than two examples in `train`.

    Reference: Tomczak, Welling (2018), VAE with a VampPrior, arXiv 1705.07120 (which trains such a prior).
    """
    resolve.check_continuous(vae, "the gap of the prior")
    if vae.prior.conditional:
        raise ValueError(
            f"prior_gap needs one prior p(z) for all; {type(vae.prior).__name__} has one for each example. "
            "kvae.evaluate.summary gives the KL to these."
        )
    seed = arguments.seed(seed)
    z, mean, scale = _codes(vae, train, seed)
    new, _, _ = _codes(vae, test, (seed + 1) % 2**32)
    if len(z) < 2:
        raise ValueError("prior_gap needs two examples of train or more, got 1.")
    center = mean.mean(axis=0)
    covariance = np.cov(mean.T, bias=True).reshape(len(z[0]), -1) + np.diag(np.square(scale).mean(axis=0))
    left_out = _mixtures(z, mean, scale, _WIDTHS, leave_out=True).mean(axis=1)
    best = int(np.argmax(left_out))
    if log_normal(z - center, covariance)[0].mean() >= left_out[best]:
        fitted = log_normal(new - center, covariance)[0]
    else:
        fitted = _mixtures(new, mean, scale, _WIDTHS[best : best + 1])[0]
    prior = vae.prior_distribution().log_prob(tf.constant(new, vae.prior.compute_dtype))
    return mean_of(fitted - np.asarray(prior, np.float64), np.full(len(new), np.nan))


def _codes(vae, data, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A draw of z from each q(z|x), and its means and standard deviations, float64 `[N, D]` each."""
    parameters = [parameters for _, parameters in ImportanceSampler.of(vae).encoded(data)]
    q = vae.posterior.of(tf.concat(parameters, axis=0))
    n = int(q.batch_shape[0])
    eps = noise.normal(seed, noise.DRAWS, 0, n, vae.posterior.noise_size, vae.posterior.compute_dtype)
    z = vae.posterior.draw(q, eps[None])[0]
    return np.asarray(z, np.float64), *_moments(vae.posterior, q, n)


def _moments(posterior, q, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Means and standard deviations of q, float64 `[N, D]`: of some draws where it has none in closed form."""
    try:
        return np.asarray(q.mean(), np.float64), np.asarray(q.stddev(), np.float64)
    except NotImplementedError:
        eps = noise.draws(0, noise.IMPORTANCE, 0, n, _DRAWS, posterior.noise_size, posterior.compute_dtype)
        z = np.asarray(posterior.draw(q, eps), np.float64)
        return z.mean(axis=0), z.std(axis=0, ddof=1)


def _mixtures(z, mean, scale, widths, leave_out=False) -> np.ndarray:
    """log 1/N sum_n N(z; m_n, (w s_n)^2) for each width w, `[W, M]`; with `leave_out` z_n is judged without part n."""
    precision, size, parts = 1.0 / np.square(scale), z.shape[1], len(mean) - leave_out
    offsets, logs = (np.square(mean) * precision).sum(axis=1), np.log(scale).sum(axis=1)
    rows, found = max(1, _PAIRS_AT_A_TIME // len(mean)), []
    for first in range(0, len(z), rows):
        some = z[first : first + rows]
        square = np.maximum(np.square(some) @ precision.T - 2.0 * some @ (mean * precision).T + offsets, 0.0)
        if leave_out:
            square[np.arange(len(some)), first + np.arange(len(some))] = np.inf
        found.append([_log_sum_exp(-0.5 * square / w**2 - logs) - size * math.log(w) for w in widths])
    return np.concatenate(found, axis=1) - math.log(parts) - 0.5 * size * math.log(2.0 * math.pi)


def _log_sum_exp(values) -> np.ndarray:
    """Of each row."""
    largest = values.max(axis=1)
    return largest + np.log(np.exp(values - largest[:, None]).sum(axis=1))
