"""The likelihood of binary data."""

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from kvae.data import support
from kvae.likelihoods.base import Likelihood
from kvae.numerics import distributions


@keras.saving.register_keras_serializable("kvae")
class Bernoulli(Likelihood):
    """Binary x: log p(x|z) = sum_j x_j log p_j + (1 - x_j) log(1 - p_j), with p = sigmoid(logits).

    A mass on {0, 1}. Grey values between 0 and 1 are refused: on them this is not a distribution, use
    `ContinuousBernoulli` there.

    Args:
        project, kernel_size, name, dtype: see `kvae.likelihoods.Likelihood`; with project=False the decoder's output is
            the logits.
    """

    support = support.BINARY
    measure = "mass"

    def distribution(self, features) -> tfd.Distribution:
        """p(x|z) for decoder features `[..., *feature_shape]`: batch `[...]`, event `event_shape`."""
        (logits,) = self._event(features)
        return self._independent(distributions.Bernoulli(logits=logits, dtype=self.compute_dtype))

    def matching(self, mean):
        """log(mean) - log(1 - mean)."""
        return np.log(mean) - np.log1p(-mean)

    def draw(self, p, uniform):
        """1 where a uniform number is below the probability."""
        mean = p.mean()
        return tf.cast(uniform < mean, mean.dtype)
