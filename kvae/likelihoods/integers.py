"""What likelihoods of integers have in common."""

import numpy as np
import tensorflow as tf

from kvae.data import support
from kvae.likelihoods.base import mixed
from kvae.likelihoods.standardized import Standardized
from kvae.numerics.arguments import whole


class Integers(Standardized):
    """Abstract: a mass on the integers from 0 on, in their own units. The distribution of an element is a
    `kvae.numerics.masses.Mass`.

    Between two ends the encoder sees x / highest. Of counts without end it sees (log(1 + x) - center) / spread.
    """

    measure = "mass"
    wrapped = False  # whether another likelihood has center and spread in its place

    @property
    def has_unit(self):
        """Whether the integers have no end."""
        return not self.wrapped and not np.isfinite(self.support.high)

    @property
    def neutral(self):
        """The integer nearest to that of `Standardized`, or below the middle of the support."""
        return tf.round(super().neutral) if self.has_unit else self.support.neutral

    def estimated(self, mean_of, least: float = 0.0) -> list[np.ndarray]:
        """The parameters that fit the data without latents: the first, or more of them. The rest are at `starts`.

        By default p has the mean of x, which is at least `least`. `mean_of` as for `adapt`; what it gives may be of
        each element or of each channel.
        """
        return [self.matching(np.maximum(mean_of(lambda x: x), least))]

    def adapt(self, mean_of) -> None:
        """Set center and spread, and the projections' biases so that zero features give p what `estimated` gives.

        A projection that is the same at every place gets the means over the places. They are kept away from the ends.
        """
        self.standardize(mean_of)
        if self.projection is None:
            return
        bias = self.projection.bias
        first, *others = self.estimated(lambda f: mean_of(f).reshape(-1, bias.shape[0]).mean(axis=0), least=1e-3)
        bias.assign(first)
        if others:
            getattr(self, self.other_projection_name).bias.assign(np.concatenate(others))

    def fitted(self, mean_of, count):
        """What `estimated` gives of each element, with one observation more: spread evenly over the levels, or 0 and 1.

        So no probability is 0. Of classes and grades it is the largest likelihood, and of rates; where there is a
        spread to fit, mean and variance are those of x.
        """
        last = self.support.high if np.isfinite(self.support.high) else 1.0

        def with_one_more(function):
            even = np.mean([function(np.full(count.shape, k)) for k in np.arange(last + 1.0)], axis=0)
            return (mean_of(function) * count + even) / (count + 1.0)

        found = self.estimated(with_one_more)
        rest = [np.full(count.shape, start) for start in self.starts()[len(found) - 1 :]]
        return np.concatenate([*found, *rest], axis=-1)

    def masses(self, p, first, width: int):
        """Those of `kvae.numerics.masses.Mass.table`."""
        return p.distribution.table(first, width)

    def draw(self, p, uniform):
        """The quantile function at uniform numbers: the smallest k with P(X <= k) >= u."""
        return p.distribution.quantile(uniform)


class Levels(Integers):
    """Abstract: a mass on the integers 0..K-1.

    Class attributes:
        fewest: the smallest K.
    """

    fewest = 2

    def __init__(
        self,
        levels: int,
        project: bool = True,
        kernel_size: int = 1,
        name: str | None = None,
        dtype: str | None = None,
    ):
        super().__init__(project=project, kernel_size=kernel_size, name=name, dtype=dtype)
        self.levels = whole("levels", levels, self.fewest, support.MOST_LEVELS)

    @property
    def support(self):
        """0..K-1."""
        return support.levels(self.levels)

    def get_config(self):
        """Plain configuration: the constructor's arguments."""
        return super().get_config() | {"levels": self.levels}

    def _frequencies(self, mean_of, least: float) -> np.ndarray:
        """How often each level occurs, at least `least` / K: `[K, ...]`."""
        counted = [mean_of(lambda x, level=level: x == level) for level in range(self.levels)]
        return np.maximum(np.stack(counted), least / self.levels)

    def _mixed_levels(self, p, weight):
        """The probabilities of all levels, `[B, *event_shape, K]`, for the arguments of `point`."""
        mean = p.mean()
        return mixed(weight, self.masses(p, tf.zeros_like(mean), self.levels))
