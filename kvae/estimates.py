"""A number with its errors."""

import math
from typing import NamedTuple

import numpy as np


class Estimate(NamedTuple):
    """A number with its errors.

    Attributes:
        mean: over the examples.
        standard_error: of the mean, from its spread over examples: how far another data set of this size would
            give another number. NaN for a single example.
        monte_carlo_error: of the mean, from the draws of z: how far another seed would.
        effective_sample_size: of the draws, the mean over examples of (sum w)^2 / sum w^2; the number of draws
            where they are not weighted.
        unit: "nats", "bits/dim" or "units".
        measure: "mass" or "density" for log-probabilities of x, else "".
        samples: draws of z for each example.
        examples: how many.
    """

    mean: float
    standard_error: float
    monte_carlo_error: float
    effective_sample_size: float
    unit: str
    measure: str = ""
    samples: int = 1
    examples: int = 1

    def __str__(self):
        return f"{self.mean:.4f} ± {self.standard_error:.4f} {self.unit} (draws ± {self.monte_carlo_error:.4f})"


def mean_of(values, variances, samples: int, measure: str = "") -> Estimate:
    """The mean of values `[N]`, nats, each known with a variance `[N]` from its `samples` draws."""
    n = len(values)
    error = float(values.std(ddof=1) / math.sqrt(n)) if n > 1 else math.nan
    draws = float(np.sqrt(variances.sum()) / n)
    return Estimate(float(values.mean()), error, draws, float(samples), "nats", measure, samples, n)
