"""The log-likelihood by importance sampling, and a summary of a model, with error bars."""

import math

import numpy as np

from kvae.evaluate.estimates import Estimate, ratio_of, weighted_mean_of
from kvae.evaluate.per_example import PerExample, few_effective, log_likelihood_of, per_example


def log_likelihood(
    vae, data, samples: int = 5000, seed: int = 0, chunk: int | None = None, verbose: bool | str = "auto"
) -> Estimate:
    """The mean of log p(x) over the examples, by importance sampling from q(z|x), in nats.

    log p(x) ~ log 1/K sum_k w_k,   w_k = p(x|z_k) p(z_k) / q(z_k|x),   z_k ~ q(z|x)

    The expectation of the estimate is a lower bound that rises with K (Burda et al. 2016). Its Monte Carlo
    error is the delta method's, var log p(x) ~ 1/ESS - 1/K for each example. If the effective sample size is only a
    few, this error is too small and the bound is loose. Then `ais` is tighter. A warning says where that is so for 10 %
    of the examples or more. `log_likelihood_per_example` gives each.

    Of a model of codes all draws are the same code, and the estimate is the ELBO: a bound, however large K is.

    Args:
        vae: a `kvae.VAE` whose posterior has a density; for others a ValueError is raised.
        data: an array `[N, *event_shape]`, a split, or a finite `tf.data.Dataset` of batches.
        samples: K.
        seed: of the draws; those of example i are a function of (seed, i, K).
        chunk: how many z to decode at a time; by default what memory allows. It does not change the answer.
        verbose: True or False for a progress bar or none; "auto" shows one in a terminal, for work of over two seconds.

    Reference: Burda, Grosse, Salakhutdinov (2016), Importance weighted autoencoders, arXiv 1509.00519.
    """
    found = per_example(vae, data, samples, seed, chunk, verbose)
    few_effective(found, samples)
    return log_likelihood_of(found, samples, vae.likelihood.measure)


def summary(
    vae, data, samples: int = 5000, seed: int = 0, chunk: int | None = None, verbose: bool | str = "auto"
) -> dict[str, Estimate]:
    """The main figures of a model on a data set, each an `Estimate`, from one pass.

    `elbo`, `reconstruction`, `kl` and `log_likelihood` in nats; `bits_per_dim`, -log_likelihood / (D ln 2) with D
    elements observed, where x has a mass; `active_units`, the number of latent dimensions whose posterior mean
    varies over the data with a variance above 0.01 (Burda et al. 2016), with a bootstrap error; of a `Joint` likelihood
    `reconstruction_<name>`, the part of each group of columns in the reconstruction. Of codes, whose numbers
    have no unit, there are no active units; `vae.evaluate` gives their usage.

    Args:
        vae, data, samples, seed, chunk, verbose: as for `log_likelihood`.
    """
    found = per_example(vae, data, samples, seed, chunk, verbose)
    few_effective(found, samples)
    rows, all_count = table(found, samples, seed, vae.likelihood.measure), np.full_like(found.elbo, samples)
    groups = zip(vae.likelihood.groups.items(), found.groups.T, found.groups_variance.T, strict=True)
    for (name, (_, part)), values, variances in groups:
        rows[f"reconstruction_{name}"] = weighted_mean_of(values, variances, all_count, samples, part.measure)
    return rows


def columns(found: PerExample, samples: int) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
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


def table(found: PerExample, samples: int, seed: int, measure: str) -> dict[str, Estimate]:
    """What `summary` gives, from what is known of each example."""
    rows = {
        name: weighted_mean_of(values, variances, ess, samples, "" if name == "kl" else measure)
        for name, (values, variances, ess) in columns(found, samples).items()
    }
    if measure == "mass":
        bits = found.observed * math.log(2.0)
        variance = found.log_likelihood_variance(samples)
        per_dim = ratio_of(-found.log_likelihood, bits, variance, samples, measure, "bits/dim")
        rows["bits_per_dim"] = per_dim._replace(effective_sample_size=rows["log_likelihood"].effective_sample_size)
    if found.code.size:
        rows["active_units"] = _active_units(found.code, seed)
    return rows


def _active_units(code: np.ndarray, seed: int, threshold: float = 0.01, resamples: int = 200) -> Estimate:
    n = len(code)
    if not np.isfinite(code).all():
        return Estimate(math.nan, math.nan, 0.0, 1.0, "units", "", 1, n)
    random = np.random.default_rng(seed)
    counts = [(code[random.integers(0, n, n)].var(0) > threshold).sum() for _ in range(resamples)]
    active = float((code.var(0) > threshold).sum())
    return Estimate(active, float(np.std(counts)) if n > 1 else math.nan, 0.0, 1.0, "units", "", 1, n)
