"""A likelihood of numbers from 0 to 1."""

import math

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from kvae.data import support
from kvae.likelihoods.base import Likelihood
from kvae.numerics import distributions
from kvae.numerics.arguments import number


@keras.saving.register_keras_serializable("kvae")
class ContinuousBernoulli(Likelihood):
    """Continuous x in [0, 1]: log p(x|z) = sum_j log C(l_j) + x_j log l_j + (1 - x_j) log(1 - l_j).

    l = sigmoid(logits), C(l) = 2 artanh(1 - 2 l) / (1 - 2 l), C(1/2) = 2. A density. The mean of x is not l
    but l / (2 l - 1) + 1 / (2 artanh(1 - 2 l)); `mean()` is that.

    Args:
        clip: None, or c in (0, 1/2): l is kept in [c, 1 - c], in training and evaluation, and has no gradient
            beyond. Published numbers depend on it: with c = 1e-4 no pixel scores above 2.2205 nats.
        project, kernel_size, name, dtype: see `kvae.likelihoods.Likelihood`; with project=False the decoder's output is
            the logits.

    Reference: Loaiza-Ganem, Cunningham (2019), The continuous Bernoulli: fixing a pervasive error in
    variational autoencoders, arXiv 1907.06845.
    """

    support = support.UNIT
    measure = "density"

    def __init__(
        self,
        clip: float | None = None,
        project: bool = True,
        kernel_size: int = 1,
        name: str | None = None,
        dtype: str | None = None,
    ):
        super().__init__(project=project, kernel_size=kernel_size, name=name, dtype=dtype)
        self.clip = None if clip is None else number("clip", clip, above=0.0, below=0.5)

    def get_config(self):
        """Plain configuration: the constructor's arguments."""
        return super().get_config() | {"clip": self.clip}

    def distribution(self, features) -> tfd.Distribution:
        """p(x|z) for decoder features `[..., *feature_shape]`: batch `[...]`, event `event_shape`."""
        (logits,) = self._event(features)
        if self.clip is not None:
            end = math.log1p(-self.clip) - math.log(self.clip)
            logits = tf.clip_by_value(logits, -end, end)
        return self._independent(distributions.ContinuousBernoulli(logits=logits, dtype=self.compute_dtype))

    def matching(self, mean):
        """The logits l, within +-1000, where 1/2 + coth(l/2)/2 - 1/l is the mean: by bisection, it rises with l."""
        low, high = np.full(mean.shape, -1000.0), np.full(mean.shape, 1000.0)
        for _ in range(60):
            logits = (low + high) / 2
            size = np.maximum(np.abs(logits), 1e-6)  # below it the mean is 1/2 to 1e-7
            below = 0.5 + np.sign(logits) * (0.5 / np.tanh(0.5 * size) - 1.0 / size) < mean
            low, high = np.where(below, logits, low), np.where(below, high, logits)
        return low

    def draw(self, p, uniform):
        """The quantile function at uniform numbers."""
        return p.distribution.quantile(uniform)
