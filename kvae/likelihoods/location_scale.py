"""Locations and scales of numbers with a unit."""

import math

import keras
import numpy as np
from tensorflow_probability import distributions as tfd

from kvae.likelihoods.standardized import Standardized
from kvae.numerics.affine import Affine
from kvae.numerics.arguments import choice, number
from kvae.numerics.elementary import inverse_softplus, positive


class LocationScale(Standardized):
    """Abstract: t(x) has the location center + spread * m and the scale spread * s, with the decoder's m.

    So the networks work in standardised units, and log p is in the units of x: where `adapt` has seen a column c times
    as large, its log-density is lower by log c.

    Args:
        scale: "local", an s for every element from the decoder, s = floor + softplus(u); or "learned", a weight s for
            each element (for feature maps: for each channel), trained with the rest. Both start at 1.
        floor: the smallest s.
        project, kernel_size, name, dtype: see `kvae.likelihoods.Likelihood`; with project=False the decoder's output is
            m ("local": all m and then all u, along the last axis).
    """

    other_projection_name = "scale_projection"

    def __init__(
        self,
        scale: float | str = "local",
        floor: float = 1e-3,
        project: bool = True,
        kernel_size: int = 1,
        name: str | None = None,
        dtype: str | None = None,
    ):
        super().__init__(project=project, kernel_size=kernel_size, name=name, dtype=dtype)
        self.scale = self._checked_scale(scale)
        self.floor = number("floor", floor, above=0.0, below=1.0)  # the scale starts at 1

    def _checked_scale(self, scale) -> float | str:
        return choice("scale", scale, ("learned", "local"))

    @property
    def per_element(self):
        """The location, and the scale where it is local."""
        return 2 if self.scale == "local" else 1

    def get_config(self):
        """Plain configuration: the constructor's arguments."""
        return super().get_config() | {"scale": self.scale, "floor": self.floor}

    def build(self, feature_shape, event_shape):
        """Make the projections, the unit, and the weight of a learned scale."""
        super().build(feature_shape, event_shape)
        if self.scale == "learned":
            start = keras.initializers.Constant(self.starts()[0])
            shape = self.unit_shape if self.has_unit else ()
            self.raw_scale = self.add_weight(name="raw_scale", shape=shape, initializer=start, autocast=False)

    def starts(self):
        """The raw value of a scale of 1."""
        return [math.log(math.expm1(1.0 - self.floor))]

    def _scale(self):
        """s where it is not local."""
        return positive(self.raw_scale, self.floor, cap=1e6)

    def _location_and_scale(self, features) -> tuple:
        """m and s, for decoder features `[..., *feature_shape]`."""
        if self.scale == "local":
            m, raw = self._event(features)
            return m, positive(raw, self.floor, cap=1e6)
        (m,) = self._event(features)
        return m, self._scale()

    def _in_units(self, standardized) -> tfd.Distribution:
        """The distribution of t(x), element by element, for that of (t(x) - center) / spread."""
        return Affine(standardized, self.center, self.spread) if self.has_unit else standardized

    def matching(self, mean):
        """(mean - center) / spread."""
        return (mean - self.center.numpy()) / self.spread.numpy() if self.has_unit else mean

    def fitted(self, mean_of, count):
        """Mean and standard deviation of t(x), each of an element, or of what has a scale in common."""
        if not self.has_unit:
            return super().fitted(mean_of, count)
        self.standardize(mean_of)
        m = mean_of(self._standardized)
        return self._with_scale(m, mean_of(lambda x: np.square(self._standardized(x) - m)), count)

    def _standardized(self, x) -> np.ndarray:
        """(t(x) - center) / spread in float64."""
        y = self.transformed(np.asarray(x, np.float64), np)
        return (y - np.asarray(self.center, np.float64)) / np.asarray(self.spread, np.float64)

    def _with_scale(self, m, square, count) -> np.ndarray:
        """m, with the scale sqrt(square) behind it, or in the weight: `[*event_shape]`, see `fitted`."""
        if self.scale == "local":
            return np.concatenate([m, self._raw(square)], axis=-1)
        self._set_scale(self._of_units(square, count))
        return m

    def _of_units(self, values, count) -> np.ndarray:
        """The mean over what was observed, of `unit_shape`, for the means of the elements."""
        values, count = (a.reshape(-1, *self.unit_shape) for a in (values, np.maximum(count, 1e-9)))
        return (count * values).sum(axis=0) / count.sum(axis=0)

    def _set_scale(self, square) -> None:
        self.raw_scale.assign(self._raw(square))

    def _raw(self, square) -> np.ndarray:
        """The raw value of the scale sqrt(square)."""
        return inverse_softplus(np.maximum(np.sqrt(square) - self.floor, 1e-6))

    def adapt(self, mean_of) -> None:
        """Set center and spread, and the bias so that zero features give p the mean of t(x) for location."""
        if not self.has_unit:
            super().adapt(mean_of)
            return
        self.standardize(mean_of)
        if self.projection is not None:
            bias = self.projection.bias
            bias.assign(mean_of(self._standardized).reshape(-1, bias.shape[0]).mean(axis=0))
