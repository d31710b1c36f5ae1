"""The likelihood of levels that lie in order, such as pixels of 8 bits, as rounded logistic numbers."""

import math

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from kvae.likelihoods.integers import Levels
from kvae.numerics.arguments import number, whole
from kvae.numerics.elementary import positive
from kvae.numerics.levels import DiscretizedLogistic as Mass


@keras.saving.register_keras_serializable("kvae")
class DiscretizedLogistic(Levels):
    """Integers 0..K-1: a mixture of logistic distributions, rounded to the next level.

    log p(x|z) = sum_j log sum_c w_jc [sigmoid((x_j + 1/2 - m_jc) / s_jc) - sigmoid((x_j - 1/2 - m_jc) / s_jc)]

    A mass: what lies below 0 or above K - 1 belongs to the end. The decoder gives, for each element, h = (K - 1) / 2
    being half of the range,

        m_1 = h (1 + u_1),   m_c = m_1 + h d_c,   s_c = min(floor + h softplus(v_c), 10 h),   w = softmax(l).

    The scales start at h / 2. More components than one start evenly apart, with equal weights.

    Args:
        levels: K, 256 for pixels of 8 bits. x is given as integers, of any dtype, and not scaled.
        components: how many logistic distributions are mixed. Their sum is computed for each element: more take longer.
        floor: the smallest scale, in levels. With 0.1 a level in the middle has at most the probability 0.987.
        project, kernel_size, name, dtype: see `kvae.likelihoods.Likelihood`; with project=False the decoder's output is
            the u_1, d_2, ..., v_1, v_2, ..., and, for more components than one, the l_1, l_2, ..., each for all
            elements, along the last axis.

    Reference: Salimans, Karpathy, Chen, Kingma (2017), PixelCNN++, arXiv 1701.05517.
    """

    def __init__(
        self,
        levels: int = 256,
        components: int = 1,
        floor: float = 0.1,
        project: bool = True,
        kernel_size: int = 1,
        name: str | None = None,
        dtype: str | None = None,
    ):
        super().__init__(levels, project=project, kernel_size=kernel_size, name=name, dtype=dtype)
        self.components = whole("components", components, 1)
        self.floor = number("floor", floor, above=0.0, most=1.0)

    @property
    def per_element(self):
        """Means, scales and, for a mixture, the logits of weights."""
        return 2 if self.components == 1 else 3 * self.components

    @property
    def _half(self) -> float:
        return (self.levels - 1.0) / 2.0

    def get_config(self):
        """Plain configuration: the constructor's arguments."""
        return super().get_config() | {"components": self.components, "floor": self.floor}

    def starts(self):
        """Components apart by 1 in units of h, at most from end to end; a scale of h / 2; equal weights."""
        apart = np.linspace(0.0, min(2.0, self.components - 1.0), self.components)[1:]
        raw = math.log(math.expm1(0.5))
        return [*apart.tolist(), *[raw] * self.components, *[0.0] * (self.per_element - 2 * self.components)]

    def distribution(self, features) -> tfd.Distribution:
        """p(x|z) for decoder features `[..., *feature_shape]`: batch `[...]`, event `event_shape`."""
        first, *others = self._event(features)
        n, half = self.components, self._half
        loc = half * (1.0 + tf.stack([first, *(first + apart for apart in others[: n - 1])], axis=-1))
        scale = half * positive(tf.stack(others[n - 1 : 2 * n - 1], axis=-1), self.floor / half, cap=10.0)
        logits = tf.stack(others[2 * n - 1 :], axis=-1) if n > 1 else tf.zeros_like(loc)
        return self._independent(Mass(loc, scale, logits, self.levels))

    def matching(self, mean):
        """The u_1 of the p with this mean, the others being as they start."""
        return self._matching(mean, np.full((1, *np.shape(mean)), self.floor / self._half + 0.5))

    def _matching(self, mean, scale):
        """u_1 by bisection of sum_k P(X >= k), which rises with it; `scale` of all components, in units of h."""
        half, n = self._half, self.components
        apart = half * np.array([0.0, *self.starts()[: n - 1]]).reshape(n, *[1] * np.ndim(mean))
        low, high = np.full(np.shape(mean), -80.0), np.full(np.shape(mean), 80.0)
        for _ in range(50):
            u = (low + high) / 2
            loc = half * (1.0 + u) + apart  # [components, *event_shape]
            tails = (0.5 + 0.5 * np.tanh((loc - k + 0.5) / (2.0 * half * scale)) for k in range(1, self.levels))
            found = sum(tail.mean(axis=0) for tail in tails)
            low, high = np.where(found < mean, u, low), np.where(found < mean, high, u)
        return low

    def estimated(self, mean_of, least=0.0):
        """The means and, by s = sqrt(3 var) / pi, the scales; of a mixture the mean alone.

        The scales count `least` times the variance of equally likely levels besides.
        """
        top, half = self.levels - 1.0, self._half
        mean = mean_of(lambda x: x)
        variance = mean_of(lambda x: np.square(x, dtype=np.float64)) - mean**2 + least * top * (top + 2.0) / 12.0
        mean = np.clip(mean, top * max(least, 1e-6), top * (1.0 - max(least, 1e-6)))
        if self.components > 1:
            return [self.matching(mean)]
        softplus = np.clip(np.sqrt(3.0 * np.maximum(variance, 0.0)) / math.pi / half - self.floor / half, 1e-3, 9.0)
        return [self._matching(mean, self.floor / half + softplus[None]), softplus + np.log(-np.expm1(-softplus))]
