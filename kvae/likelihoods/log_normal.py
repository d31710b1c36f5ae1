"""A likelihood of positive numbers."""

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from kvae.data import support
from kvae.likelihoods.location_scale import LocationScale
from kvae.numerics.affine import LogNormal as LogNormalDistribution


@keras.saving.register_keras_serializable("kvae")
class LogNormal(LocationScale):
    """Positive x whose logarithm is normal: log p(x|z) = sum_j log N(log x_j; m_j, s_j^2) - log x_j.

    A density, for numbers that spread over orders of magnitude: prices, durations, concentrations. The mean is
    exp(m + s^2 / 2), the median exp(m). x = 0 is refused: there is no logarithm of it.

    log x has a unit: m = center + spread u and s = spread v, with the decoder's u and v, see
    `kvae.likelihoods.standardized`. The encoder sees (log x - center) / spread. Call `vae.adapt(data)` before `fit`:
    for features of zero, p has the mean of log x then. Another unit of x moves the center alone.

    Args:
        scale: "local", a v for every element from the decoder, floor + softplus(w); or "learned", a weight v for each
            element (for feature maps: for each channel). Both start at 1.
        floor: the smallest v.
        project, kernel_size, name, dtype: see `kvae.likelihoods.Likelihood`; with project=False the decoder's output is
            u ("local": all u and then all w, along the last axis).
    """

    support = support.POSITIVE
    measure = "density"

    def distribution(self, features) -> tfd.Distribution:
        """p(x|z) for decoder features `[..., *feature_shape]`: batch `[...]`, event `event_shape`."""
        log_x = self._in_units(tfd.Normal(*self._location_and_scale(features)))
        return self._independent(LogNormalDistribution(log_x))

    def draw(self, p, uniform):
        """exp(m + s * eps), eps from the normal quantile function at uniform numbers: in float64, for XLA's sake."""
        log_x, eps = p.distribution.normal, tf.cast(tf.math.ndtri(tf.cast(uniform, tf.float64)), self.compute_dtype)
        return tf.clip_by_value(tf.exp(log_x.loc + log_x.scale * eps), *self.support.ends)
