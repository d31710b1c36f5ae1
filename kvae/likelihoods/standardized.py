"""Numbers with a unit: what a network sees of them, and what it puts out, is free of it."""

import numpy as np
import tensorflow as tf

from kvae.likelihoods.base import Likelihood


class Standardized(Likelihood):
    """Abstract: a likelihood of x with a unit. The encoder sees (t(x) - center) / spread.

    The support says what t is: log x for positive numbers, log(1 + x) for counts, (x - low) / (high - low) between two
    ends, and x itself for real numbers. `adapt` sets center and spread to the mean and the standard deviation of t(x)
    over what was observed; a constant gets the spread 1. Until then they are 0 and 1. They are weights that no
    gradient moves, saved and exported with the model. The neutral x of a missing value is the one with t(x) = center.

    Properties:
        has_unit: whether there are a center and a spread. Without them the encoder sees t(x).
        unit_shape: their shape, which is that of the last axes of an event.
    """

    @property
    def has_unit(self):
        """Whether there are a center and a spread, by default yes."""
        return True

    @property
    def unit_shape(self) -> tuple[int, ...]:
        """By default the event's, without the places that the projection treats alike."""
        return self.event_shape[self.shared_axes :]

    def build(self, feature_shape, event_shape):
        """Make the projections, center and spread."""
        super().build(feature_shape, event_shape)
        if self.has_unit:
            options = {"shape": self.unit_shape, "trainable": False, "autocast": False}
            self.center = self.add_weight(name="center", initializer="zeros", **options)
            self.spread = self.add_weight(name="spread", initializer="ones", **options)

    def transformed(self, x, functions=tf.math):
        """t(x); `functions` is the module to compute with, `tf.math` or `numpy`."""
        low, high, finite = self.support.low, self.support.high, np.isfinite(self.support[1:3])
        if finite.all():
            return x if (low, high) == (0.0, 1.0) else (x - low) / (high - low)
        if low != 0.0:
            return x
        return functions.log1p(x) if self.support.integer else functions.log(x)

    def restored(self, y, functions=tf.math):
        """The x with t(x) = y."""
        low, high, finite = self.support.low, self.support.high, np.isfinite(self.support[1:3])
        if finite.all():
            return y if (low, high) == (0.0, 1.0) else low + (high - low) * y
        if low != 0.0:
            return y
        return functions.expm1(y) if self.support.integer else functions.exp(y)

    def seen(self, x):
        """(t(x) - center) / spread, `[..., *event_shape]`."""
        y = self.transformed(x)
        return (y - self.center) / self.spread if self.has_unit else y

    @property
    def neutral(self):
        """The x with t(x) = center, of `unit_shape`; without a center that of the support."""
        return self.restored(tf.convert_to_tensor(self.center)) if self.has_unit else self.support.neutral

    def adapt(self, mean_of) -> None:
        """Set center and spread, then the projection's bias by the mean of x, where there is a projection."""
        self.standardize(mean_of)
        if self.projection is not None:
            super().adapt(mean_of)

    def standardize(self, mean_of) -> None:
        """Set center and spread to the mean and the standard deviation of t(x); `mean_of` as for `adapt`."""
        if not self.has_unit:
            return

        def mean(function):  # over the places, too, that have a center in common
            found = mean_of(lambda x: function(self.transformed(np.asarray(x, np.float64), np)))
            return found.reshape(-1, *self.unit_shape).mean(axis=0)

        center = mean(lambda y: y)
        spread = np.sqrt(mean(lambda y: np.square(y - center)))
        constant = spread <= 1e-12 * np.abs(center)  # rounding
        self.center.assign(center)
        self.spread.assign(np.where(constant, 1.0, spread))
