"""One pass over a data set: values for every example from draws of q(z|x)."""

import math
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from kvae.data import checks, inputs
from kvae.evaluate.estimates import Estimate, bessel_correction, log_mean_variance, weighted_mean_of
from kvae.evaluate.progress import progress
from kvae.models import resolve
from kvae.models.importance import FLOATS_AT_A_TIME, ImportanceSampler
from kvae.numerics import arguments
from kvae.numerics.chunks import even_chunk_size
from kvae.numerics.weights import warn_of_few
from kvae.training.step_time import multiply_adds

_WORTH_COMPILING = 5e10  # multiply-adds of a batch: half a second


class PerExample(NamedTuple):
    """Values per example, float64 `[N]`; variances are those of the value's estimate over the draws."""

    log_likelihood: np.ndarray
    effective_sample_size: np.ndarray
    reconstruction: np.ndarray
    reconstruction_variance: np.ndarray
    kl: np.ndarray
    kl_variance: np.ndarray
    elbo_variance: np.ndarray
    gap_variance: np.ndarray  # of log_likelihood - elbo, which are of the same draws
    code: np.ndarray  # the posterior's mean, [N, latent_dim]; [N, 0] where z has a mass, and its numbers no unit
    observed: np.ndarray  # how many elements of x
    groups: np.ndarray  # the reconstruction of each group of a joint likelihood, [N, G]
    groups_variance: np.ndarray

    @property
    def elbo(self) -> np.ndarray:
        """Reconstruction less KL."""
        return self.reconstruction - self.kl

    def log_likelihood_variance(self, samples: int) -> np.ndarray:
        """Of the estimate of log p(x)."""
        return log_mean_variance(self.effective_sample_size, samples)


def per_example(vae, data, samples, seed, chunk=None, verbose: bool | str = "auto", parameters=None) -> PerExample:
    """Every example of data with `samples` draws of z from q(z|x), decoded at most `chunk` at a time.

    `parameters` `[N, units]` are those of the posteriors to draw from and to evaluate; by default they are the
    encoder's.
    """
    resolve.check_density(vae, "log p(x) by importance sampling")
    samples, seed = arguments.whole("samples", samples, 1), arguments.seed(seed)
    chunk = None if chunk is None else arguments.whole("chunk", chunk, 1)
    draws, elements = ImportanceSampler.of(vae), math.prod(vae.event_shape)
    drawn = samples if vae.posterior.noise_size else 1  # without noise all draws are equal
    chunk = chunk or max(1, FLOATS_AT_A_TIME // draws.widest)
    chunk_size = max(1, chunk // drawn)  # examples; one, in several chunks, if samples > chunk
    chunk = even_chunk_size(drawn, chunk)
    work = drawn * multiply_adds(vae.decoder, vae.likelihood) * min(checks.ROWS, inputs.count(data) or checks.ROWS)
    jit = work > _WORTH_COMPILING and draws.jit
    found: list[tuple] = []
    with progress(data, verbose) as bar:
        for number, count, batch, q in draws.chunks(data, chunk_size, pad=jit):
            if parameters is not None:
                q = tf.constant(np.resize(parameters[number : number + count], q.shape))
            code, kl = draws.code_and_kl(batch, q)
            code = code if vae.posterior.measure == "density" else code[:, :0]
            sums = _RunningSums()
            for draw in range(0, drawn, chunk):
                first = number * drawn + draw
                log_px_z, log_ratio = draws.terms(batch, q, seed, first, min(chunk, drawn - draw), jit)
                sums.add(log_px_z.numpy(), log_ratio.numpy(), times=samples // drawn)
            observed = np.full(len(batch.x), float(elements))
            if batch.mask is not None:
                observed = batch.mask.numpy().reshape(len(batch.x), -1).sum(axis=1, dtype=np.float64)
            columns = (*sums.result(None if kl is None else kl.numpy()), code.numpy(), observed, *sums.groups())
            found.append(tuple(column[:count] for column in columns))
            bar.update(count)
    return PerExample(*(np.concatenate(column) for column in zip(*found, strict=True)))


class _RunningSums:
    """Running sums over draws, in float64; log-weights are kept relative to the largest so far."""

    def __init__(self):
        self.count = 0
        self.largest = -np.inf
        self.group_sums: Any = 0.0  # of the groups' log p(x_g|z) and their squares, each [B, G]
        self.sums = 0.0  # of w, w a, w b, w^2 (all scaled), a, a^2, b, b^2, (a + b)^2, each [B]

    def add(self, log_px_z, log_ratio, times: int = 1):
        """Count log p(x|z) `[C, B, 1 + G]` and log p(z) - log q(z|x) `[C, B]`, so many times."""
        both, b = log_px_z.astype(np.float64), log_ratio.astype(np.float64)
        a, groups = both[..., 0], both[..., 1:]
        self.group_sums = self.group_sums + times * np.stack([groups.sum(0), np.square(groups).sum(0)])
        log_w = a + b
        largest = np.maximum(self.largest, log_w.max(0))
        w = np.exp(log_w - largest)
        new = times * np.stack([t.sum(0) for t in (w, w * a, w * b, w**2, a, a**2, b, b**2, log_w**2)])
        if self.count:
            shrink = np.exp(self.largest - largest)
            old = self.sums * np.stack([shrink] * 3 + [shrink**2] + [np.ones_like(shrink)] * 5)
            new += old
        self.count, self.largest, self.sums = self.count + times * len(a), largest, new

    def groups(self) -> tuple[np.ndarray, np.ndarray]:
        """The mean of each group's log p(x_g|z), and the variance of that mean, each `[B, G]`."""
        n, (total, square) = self.count, self.group_sums
        return total / n, _variance_of_mean(total, square, n)

    def result(self, kl):
        """The columns of `PerExample` but the code; `kl` is the closed form `[B]` or None."""
        n = self.count
        w, wa, wb, w2, a, a2, b, b2, ab2 = self.sums
        var_a, var_b, var_ab = (_variance_of_mean(*sums, n) for sums in ((a, a2), (b, b2), (a + b, ab2)))
        ll, ess = self.largest + np.log(w / n), w**2 / w2
        var_elbo, together = (var_ab, (wa + wb) / w - (a + b) / n) if kl is None else (var_a, wa / w - a / n)
        covariance = together / n * bessel_correction(n)  # of log 1/n sum w and 1/n sum of a or a + b
        gap = np.maximum(log_mean_variance(ess, n) + var_elbo - 2.0 * covariance, 0.0)
        if kl is None:
            return ll, ess, a / n, var_a, -b / n, var_b, var_elbo, gap
        return ll, ess, a / n, var_a, kl.astype(np.float64), np.zeros_like(a), var_elbo, gap


def _variance_of_mean(total, square, n: int):
    """Of n numbers, by their sum and the sum of their squares."""
    return np.maximum(square - total**2 / n, 0.0) / n**2 * bessel_correction(n)


def few_effective(found: PerExample, samples: int) -> None:
    """Warn the caller's caller where the effective sample size is only a few for many examples."""
    effect = "log p(x) is too low there, and its error too small"
    remedy = "Use kvae.evaluate.ais, or more samples."
    warn_of_few(found.effective_sample_size, samples, effect, remedy, stacklevel=4)


def log_likelihood_of(found: PerExample, samples: int, measure: str) -> Estimate:
    """The mean of log p(x), with its effective sample size."""
    variance = found.log_likelihood_variance(samples)
    return weighted_mean_of(found.log_likelihood, variance, found.effective_sample_size, samples, measure)
