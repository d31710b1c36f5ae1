"""Estimates with error bars: the log-likelihood by importance sampling, the ELBO and its terms."""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from kvae import feed, resolve
from kvae.aggregate import rate
from kvae.dimensions import collapsed, kl_per_dimension
from kvae.disentanglement import DCI, dci, factor_vae_score, mutual_information_gap, sap
from kvae.estimates import Estimate, mean_of
from kvae.importance import FLOATS_AT_A_TIME, Draws
from kvae.loop import multiply_adds, prefers_xla

__all__ = [
    "DCI",
    "Estimate",
    "collapsed",
    "dci",
    "factor_vae_score",
    "independent_pixels",
    "kl_per_dimension",
    "log_likelihood",
    "mutual_information_gap",
    "rate",
    "sap",
    "summary",
]

_WORTH_COMPILING = 5e10  # multiply-adds of a batch: half a second


def log_likelihood(vae, data, samples: int = 5000, seed: int = 0, chunk: int | None = None) -> Estimate:
    """The mean of log p(x) over the examples, by importance sampling from q(z|x), in nats.

    log p(x) ~ log 1/K sum_k w_k,   w_k = p(x|z_k) p(z_k) / q(z_k|x),   z_k ~ q(z|x)

    The expectation of the estimate is a lower bound that rises with K (Burda et al. 2016). Its Monte Carlo
    error is the delta method's, var log p(x) ~ 1/ESS - 1/K for each example; where the effective sample size
    is a few, it is too small and the bound is loose.

    Args:
        vae: a `kvae.VAE` whose posterior has a density; for others a ValueError is raised.
        data: an array `[N, *event_shape]`, a split, or a finite `tf.data.Dataset` of batches.
        samples: K.
        seed: of the draws; those of example i are a function of (seed, i, K).
        chunk: how many z to decode at a time; by default what memory allows. It does not change the answer.

    Reference: Burda, Grosse, Salakhutdinov (2016), Importance weighted autoencoders, arXiv 1509.00519.
    """
    return _log_likelihood(vae, _scan(vae, data, samples, seed, chunk), samples)


def summary(vae, data, samples: int = 5000, seed: int = 0, chunk: int | None = None) -> dict[str, Estimate]:
    """What is to be known of a model on a data set, each an `Estimate`, from one pass.

    `elbo`, `reconstruction`, `kl` and `log_likelihood` in nats; `bits_per_dim`, -log_likelihood / (D ln 2) with D
    elements observed, where x has a mass; `active_units`, the number of latent dimensions whose posterior mean
    varies over the data with a variance above 0.01 (Burda et al. 2016), with a bootstrap error.

    Args:
        vae, data, samples, seed, chunk: as for `log_likelihood`.
    """
    scan = _scan(vae, data, samples, seed, chunk)
    measure = vae.likelihood.measure
    likelihood = _log_likelihood(vae, scan, samples)
    table = {
        "elbo": mean_of(scan.reconstruction - scan.kl, scan.elbo_variance, samples, measure),
        "reconstruction": mean_of(scan.reconstruction, scan.reconstruction_variance, samples, measure),
        "kl": mean_of(scan.kl, scan.kl_variance, samples, ""),
        "log_likelihood": likelihood,
    }
    if measure == "mass":
        per_bit = -1.0 / (scan.observed.mean() * math.log(2.0))
        ratio = likelihood.mean / scan.observed.mean()  # of two means; its error is that of the residuals
        residual = mean_of(scan.log_likelihood - ratio * scan.observed, np.zeros_like(scan.observed), samples, "")
        table["bits_per_dim"] = likelihood._replace(
            mean=likelihood.mean * per_bit,
            standard_error=-residual.standard_error * per_bit,
            monte_carlo_error=-likelihood.monte_carlo_error * per_bit,
            unit="bits/dim",
        )
    table["active_units"] = _active_units(scan.code, seed)
    return table


def independent_pixels(vae, train, test) -> Estimate:
    """The log-likelihood on `test` of the model without latents, in nats: every element by itself.

    Each element gets the model's likelihood with the parameter that matches its mean over `train` (the maximum
    likelihood; binary means are (n_1 + 1/2) / (N + 1)), and a normal the root-mean-square residual for its
    scale. A VAE that does not beat this has learned nothing.

    Args:
        vae: for its likelihood.
        train, test: arrays, splits or datasets.
    """
    likelihood = vae.likelihood
    mean, count = feed.mean(train, likelihood)
    if likelihood.support.integer:
        mean = (mean * count + 0.5) / (count + 1.0)
    config = likelihood.get_config() | {"project": False, "name": None}
    if "scale" in config:
        config["scale"] = max(feed.root_mean_square(train, likelihood, mean), 1e-3)
    model = type(likelihood)(**config)
    model.build(feature_shape=vae.event_shape, event_shape=vae.event_shape)
    p = model.distribution(tf.constant(likelihood.matching(mean)[None], tf.float32))
    neutral, dtype = likelihood.support.neutral, likelihood.compute_dtype
    examples = (batch.filled(neutral, dtype) for batch in feed.batches(test, likelihood))
    values = np.concatenate([model.log_prob(p, x, mask).numpy() for x, _, mask, _ in examples])
    return mean_of(values, np.zeros_like(values), 1, likelihood.measure)


class _Scan(NamedTuple):
    """Values per example, float64 `[N]`; variances are those of the value's estimate over the draws."""

    log_likelihood: np.ndarray
    effective_sample_size: np.ndarray
    reconstruction: np.ndarray
    reconstruction_variance: np.ndarray
    kl: np.ndarray
    kl_variance: np.ndarray
    elbo_variance: np.ndarray
    code: np.ndarray  # the posterior's mean, [N, latent_dim]
    observed: np.ndarray  # how many elements of x


def _scan(vae, data, samples, seed, chunk) -> _Scan:
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}.")
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk must be at least 1, got {chunk}.")
    resolve.check_density(vae.posterior, "log p(x) by importance sampling")
    draws = Draws.of(vae)
    chunk = chunk or max(1, FLOATS_AT_A_TIME // draws.widest)
    together = _evenly(feed.ROWS, max(1, chunk // samples))  # examples; one, in several chunks, if samples > chunk
    chunk = _evenly(samples, chunk)
    work = samples * multiply_adds(vae.decoder, vae.likelihood)  # for each example
    parts: list[tuple] = []
    number = 0  # of the example
    for examples, batch, features in draws.encoded(data):  # encoded once, however many draws
        q, size = vae.posterior.distribution(features), len(batch.x)
        code, kl = q.mean().numpy(), draws.closed_form_kl(q, batch.condition)
        kl = None if kl is None else kl.numpy()
        observed = feed.observed_mask(examples).reshape(size, -1).sum(axis=1, dtype=np.float64)
        jit = work * size > _WORTH_COMPILING and prefers_xla(vae.decoder)
        for i in range(0, size, together):
            rows = np.arange(i, min(i + together, size))
            padded = np.resize(rows, together) if jit else rows  # one shape, one compilation
            some = batch.map(lambda tensor, rows=padded: tf.gather(tensor, rows))
            sums = _Sums()
            for draw in range(0, samples, chunk):
                first = (number + i) * samples + draw
                count = min(chunk, samples - draw)
                terms = draws.terms(some, tf.gather(features, padded), seed, first, count, jit)
                sums.add(*(t.numpy()[:, : len(rows)] for t in terms))
            parts.append((*sums.result(None if kl is None else kl[rows]), code[rows], observed[rows]))
        number += size
    return _Scan(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _evenly(total: int, most: int) -> int:
    """The size of the parts, at most `most`, when `total` is divided into as few and as even ones as can be."""
    return math.ceil(total / math.ceil(total / most))


class _Sums:
    """Running sums over draws, in float64; log-weights are kept relative to the largest so far."""

    def __init__(self):
        self.count = 0
        self.largest = -np.inf
        self.sums = 0.0  # of w, w^2 (both scaled), a, a^2, b, b^2, (a + b)^2, each [B]

    def add(self, log_px_z, log_ratio):
        """Count log p(x|z) and log p(z) - log q(z|x), both `[C, B]`."""
        a, b = log_px_z.astype(np.float64), log_ratio.astype(np.float64)
        log_w = a + b
        largest = np.maximum(self.largest, log_w.max(0))
        w = np.exp(log_w - largest)
        new = np.stack([t.sum(0) for t in (w, w**2, a, a**2, b, b**2, log_w**2)])
        if self.count:
            shrink = np.exp(self.largest - largest)
            old = self.sums * np.stack([shrink, shrink**2] + [np.ones_like(shrink)] * 5)
            new += old
        self.count, self.largest, self.sums = self.count + len(a), largest, new

    def result(self, kl):
        """The columns of `_Scan` but the code; `kl` is the closed form `[B]` or None."""
        n = self.count
        w, w2, a, a2, b, b2, ab2 = self.sums
        spread = n / max(n - 1, 1) / n / n
        var_a, var_b, var_ab = (
            np.maximum(square - total**2 / n, 0.0) * spread for total, square in ((a, a2), (b, b2), (a + b, ab2))
        )
        ll, ess = self.largest + np.log(w / n), w**2 / w2
        if kl is None:
            return ll, ess, a / n, var_a, -b / n, var_b, var_ab
        return ll, ess, a / n, var_a, kl.astype(np.float64), np.zeros_like(a), var_a


def _log_likelihood(vae, scan: _Scan, samples: int) -> Estimate:
    ess = scan.effective_sample_size
    estimate = mean_of(scan.log_likelihood, np.maximum(1.0 / ess - 1.0 / samples, 0.0), samples, vae.likelihood.measure)
    return estimate._replace(effective_sample_size=float(ess.mean()))


def _active_units(code: np.ndarray, seed: int, threshold: float = 0.01, resamples: int = 200) -> Estimate:
    n = len(code)
    random = np.random.default_rng(seed)
    counts = [(code[random.integers(0, n, n)].var(0) > threshold).sum() for _ in range(resamples)]
    active = float((code.var(0) > threshold).sum())
    return Estimate(active, float(np.std(counts)), 0.0, 1.0, "units", "", 1, n)
