"""The likelihood of grades: levels that lie in order, at unknown distances."""

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from kvae.likelihoods.integers import Levels
from kvae.numerics.elementary import positive
from kvae.numerics.levels import Ordinal as Mass

_FLOOR, _CAP = 1e-4, 1e3  # of the distance of cutpoints


@keras.saving.register_keras_serializable("kvae")
class Ordinal(Levels):
    """Integers 0..K-1 in an order, such as grades: P(x_j <= k | z) = sigmoid(c_k - f_j), proportional odds.

    A mass. The decoder gives one number f_j for each element, and K - 1 cutpoints c_0 < c_1 < ... are weights: one set
    for each element, or with a projection of a feature map one for each channel. They start where all levels are
    equally likely at f = 0; `adapt` sets them to the data's frequencies. c_0 is free, and each step from one to the
    next is 0.0001 + softplus.

    Args:
        levels: K, three or more; for two take `Bernoulli`.
        project, kernel_size, name, dtype: see `kvae.likelihoods.Likelihood`; with project=False the decoder's output is
            the f.

    Reference: McCullagh (1980), Regression models for ordinal data.
    """

    fewest = 3

    @property
    def unit_shape(self):
        """Of the cutpoints: each element's or each channel's; with project=False each element's."""
        return super().unit_shape if self.project else self.event_shape

    def build(self, feature_shape, event_shape):
        """Make the projection and the cutpoints."""
        super().build(feature_shape, event_shape)
        shape = self.unit_shape
        self.first = self.add_weight(name="first", shape=shape, initializer="zeros", autocast=False)
        self.raw_steps = self.add_weight(
            name="raw_steps", shape=(*shape, self.levels - 2), initializer="zeros", autocast=False
        )
        self._cut(np.full((self.levels, *shape), 1.0 / self.levels))

    def _cut(self, frequencies) -> None:
        """Set the cutpoints to those of the levels' frequencies, `[K, *unit_shape]`, at f = 0."""
        below = np.clip(np.cumsum(frequencies, axis=0)[:-1], 1e-12, 1.0 - 1e-12)
        cutpoints = np.log(below) - np.log1p(-below)
        steps = np.clip(np.diff(cutpoints, axis=0), 2.0 * _FLOOR, None) - _FLOOR
        self.first.assign(cutpoints[0])
        self.raw_steps.assign(np.moveaxis(steps + np.log(-np.expm1(-steps)), 0, -1))

    def distribution(self, features) -> tfd.Distribution:
        """p(x|z) for decoder features `[..., *feature_shape]`: batch `[...]`, event `event_shape`."""
        (location,) = self._event(features)
        return self._independent(
            Mass(location, tf.convert_to_tensor(self.first), positive(self.raw_steps, _FLOOR, _CAP))
        )

    def estimated(self, mean_of, least=0.0):
        """f = 0, with cutpoints at the cumulative frequencies of levels, each at least `least` / K and then divided."""
        frequencies = self._frequencies(mean_of, least)
        self._cut((frequencies / frequencies.sum(axis=0)).reshape(self.levels, *self.unit_shape))
        return [np.zeros(frequencies.shape[1:])]

    def point(self, p, weight=None):
        """The median: the smallest level k with P(X <= k) >= 1/2."""
        below = tf.cumsum(self._mixed_levels(p, weight), axis=-1)[..., :-1] < 0.5
        return tf.reduce_sum(tf.cast(below, self.compute_dtype), axis=-1)
