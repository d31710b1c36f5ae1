"""The likelihood of integers 0..n, such as pixels of 8 bits."""

import keras
import numpy as np
from tensorflow_probability import distributions as tfd

from kvae.data import support
from kvae.likelihoods.integers import Integers
from kvae.numerics.arguments import whole
from kvae.numerics.elementary import positive
from kvae.numerics.masses import BetaBinomial as Mass

_FLOOR, _CAP = 1e-3, 1e6  # of the concentration


@keras.saving.register_keras_serializable("kvae")
class BetaBinomial(Integers):
    """Integers 0..n: log p(x|z) = sum_j log C(n, x_j) + log B(x_j + a_j, n - x_j + b_j) - log B(a_j, b_j).

    Each x_j counts the successes of n trials whose probability is Beta(a_j, b_j). A mass. The decoder gives the mean
    probability a / (a + b) by its logit l, and the concentration a + b = 0.001 + softplus(u), up to 1e6. At 2 and
    the mean 1/2, where it starts, all integers are equally likely. Below it both ends are likely, as in images with
    black and white. For a large one it is the binomial distribution.

    Args:
        count: n, 255 for pixels of 8 bits. x is given as integers, of any dtype, and not scaled.
        project, kernel_size, name, dtype: see `kvae.likelihoods.Likelihood`; with project=False the decoder's output is
            the l and then the u, along the last axis.
    """

    per_element = 2
    other_projection_name = "concentration_projection"

    def __init__(
        self,
        count: int = 255,
        project: bool = True,
        kernel_size: int = 1,
        name: str | None = None,
        dtype: str | None = None,
    ):
        super().__init__(project=project, kernel_size=kernel_size, name=name, dtype=dtype)
        self.count = whole("count", count, 1, support.MOST_LEVELS - 1)

    @property
    def support(self):
        """0..n."""
        return support.levels(self.count + 1)

    def get_config(self):
        """Plain configuration: the constructor's arguments."""
        return super().get_config() | {"count": self.count}

    def starts(self):
        """The u of a concentration of 2."""
        return [float(np.log(np.expm1(2.0 - _FLOOR)))]

    def distribution(self, features) -> tfd.Distribution:
        """p(x|z) for decoder features `[..., *feature_shape]`: batch `[...]`, event `event_shape`."""
        logits, raw = self._event(features)
        return self._independent(Mass(logits, positive(raw, _FLOOR, _CAP), self.count))

    def matching(self, mean):
        """The logit of mean / n."""
        return np.log(mean) - np.log(self.count - mean)

    def estimated(self, mean_of, least=0.0):
        """The logits by the means, and the u by the variances v = n m (1 - m) (c + n) / (c + 1).

        To v comes `least` times the variance of equally likely integers, so that a constant x is not taken for certain.
        """
        n = self.count
        mean, square = mean_of(lambda x: x), mean_of(lambda x: np.square(x, dtype=np.float64))
        variance = square - mean**2 + least * n * (n + 2.0) / 12.0
        mean = np.clip(mean, n * least, n * (1.0 - least))
        over = np.clip(variance * n / (mean * (n - mean)), 1.0, n)  # that of the binomial
        with np.errstate(divide="ignore"):
            concentration = np.clip((n - over) / (over - 1.0), 2.0 * _FLOOR, 0.1 * _CAP) - _FLOOR
        return [self.matching(mean), concentration + np.log(-np.expm1(-concentration))]
