"""Models side by side on the same data."""

from typing import NamedTuple

import numpy as np

from kvae.data import inputs
from kvae.evaluate.estimates import Estimate, check_comparable, weighted_mean_of
from kvae.evaluate.per_example import few_effective, per_example
from kvae.evaluate.summaries import columns, table
from kvae.models.resolve import check_model
from kvae.numerics import arguments


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
        raise ValueError(f"compare takes a dict of names to models, got {arguments.shown(models)}.")
    for vae in models.values():
        check_model(vae)
    samples, seed = arguments.whole("samples", samples, 1), arguments.seed(seed)
    measures, data = {name: vae.likelihood.measure for name, vae in models.items()}, inputs.in_memory(data)
    first, *others = models
    for name in others:
        check_comparable("nats", measures[first], "nats", measures[name])
    scans = {
        name: per_example(vae, data, samples, (seed + i) % 2**32, None, verbose)
        for i, (name, vae) in enumerate(models.items())
    }
    for scan in scans.values():
        few_effective(scan, samples)
    base = columns(scans[first], samples)
    differences = {
        name: {
            term: weighted_mean_of(
                values - base[term][0], variances + base[term][1], np.minimum(ess, base[term][2]), samples
            )
            for term, (values, variances, ess) in columns(scans[name], samples).items()
        }
        for name in others
    }
    tables = {name: table(scans[name], samples, (seed + i) % 2**32, measures[name]) for i, name in enumerate(models)}
    return Comparison(tables, differences)
