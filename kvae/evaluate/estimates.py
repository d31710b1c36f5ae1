"""A number with its errors."""

import math
from typing import NamedTuple

import numpy as np

from kvae.numerics import arguments


class Estimate(NamedTuple):
    """A number with its errors.

    Estimates compare by their means (`a < b`), add and subtract (with the errors of independent estimates; for two
    models on the same data `kvae.evaluate.compare` is sharper) and are multiplied by numbers. A mass beside a density,
    or other units, raise a ValueError.

    Attributes:
        mean: over the examples.
        standard_error: of the mean, from its spread over examples: how much it varies between data sets of this size.
            NaN for a single example.
        monte_carlo_error: of the mean, from the draws of z: how much it varies between seeds. NaN for a single draw.
        effective_sample_size: of the draws, the mean over examples of (sum w)^2 / sum w^2; the number of draws
            where they are not weighted.
        unit: "nats", "bits/dim", "units", or "" for a plain number.
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
        unit = f" {self.unit}" if self.unit else ""
        return f"{self.mean:.4f} ± {self.standard_error:.4f}{unit} (draws ± {self.monte_carlo_error:.4f})"

    def __lt__(self, other):
        return self.mean < _comparable(self, other)

    def __le__(self, other):
        return self.mean <= _comparable(self, other)

    def __gt__(self, other):
        return self.mean > _comparable(self, other)

    def __ge__(self, other):
        return self.mean >= _comparable(self, other)

    def __neg__(self):
        return self._replace(mean=-self.mean)

    def __add__(self, other):
        return self - (-other)

    def __radd__(self, other):
        return self + other

    def __rsub__(self, other):
        return -self + other

    def __mul__(self, factor):
        if isinstance(factor, tuple):
            return NotImplemented
        names = ("mean", "standard_error", "monte_carlo_error")
        scaled = self._replace(**{name: abs(factor) * getattr(self, name) for name in names})
        return scaled if factor >= 0 else -scaled

    def __rmul__(self, factor):
        return self * factor

    def __sub__(self, other):
        mean = self.mean - _comparable(self, other)
        if not isinstance(other, Estimate):
            return self._replace(mean=mean)
        return self._replace(
            mean=mean,
            standard_error=math.hypot(self.standard_error, other.standard_error),
            monte_carlo_error=math.hypot(self.monte_carlo_error, other.monte_carlo_error),
            effective_sample_size=min(self.effective_sample_size, other.effective_sample_size),
            measure="",
            samples=min(self.samples, other.samples),
            examples=min(self.examples, other.examples),
        )


def check_comparable(unit: str, measure: str, other_unit: str, other_measure: str) -> None:
    """Raise a ValueError for a mass beside a density, and for other units."""
    if {measure, other_measure} == {"mass", "density"}:
        raise ValueError(
            f"A {measure} cannot be compared with a {other_measure}: the logarithm of a density changes with the "
            "unit of x (by D ln 256 nats from pixels of 0 to 255 to pixels of 0 to 1), that of a mass does not."
        )
    if unit != other_unit:
        raise ValueError(
            f"{unit or 'A plain number'} cannot be compared with {other_unit or 'a plain number'}. "
            "Give two estimates of one unit."
        )


def _comparable(estimate, other) -> float:
    if not isinstance(other, Estimate):
        return float(other)
    check_comparable(estimate.unit, estimate.measure, other.unit, other.measure)
    return other.mean


def bits_per_dim(log_likelihood: Estimate, elements: int, levels: int | None = None) -> Estimate:
    """A log-likelihood in nats as bits for each of the D elements of x: -log p(x) / (D ln 2).

    Of a density of x = (v + u) / L, with v one of L levels and u uniform on [0, 1), it is the bound on the mass of v,
    log P(v) >= E log p(x) - D ln L (Theis et al. 2016, arXiv 1511.01844): 256 levels make D ln 256 nats.

    Args:
        log_likelihood: an `Estimate` in nats, of a mass or of a density.
        elements: D.
        levels: L, for a density; None for a mass.
    """
    if not isinstance(log_likelihood, Estimate):
        raise TypeError(
            f"bits_per_dim takes an Estimate, got {arguments.shown(log_likelihood)}. "
            "kvae.evaluate.log_likelihood gives one."
        )
    elements = arguments.whole("elements", elements, 1)
    levels = None if levels is None else arguments.whole("levels", levels, 2)
    if log_likelihood.unit != "nats" or log_likelihood.measure not in ("mass", "density"):
        raise ValueError(
            f"bits_per_dim takes a log-likelihood in nats, got {log_likelihood!r}. "
            "kvae.evaluate.log_likelihood gives one."
        )
    if (levels is None) != (log_likelihood.measure == "mass"):
        raise ValueError(
            "A density has no bits/dim until it is said how many levels x had before it was dequantised, a mass needs "
            f"no levels: got a {log_likelihood.measure} and levels={levels}."
        )
    nats = log_likelihood.mean - (elements * math.log(levels) if levels else 0.0)
    per = elements * math.log(2.0)
    return log_likelihood._replace(
        mean=-nats / per,
        standard_error=log_likelihood.standard_error / per,
        monte_carlo_error=log_likelihood.monte_carlo_error / per,
        unit="bits/dim",
        measure="mass",
    )


def ratio_of(values, weights, variances=None, samples: int = 1, measure: str = "", unit: str = "") -> Estimate:
    """sum(values) / sum(weights) over the examples `[N]`, with the errors of a ratio: those of its residuals."""
    if not weights.sum():
        return Estimate(math.nan, math.nan, math.nan, float(samples), unit, measure, samples, len(values))
    mean = values.sum() / weights.sum()
    residual = mean_of((values - mean * weights) / weights.mean(), None, samples, measure, unit)
    draws = 0.0 if variances is None else float(np.sqrt(variances.sum()) / weights.sum())
    return residual._replace(mean=float(mean), monte_carlo_error=draws)


def bessel_correction(draws: int) -> float:
    """n / (n - 1), which turns a mean square of deviations into a variance; NaN for one draw."""
    return draws / (draws - 1) if draws > 1 else math.nan


def log_mean_variance(effective_sample_size, draws: int):
    """Of the logarithm of a mean weight, by the delta method: 1/ESS - 1/K, unbiased."""
    return np.maximum(1.0 / effective_sample_size - 1.0 / draws, 0.0) * bessel_correction(draws)


def weighted_mean_of(values, variances, effective_sample_size, samples: int, measure: str = "") -> Estimate:
    """`mean_of` values that come from weighted draws, whose effective sample sizes are `[N]`."""
    estimate = mean_of(values, variances, samples, measure)
    return estimate._replace(effective_sample_size=float(effective_sample_size.mean()))


def mean_of(values, variances=None, samples: int = 1, measure: str = "", unit: str = "nats") -> Estimate:
    """The mean of values `[N]`, each known with a variance `[N]` (None: exactly) from its `samples` draws."""
    n = len(values)
    error = float(values.std(ddof=1) / math.sqrt(n)) if n > 1 else math.nan
    draws = 0.0 if variances is None else float(np.sqrt(variances.sum()) / n)
    return Estimate(float(values.mean()), error, draws, float(samples), unit, measure, samples, n)
