"""Estimates with error bars: the log-likelihood by importance sampling, the ELBO and its terms."""

import math
from typing import NamedTuple

import numpy as np

from kvae import feed
from kvae.aggregate import rate
from kvae.baseline import independent_pixels
from kvae.bounds import RateDistortion, ais, rate_distortion, sandwich
from kvae.codes import knn_accuracy
from kvae.diagnosis import Diagnosis, diagnose
from kvae.dimensions import collapse, collapsed, kl_per_dimension
from kvae.disentanglement import DCI, dci, factor_vae_score, mutual_information_gap, sap
from kvae.estimates import Estimate, bits_per_dim, check_comparable, ratio_of, weighted_mean_of
from kvae.gaps import gaps
from kvae.residuals import calibration
from kvae.resolve import check_model
from kvae.scan import Scan, log_likelihood_of, scan

__all__ = [
    "DCI",
    "Comparison",
    "Diagnosis",
    "Estimate",
    "RateDistortion",
    "ais",
    "bits_per_dim",
    "calibration",
    "collapse",
    "collapsed",
    "compare",
    "dci",
    "diagnose",
    "factor_vae_score",
    "gaps",
    "independent_pixels",
    "kl_per_dimension",
    "knn_accuracy",
    "log_likelihood",
    "mutual_information_gap",
    "rate",
    "rate_distortion",
    "sandwich",
    "sap",
    "summary",
]


def log_likelihood(
    vae, data, samples: int = 5000, seed: int = 0, chunk: int | None = None, verbose: bool | str = "auto"
) -> Estimate:
    """The mean of log p(x) over the examples, by importance sampling from q(z|x), in nats.

    log p(x) ~ log 1/K sum_k w_k,   w_k = p(x|z_k) p(z_k) / q(z_k|x),   z_k ~ q(z|x)

    The expectation of the estimate is a lower bound that rises with K (Burda et al. 2016). Its Monte Carlo
    error is the delta method's, var log p(x) ~ 1/ESS - 1/K for each example; where the effective sample size
    is a few, it is too small and the bound is loose: `ais` is tighter then.

    Args:
        vae: a `kvae.VAE` whose posterior has a density; for others a ValueError is raised.
        data: an array `[N, *event_shape]`, a split, or a finite `tf.data.Dataset` of batches.
        samples: K.
        seed: of the draws; those of example i are a function of (seed, i, K).
        chunk: how many z to decode at a time; by default what memory allows. It does not change the answer.
        verbose: True or False for a progress bar or none; "auto" shows one in a terminal, for work of over two seconds.

    Reference: Burda, Grosse, Salakhutdinov (2016), Importance weighted autoencoders, arXiv 1509.00519.
    """
    return log_likelihood_of(scan(vae, data, samples, seed, chunk, verbose), samples, vae.likelihood.measure)


def summary(
    vae, data, samples: int = 5000, seed: int = 0, chunk: int | None = None, verbose: bool | str = "auto"
) -> dict[str, Estimate]:
    """What is to be known of a model on a data set, each an `Estimate`, from one pass.

    `elbo`, `reconstruction`, `kl` and `log_likelihood` in nats; `bits_per_dim`, -log_likelihood / (D ln 2) with D
    elements observed, where x has a mass; `active_units`, the number of latent dimensions whose posterior mean
    varies over the data with a variance above 0.01 (Burda et al. 2016), with a bootstrap error.

    Args:
        vae, data, samples, seed, chunk, verbose: as for `log_likelihood`.
    """
    return _table(scan(vae, data, samples, seed, chunk, verbose), samples, seed, vae.likelihood.measure)


class Comparison(NamedTuple):
    """Several models on the same data.

    Attributes:
        summaries: the `summary` of each, by its name.
        differences: of each but the first, by its name: `elbo`, `reconstruction`, `kl` and `log_likelihood` less those
            of the first, example by example. Their standard errors are those of the differences, which are mostly far
            smaller than those of the values: some examples are hard for all models.
    """

    summaries: dict[str, dict[str, Estimate]]
    differences: dict[str, dict[str, Estimate]]


def compare(models: dict, data, samples: int = 5000, seed: int = 0, verbose: bool | str = "auto") -> Comparison:
    """The summaries of several models side by side, and their paired differences from the first.

    Args:
        models: names to models.
        data, samples, verbose: as for `log_likelihood`.
        seed: of the draws of the first; the others have draws of their own, by `seed + 1` and so on.

    Raises:
        ValueError: where some have masses and some densities.
    """
    if not isinstance(models, dict) or not models:
        raise ValueError(f"compare takes a dict of names to models, got {models!r:.80}.")
    for vae in models.values():
        check_model(vae)
    measures, data = {name: vae.likelihood.measure for name, vae in models.items()}, feed.held(data)
    first, *others = models
    for name in others:
        check_comparable("nats", measures[first], "nats", measures[name])
    scans = {name: scan(vae, data, samples, seed + i, None, verbose) for i, (name, vae) in enumerate(models.items())}
    base = _columns(scans[first], samples)
    differences = {
        name: {
            term: weighted_mean_of(
                values - base[term][0], variances + base[term][1], np.minimum(ess, base[term][2]), samples
            )
            for term, (values, variances, ess) in _columns(scans[name], samples).items()
        }
        for name in others
    }
    tables = {name: _table(scans[name], samples, seed + i, measures[name]) for i, name in enumerate(models)}
    return Comparison(tables, differences)


def _columns(found: Scan, samples: int) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """What each example has, its variance over the draws, and their effective sample size."""
    all_count = np.full_like(found.elbo, samples)
    return {
        "elbo": (found.elbo, found.elbo_variance, all_count),
        "reconstruction": (found.reconstruction, found.reconstruction_variance, all_count),
        "kl": (found.kl, found.kl_variance, all_count),
        "log_likelihood": (
            found.log_likelihood, found.log_likelihood_variance(samples), found.effective_sample_size
        ),
    }  # fmt: skip


def _table(found: Scan, samples: int, seed: int, measure: str) -> dict[str, Estimate]:
    table = {
        name: weighted_mean_of(values, variances, ess, samples, "" if name == "kl" else measure)
        for name, (values, variances, ess) in _columns(found, samples).items()
    }
    if measure == "mass":
        bits = found.observed * math.log(2.0)
        variance = found.log_likelihood_variance(samples)
        per_dim = ratio_of(-found.log_likelihood, bits, variance, samples, measure, "bits/dim")
        table["bits_per_dim"] = per_dim._replace(effective_sample_size=table["log_likelihood"].effective_sample_size)
    table["active_units"] = _active_units(found.code, seed)
    return table


def _active_units(code: np.ndarray, seed: int, threshold: float = 0.01, resamples: int = 200) -> Estimate:
    n = len(code)
    if not np.isfinite(code).all():
        return Estimate(math.nan, math.nan, 0.0, 1.0, "units", "", 1, n)
    random = np.random.default_rng(seed % 2**64)
    counts = [(code[random.integers(0, n, n)].var(0) > threshold).sum() for _ in range(resamples)]
    active = float((code.var(0) > threshold).sum())
    return Estimate(active, float(np.std(counts)) if n > 1 else math.nan, 0.0, 1.0, "units", "", 1, n)
