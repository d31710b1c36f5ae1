"""Scores of each example by itself: log p(x) with its error, and a score without draws, element by element."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from kvae.evaluate.per_example import few_effective, per_example
from kvae.models import resolve
from kvae.models.importance import ImportanceSampler
from kvae.numerics import divergences


class LogLikelihoods(NamedTuple):
    """What `log_likelihood_per_example` gives: float64 `[N]` each, in nats but for the effective sample size.

    Attributes:
        log_likelihood: log p(x), by importance sampling.
        standard_error: of it, from the draws of z, by the delta method: sqrt(1/ESS - 1/K). NaN for a single draw.
        effective_sample_size: of the K draws, (sum w)^2 / sum w^2. Where it is only a few, log p(x) is too low and its
            error too small.
        elbo: reconstruction less KL, by the same draws.
        reconstruction: E_q log p(x|z).
        kl: KL(q(z|x) || p(z)).
    """

    log_likelihood: np.ndarray
    standard_error: np.ndarray
    effective_sample_size: np.ndarray
    elbo: np.ndarray
    reconstruction: np.ndarray
    kl: np.ndarray


def log_likelihood_per_example(
    vae, data, samples: int = 1000, seed: int = 0, chunk: int | None = None, verbose: bool | str = "auto"
) -> LogLikelihoods:
    """log p(x) of each example, in the order of the data, with its error; `log_likelihood` gives the mean of these.

    Equal examples get other draws, and so other values within their errors: the draws go by the example's number. Where
    equal examples must have equal scores, take `score`.

    Args:
        vae, data, samples, seed, chunk, verbose: as for `log_likelihood`.

    Reference: as for `log_likelihood`.
    """
    found = per_example(vae, data, samples, seed, chunk, verbose)
    few_effective(found, samples)
    error = np.sqrt(found.log_likelihood_variance(samples))
    columns = found.log_likelihood, error, found.effective_sample_size, found.elbo, found.reconstruction, found.kl
    return LogLikelihoods(*columns)


class Scores(NamedTuple):
    """What `score` gives, float64.

    Attributes:
        score: reconstruction less KL, nats, `[N]`.
        reconstruction: log p(x | E q(z|x)), nats, `[N]`.
        kl: KL(q(z|x) || p(z)), nats, `[N]`; log q - log p at the mean of q where it has no closed form.
        per_element: the log-density of each element of x, nats, `[N, *event_shape]`, 0 where it is masked. The sum over
            an example is its `reconstruction`.
        error: the mean of (x - E p(x | E q(z|x)))^2 over what was observed, in squared units of x, `[N]`.
    """

    score: np.ndarray
    reconstruction: np.ndarray
    kl: np.ndarray
    per_element: np.ndarray
    error: np.ndarray


def score(vae, data) -> Scores:
    """The deterministic score of each example, log p(x | E q(z|x)) - KL(q(z|x) || p(z)), and its parts.

    It draws nothing, so that equal examples have equal scores. It is no bound on log p(x), but orders examples much as
    the ELBO does, in one pass of the networks. The endpoint `score` of a SavedModel gives the same. `per_element` says
    which elements of x make a score low.

    Args:
        vae: a `kvae.VAE` whose posterior has a density.
        data: an array `[N, *event_shape]`, a split, or a finite `tf.data.Dataset` of batches.
    """
    resolve.check_density(vae, "score")

    def parts(batch, parameters):
        q, prior = vae.posterior.of(parameters), vae.prior_distribution(batch.condition)
        z = vae.posterior.center(q)
        p = vae.likelihood.distribution(vae.decode_features(z, batch.condition))
        each, square = p.distribution.log_prob(batch.x), tf.square(batch.x - p.mean())
        seen = tf.ones_like(square) if batch.mask is None else tf.cast(batch.mask, square.dtype)
        if batch.mask is not None:
            each = tf.where(batch.mask, each, tf.zeros_like(each))
        axes = list(range(1, len(vae.event_shape) + 1))
        error = tf.math.divide_no_nan(tf.reduce_sum(seen * square, axes), tf.reduce_sum(seen, axes))
        kl = divergences.kl(q, prior)
        kl = q.log_prob(z) - prior.log_prob(z) if kl is None else kl
        reconstruction = vae.likelihood.log_prob(p, batch.x, batch.mask)
        return reconstruction - kl, reconstruction, kl, each, error

    function = vae.methods.function(parts)
    found = [function(batch, parameters) for batch, parameters in ImportanceSampler.of(vae).encoded(data)]
    columns = (np.concatenate([part.numpy() for part in column]) for column in zip(*found, strict=True))
    return Scores(*(column.astype(np.float64) for column in columns))
