"""The values a likelihood can explain, and what to say about others."""

from typing import NamedTuple

import numpy as np


class Support(NamedTuple):
    """A set of numbers: the reals between `low` and `high`, or the integers among them.

    Attributes:
        name: as it is printed, for example "[0, 1]".
        low, high: the ends, both included.
        integer: True where only integers belong.
    """

    name: str
    low: float = -np.inf
    high: float = np.inf
    integer: bool = False

    def outside(self, x):
        """True at each element of x (NumPy or TensorFlow) that does not belong; NaN and inf never do."""
        wrong = (x < self.low) | (x > self.high) | (x != x) | (abs(x) == np.inf)
        return wrong | (x % 1.0 != 0.0) if self.integer else wrong

    def contains(self, x: np.ndarray) -> bool:
        """Whether every element of x belongs."""
        if x.size == 0:
            return True
        low, high = x.min(), x.max()  # NaN where x holds one, and then no comparison is true
        inside = low >= self.low and high <= self.high and low > -np.inf and high < np.inf
        return bool(inside and (not self.integer or (x == np.rint(x)).all()))


BINARY = Support("{0, 1}", 0.0, 1.0, integer=True)
UNIT = Support("[0, 1]", 0.0, 1.0)
REAL = Support("the real numbers")
BYTE = Support("the integers 0..255", 0.0, 255.0, integer=True)


def complaint(x: np.ndarray, support: Support, likelihood: str, first: int = 0) -> str:
    """What is wrong with x, whose first row is number `first`, under a likelihood, and what would fit."""
    with np.errstate(invalid="ignore"):
        outside = support.outside(x)
        at = tuple(int(i) for i in np.argwhere(outside)[0])
        finite = x[np.isfinite(x)]
        low, high = (finite.min(), finite.max()) if finite.size else (np.nan, np.nan)
    place = ", ".join(map(str, (at[0] + first, *at[1:])))
    return (
        f"{likelihood} explains x in {support.name}, but x[{place}] is {x[at]!s} "
        f"({outside.mean():.1%} of the values looked at are outside; they range from {low:g} to {high:g}). "
        f"{_advice(x)}"
    )


def _advice(x: np.ndarray) -> str:
    if not np.isfinite(x).all():
        return "Remove or fill in the missing values first."
    if not BINARY.outside(x).any():
        return "These values fit likelihood='bernoulli'."
    if not UNIT.outside(x).any():
        return (
            "These values fit likelihood='continuous_bernoulli' or kvae.likelihoods.Normal('optimal'); for "
            "likelihood='bernoulli', binarize them (kvae.data.load(..., binarize='static' or 'dynamic'))."
        )
    if not BYTE.outside(x).any():
        return "They look like 0..255 pixels: divide by 255 for likelihood='continuous_bernoulli'."
    return "These values fit kvae.likelihoods.Normal(scale='learned' or 'optimal'); or scale them to [0, 1]."
