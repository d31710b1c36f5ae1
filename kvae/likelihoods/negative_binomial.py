"""The likelihood of counts that vary more than a Poisson distribution does."""

import keras
import numpy as np
from tensorflow_probability import distributions as tfd

from kvae.data import support
from kvae.likelihoods.integers import Integers
from kvae.numerics.counts import NegativeBinomial as Mass
from kvae.numerics.elementary import positive

_FLOOR, _CAP = 1e-3, 1e6  # of the concentration


@keras.saving.register_keras_serializable("kvae")
class NegativeBinomial(Integers):
    """Counts 0, 1, 2, ... of mean m and variance m + m^2 / r: Poisson counts of a rate that is gamma distributed.

    log p(x|z) = sum_j log Gamma(x_j + r_j) - log Gamma(r_j) - log x_j! - r_j log(1 + m_j/r_j) - x_j log(1 + r_j/m_j)

    A mass. The decoder gives log m, up to log 2^24 (see `Poisson`), and r = 0.001 + softplus(u), up to 1e6, which
    starts at 1. For a large r it is the Poisson distribution. What the encoder sees is as for `Poisson`.

    Args:
        project, kernel_size, name, dtype: see `kvae.likelihoods.Likelihood`; with project=False the decoder's output is
            the log m and then the u, along the last axis.
    """

    support = support.COUNTS
    per_element = 2
    other_projection_name = "concentration_projection"

    def starts(self):
        """The u of r = 1."""
        return [float(np.log(np.expm1(1.0 - _FLOOR)))]

    def distribution(self, features) -> tfd.Distribution:
        """p(x|z) for decoder features `[..., *feature_shape]`: batch `[...]`, event `event_shape`."""
        log_mean, raw = self._event(features)
        return self._independent(Mass(log_mean, positive(raw, _FLOOR, _CAP)))

    def matching(self, mean):
        """log(mean)."""
        return np.log(mean)

    def estimated(self, mean_of, least=0.0):
        """The mean, at least `least`, and the variance: r = m^2 / (variance - m), from 0.01 to 1e5."""
        mean, square = mean_of(lambda x: x), mean_of(lambda x: np.square(x, dtype=np.float64))
        over = square - mean**2 - mean
        mean = np.maximum(mean, least)
        concentration = np.clip(mean**2 / np.maximum(over, 1e-30), 0.01, 0.1 * _CAP) - _FLOOR
        return [self.matching(mean), concentration + np.log(-np.expm1(-concentration))]
