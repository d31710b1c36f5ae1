"""The likelihood of counts."""

import keras
import numpy as np
from tensorflow_probability import distributions as tfd

from kvae.data import support
from kvae.likelihoods.integers import Integers
from kvae.numerics.counts import Poisson as Mass


@keras.saving.register_keras_serializable("kvae")
class Poisson(Integers):
    """Counts 0, 1, 2, ...: log p(x|z) = sum_j x_j l_j - e^(l_j) - log x_j!, with the log-rate l.

    A mass. The variance is the mean: for counts that vary more take `NegativeBinomial`. A rate is at most 2^24, up to
    which float32 numbers are one apart; above it the gradient still passes, but the value stays. The encoder sees
    log(1 + x), less the center and over the spread that `adapt` finds (`kvae.likelihoods.standardized`).

    Args:
        project, kernel_size, name, dtype: see `kvae.likelihoods.Likelihood`; with project=False the decoder's output is
            the log-rates.
    """

    support = support.COUNTS

    def distribution(self, features) -> tfd.Distribution:
        """p(x|z) for decoder features `[..., *feature_shape]`: batch `[...]`, event `event_shape`."""
        return self._independent(Mass(*self._event(features)))

    def matching(self, mean):
        """log(mean)."""
        return np.log(mean)
