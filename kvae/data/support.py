"""The values a likelihood can explain, and what to say about others."""

import math
from typing import NamedTuple

import numpy as np

LARGEST = 1e13  # of a real number: its square over that of a small scale, and sums of these, are float32 numbers
TINY = float(np.finfo(np.float32).tiny)  # the smallest number whose logarithm every processor takes
MOST_LEVELS = 2**16  # of integers between two ends: 16 bits


class Support(NamedTuple):
    """A set of numbers: the reals between `low` and `high`, or the integers among them.

    Attributes:
        name: as it is printed, for example "[0, 1]".
        low, high: the ends, included unless `open`; infinite where there is none.
        integer: True where only integers belong.
        open: True where the ends do not belong; then the next float32 number does.
    """

    name: str
    low: float = -np.inf
    high: float = np.inf
    integer: bool = False
    open: bool = False

    @property
    def binary(self) -> bool:
        """Whether only 0 and 1 belong."""
        return self.integer and (self.low, self.high) == (0.0, 1.0)

    @property
    def neutral(self) -> float:
        """The value that a network gets for a missing one: the middle, the end of a half-line (or 1 beyond), or 0.

        Among more integers than two it is the one below the middle.
        """
        ends = [end for end in (self.low, self.high) if math.isfinite(end)]
        if self.open and len(ends) == 1:
            return self.low + 1.0 if math.isfinite(self.low) else self.high - 1.0
        middle = sum(ends) / len(ends) if ends else 0.0
        return float(math.floor(middle)) if self.integer and not self.binary else middle

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the largest number that belong."""
        low, high = max(self.low, -LARGEST), min(self.high, LARGEST)
        if self.open and math.isfinite(self.low):
            low = max(float(np.nextafter(np.float32(low), np.float32(np.inf))), low + TINY)
        if self.open and math.isfinite(self.high):
            high = min(float(np.nextafter(np.float32(high), np.float32(-np.inf))), high - TINY)
        return low, high

    def outside(self, x):
        """True at each element of x (NumPy or TensorFlow) that does not belong; NaN and inf never do."""
        if self.binary:
            return ~((x == 0) | (x == 1))
        low, high = self.ends
        inside = (x >= low) & (x <= high)  # NaN is neither
        return ~(inside & (x % 1.0 == 0.0) if self.integer else inside)

    def contains(self, x: np.ndarray, mask: np.ndarray | None = None) -> bool:
        """Whether every element of x belongs, or every one where the mask is True."""
        x = x if mask is None else x[mask]
        if x.size == 0:
            return True
        if self.binary:
            return bool(np.count_nonzero(x == 0) + np.count_nonzero(x == 1) == x.size)
        low, high = self.ends
        inside = x.min() >= low and x.max() <= high  # never where x holds NaN
        return bool(inside and (not self.integer or (x == np.rint(x)).all()))

    def error(self, x: np.ndarray, likelihood: str, first: int = 0, mask: np.ndarray | None = None) -> str:
        """What is wrong with x, see `support_error`."""
        return support_error(x, self, likelihood, first, mask)


BINARY = Support("{0, 1}", 0.0, 1.0, integer=True)
UNIT = Support("[0, 1]", 0.0, 1.0)
OPEN_UNIT = Support("(0, 1)", 0.0, 1.0, open=True)
REAL = Support("the real numbers")
POSITIVE = Support("the positive numbers", 0.0, open=True)
COUNTS = Support("the integers 0, 1, 2, ...", 0.0, integer=True)


def levels(count: int) -> Support:
    """The integers 0..count-1."""
    return BINARY if count == 2 else Support(f"the integers 0..{count - 1}", 0.0, count - 1.0, integer=True)


BYTE = levels(256)


def support_error(
    x: np.ndarray, support: Support, likelihood: str, first: int = 0, mask: np.ndarray | None = None
) -> str:
    """What is wrong with x, whose first row is number `first`, under a likelihood, and what would fit."""
    mask = np.ones(x.shape, bool) if mask is None else mask
    with np.errstate(invalid="ignore"):
        outside = support.outside(x) & mask
        at = tuple(int(i) for i in np.argwhere(outside)[0])
        finite = x[np.isfinite(x) & mask]
        low, high = (finite.min(), finite.max()) if finite.size else (np.nan, np.nan)
    place = ", ".join(map(str, (at[0] + first, *at[1:])))
    return (
        f"{likelihood} explains x in {support.name}, but x[{place}] is {x[at]!s} "
        f"({outside.sum() / mask.sum():.1%} of the values looked at are outside; they range from {low:g} to {high:g}). "
        f"{_at_the_ends(x[mask], support) or _advice(x[mask], support) + _further(x, mask)}"
    )


def _at_the_ends(x: np.ndarray, support: Support) -> str:
    """For values of which only those at an open end do not belong."""
    if not support.open or support._replace(open=False).outside(x).any():
        return ""
    if math.isfinite(support.high):
        return (
            "The density there is 0 or infinite. Move the ends inside, (x * (N - 1) + 0.5) / N for N examples, or take "
            "likelihood='continuous_bernoulli', to which 0 and 1 belong."
        )
    return (
        "There is no logarithm of 0. Where 0 stands for values that are too small to measure, give a number below the "
        "smallest of the others, or mask them; otherwise take kvae.likelihoods.Normal(per='element')."
    )


def _further(x: np.ndarray, mask: np.ndarray) -> str:
    """What else fits real numbers: heavy tails to the right, columns of unlike units."""
    if not np.isfinite(x[mask]).all() or REAL.outside(x[mask]).any() or not BYTE.outside(x[mask]).any():
        return ""
    if not (UNIT.outside(x[mask]).any() and (x[mask] % 1.0).any()):
        return ""
    text = " Positive numbers also fit kvae.likelihoods.LogNormal()." if not POSITIVE.outside(x[mask]).any() else ""
    spread = np.std(x, axis=0, where=mask) if x.ndim == 2 and len(x) > 1 and mask.any(axis=0).all() else np.ones(1)
    if (spread := spread[spread > 0.0]).size and spread.max() > 10.0 * spread.min():
        text += " Columns of unlike units fit kvae.likelihoods.Normal(per='element'), with vae.adapt(x) before fit."
    return text


def _advice(x: np.ndarray, support: Support) -> str:
    if not np.isfinite(x).all():
        return "Give a mask that is 0 where values are missing, or remove or fill them in first."
    if REAL.outside(x).any():
        return f"Squares of numbers beyond {LARGEST:g} overflow: give x in another unit."
    if not BINARY.outside(x).any():
        return "These values fit likelihood='bernoulli'."
    if not UNIT.outside(x).any():
        whole = " Integers are taken as they are: do not scale them." if support.integer and not support.binary else ""
        return (
            "These values fit likelihood='continuous_bernoulli' or kvae.likelihoods.Normal('optimal'); for "
            f"likelihood='bernoulli', binarize them (kvae.data.load(..., binarize='static' or 'dynamic')).{whole}"
        )
    if not BYTE.outside(x).any():
        return (
            "These are integers from 0 to 255. Pixels fit kvae.likelihoods.BetaBinomial(255) or "
            "DiscretizedLogistic(256) as they are, or divided by 255 likelihood='continuous_bernoulli'; counts fit "
            "likelihood='poisson' or 'negative_binomial', and the numbers of classes "
            "kvae.likelihoods.Categorical(levels)."
        )
    if not COUNTS.outside(x).any():
        return "These are counts: they fit likelihood='negative_binomial' or 'poisson'."
    return "These values fit kvae.likelihoods.Normal(scale='learned' or 'optimal'); or scale them to [0, 1]."
