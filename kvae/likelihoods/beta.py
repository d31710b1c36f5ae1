"""A likelihood of numbers between 0 and 1."""

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from kvae.data import support
from kvae.likelihoods.base import Likelihood
from kvae.numerics import beta
from kvae.numerics.arguments import number
from kvae.numerics.elementary import inverse_softplus, positive

_START = 2.0  # of the concentration: with a mean of 1/2 the uniform density
_LOGIT = 15.0  # the mean is at least 3e-7 from 0 and 1
_ROUNDS = 60  # of Newton's method


@keras.saving.register_keras_serializable("kvae")
class Beta(Likelihood):
    """Shares x in (0, 1): log p(x|z) = sum_j (a_j - 1) log x_j + (b_j - 1) log(1 - x_j) - log B(a_j, b_j).

    a = k m and b = k (1 - m), with the mean m = sigmoid(l) = a / (a + b) and the concentration k = floor + softplus(u),
    l and u from the decoder. A density; the variance is m (1 - m) / (k + 1). The concentration starts at 2, which for
    m = 1/2 is the uniform density. At x = 0 and 1 the density is 0 or infinite, so these are refused. Of numbers that
    were rounded, move the ends inside, (x (N - 1) + 1/2) / N for N examples; where many are exactly 0 or 1, take
    `ContinuousBernoulli`.

    Args:
        floor: the smallest concentration. Below 1/m or 1/(1 - m) the density is infinite at an end.
        cap: the largest concentration.
        project, kernel_size, name, dtype: see `kvae.likelihoods.Likelihood`; with project=False the decoder's output is
            all l and then all u, along the last axis.

    Reference: Smithson, Verkuilen (2006), A better lemon squeezer? Maximum-likelihood regression with beta-distributed
    dependent variables, Psychological Methods 11, 54-71.
    """

    support = support.OPEN_UNIT
    measure = "density"
    per_element = 2

    def __init__(
        self,
        floor: float = 1e-2,
        cap: float = 1e5,
        project: bool = True,
        kernel_size: int = 1,
        name: str | None = None,
        dtype: str | None = None,
    ):
        super().__init__(project=project, kernel_size=kernel_size, name=name, dtype=dtype)
        self.floor = number("floor", floor, above=0.0, below=_START)
        self.cap = number("cap", cap, above=_START)

    def get_config(self):
        """Plain configuration: the constructor's arguments."""
        return super().get_config() | {"floor": self.floor, "cap": self.cap}

    def starts(self):
        """The raw value of the first concentration."""
        return [float(inverse_softplus(_START - self.floor))]

    def distribution(self, features) -> tfd.Distribution:
        """p(x|z) for decoder features `[..., *feature_shape]`: batch `[...]`, event `event_shape`."""
        logits, raw = self._event(features)
        logits += tf.stop_gradient(tf.clip_by_value(logits, -_LOGIT, _LOGIT) - logits)  # the gradient passes
        concentration = positive(raw, self.floor, self.cap)
        return self._independent(beta.Beta(concentration * tf.sigmoid(logits), concentration * tf.sigmoid(-logits)))

    def matching(self, mean):
        """log(mean) - log(1 - mean)."""
        return np.log(mean) - np.log1p(-mean)

    def fitted(self, mean_of, count):
        """The maximum of the likelihood, from the means of log x and log(1 - x), by Newton's method."""
        means = [mean_of(lambda x, f=f: f(np.asarray(x, np.float64))) for f in (np.log, lambda x: np.log1p(-x))]
        mean = np.clip(mean_of(lambda x: x), 1e-6, 1.0 - 1e-6)
        variance = np.maximum(mean_of(lambda x: np.square(x - mean)), 1e-12)
        size = np.clip(mean * (1.0 - mean) / variance - 1.0, self.floor, self.cap)
        logs = np.log([size * mean, size * (1.0 - mean)])
        for _ in range(_ROUNDS):
            logs = np.clip(logs + _step(np.exp(logs), means), np.log(1e-6), np.log(self.cap))
        a, b = np.exp(logs)
        raw = inverse_softplus(np.clip(a + b - self.floor, 1e-6, self.cap))
        return np.concatenate([np.log(a) - np.log(b), raw], axis=-1)

    def draw(self, p, uniform):
        """The quantile function at uniform numbers."""
        return tf.clip_by_value(p.distribution.quantile(uniform), *self.support.ends)


def _step(shapes, means) -> np.ndarray:
    """Newton's step for log a and log b; at most 1, and along the gradient where the curvature is not negative."""
    psi = tf.math.digamma(shapes).numpy() - tf.math.digamma(shapes.sum(axis=0)).numpy()
    slope = shapes * (np.array(means) - psi)
    curve = [tf.math.polygamma(tf.ones_like(t), t).numpy() for t in (*shapes, shapes.sum(axis=0))]
    (a, b), (aa, bb, cross) = shapes, curve
    aa, bb, ab = slope[0] - a * a * (aa - cross), slope[1] - b * b * (bb - cross), a * b * cross
    det = aa * bb - ab * ab
    newton = np.array([-(bb * slope[0] - ab * slope[1]), -(aa * slope[1] - ab * slope[0])]) / np.where(det, det, 1.0)
    step = np.where((aa < 0.0) & (det > 0.0), newton, slope)
    return np.clip(step, -1.0, 1.0)
