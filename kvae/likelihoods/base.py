"""What a likelihood p(x|z) is."""

import math
from collections.abc import Mapping
from types import MappingProxyType

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from kvae.data.column_supports import ColumnSupports
from kvae.data.support import Support
from kvae.families import Family
from kvae.numerics.arguments import side, undefined
from kvae.numerics.distributions import independent
from kvae.numerics.masses import tabulated
from kvae.numerics.projections import ConvolutionTranspose


class Likelihood(Family):
    """Abstract: p(x|z), a distribution over whole events.

    Args:
        project, name, dtype: see `Family`.
        kernel_size: how many places along each axis of a feature map the projection sees, 1 (the default) or more:
            then it is a transposed convolution with zeros beyond the edge. Equal sizes, (3, 3), are taken as one.

    Class attributes:
        support: the `Support` of x.
        measure: "mass" or "density", what a log-probability is the logarithm of.
        groups: of a joint likelihood, name to (columns, likelihood).
        per_element: how many parameters each element of the event has.
        has_unit: whether it keeps a center and a spread of x, see `kvae.likelihoods.standardized`.
    """

    support: Support | ColumnSupports
    measure: str
    groups: Mapping[str, tuple] = MappingProxyType({})
    per_element = 1
    has_unit = False
    other_projection_name = "other_projection"
    event_shape: tuple[int, ...]
    shared_axes: int  # how many axes of the event the projection treats alike, those of a feature map
    columns: tuple[str, ...] | None = None  # of x, where the model was fitted to a data frame
    schema: dict | None = None  # of the `kvae.data.Table` that it was made for

    def __init__(self, project: bool = True, kernel_size: int = 1, name: str | None = None, dtype: str | None = None):
        super().__init__(project=project, name=name, dtype=dtype)
        self.kernel_size = side("kernel_size", kernel_size)
        if self.kernel_size > 1 and not self.project:
            raise ValueError(
                f"kernel_size={self.kernel_size} is the projection's, which project=False leaves out. "
                "Give one of the two."
            )

    def get_config(self):
        """Plain configuration: the constructor's arguments."""
        return super().get_config() | {"kernel_size": self.kernel_size}

    def get_build_config(self):
        """Those of `Part`, and the names of x's columns where the model was fitted to a data frame."""
        config = super().get_build_config()
        return config | {"columns": list(self.columns)} if config and self.columns else config

    def build_from_config(self, config):
        """Build for those shapes, and take the names."""
        super().build_from_config({key: value for key, value in config.items() if key != "columns"})
        self.columns = tuple(config["columns"]) if config.get("columns") else None

    def build(self, feature_shape, event_shape):
        """Make the projections from features to the first parameter of each element, and to the others.

        Flat features are projected to the whole event; a feature map with the event's height and width is
        projected the same way at every place, channel by channel or with its neighbours (`kernel_size`).
        """
        feature_shape, event_shape = tuple(feature_shape), tuple(event_shape)
        self.event_shape = event_shape
        place = feature_shape[:-1]
        self.shared_axes = len(place)
        if place != event_shape[: len(place)]:
            raise ValueError(
                f"The decoder's output has shape {feature_shape} for one example, and the event has shape "
                f"{event_shape}: their height and width differ ({place} and {event_shape[: len(place)]}). Let the "
                "decoder put out flat features or a feature map of the event's height and width, for example by "
                "cropping it with keras.layers.Cropping2D."
            )
        if self.kernel_size > 1 and not 1 <= len(place) <= 3:
            raise ValueError(
                f"kernel_size={self.kernel_size} takes a feature map of one to three axes beside its channels, but the "
                f"decoder's output has shape {feature_shape} for one example. Leave kernel_size=1 for flat features."
            )
        units = math.prod(event_shape[len(place) :])
        if not self.project and feature_shape[-1] != self.parameter_count(units):
            raise self._wrong_size("decoder", feature_shape, (*place, self.parameter_count(units)))
        self._add_projection(units)
        if self.projection is None:
            return
        self.projection.build((None, *feature_shape))
        if self.per_element > 1:  # they begin at the same values everywhere
            start = keras.initializers.Constant(np.repeat(self.starts(), units).tolist())
            options = {"name": self.other_projection_name, "kernel_initializer": "zeros", "bias_initializer": start}
            others = self._linear(units * (self.per_element - 1), **options)
            others.build((None, *feature_shape))
            setattr(self, self.other_projection_name, others)

    def parameter_count(self, units: int) -> int:
        """How many parameters so many elements have."""
        return self.per_element * units

    def starts(self) -> list[float]:
        """The initial values of an element's parameters except the first: `per_element - 1` numbers."""
        return [0.0] * (self.per_element - 1)

    def parameters(self, features):
        """The first parameters and the others behind them, along the last axis, for a network's features."""
        first = super().parameters(features)
        if self.projection is None or self.per_element == 1:
            return first
        others = getattr(self, self.other_projection_name)(features)
        return tf.concat([first, tf.cast(others, first.dtype)], axis=-1)

    def _linear(self, units: int, **options) -> keras.layers.Layer:
        if self.kernel_size == 1:
            return super()._linear(units, **options)
        return ConvolutionTranspose(units, self.kernel_size, dtype=self.compute_dtype, **options)

    def _event(self, features) -> list:
        """The parameters of p, each `[..., *event_shape]`, for decoder features `[..., *feature_shape]`."""
        feature_shape = self._build_shapes_dict["feature_shape"]
        lead = tf.shape(features)[: len(features.shape) - len(feature_shape)]
        parameters = self.parameters(tf.reshape(features, [-1, *feature_shape]))  # Dense is faster on one batch axis
        shape = tf.concat([lead, self.event_shape], axis=0)
        return [tf.reshape(one, shape) for one in tf.split(parameters, self.per_element, axis=-1)]

    def _independent(self, elementwise) -> tfd.Distribution:
        return independent(elementwise, len(self.event_shape))

    def distribution(self, features) -> tfd.Distribution:
        """p(x|z) for decoder features `[..., *feature_shape]`: batch `[...]`, event `event_shape`."""
        raise undefined(self, "distribution")

    def log_prob(self, p, x, mask=None):
        """log p(x|z), `[...]`, in nats: the sum over the event, or over what was observed where there is a mask.

        A mask `[B, *event_shape]` is 1 where x was observed. Where it is 0, x does not count. But log p must be finite
        there, too, to keep the gradient finite; `Support.neutral` is such an x.
        """
        if mask is None:
            return p.log_prob(x)
        each = p.distribution.log_prob(x)
        return tf.reduce_sum(tf.where(tf.cast(mask, tf.bool), each, tf.zeros_like(each)), axis=self._event_axes())

    def log_prob_by_group(self, p, x, mask=None) -> dict:
        """Of a joint likelihood the log-density of each group of columns: name to `[...]`, in nats."""
        del p, x, mask
        return {}

    def _event_axes(self) -> list[int]:
        return list(range(-len(self.event_shape), 0))

    def trackers(self) -> dict:
        """New metrics by name, which the model reports beside the ELBO; see `details`."""
        return {}

    def details(self, p, x, mask=None) -> dict:
        """What the metrics of `trackers` count of a batch: names to values, examples first."""
        del p, x, mask
        return {}

    def seen(self, x):
        """What the encoder gets for x `[..., *event_shape]`, of about unit size: x itself, unless it has a unit."""
        return x

    @property
    def neutral(self):
        """The x of a missing value: a number, or one for each element."""
        return self.support.neutral

    def calibrated(self, x, p, weight, mask=None) -> tfd.Distribution:
        """The p to train on, given a batch: p itself, unless its scale has a closed form."""
        del x, weight, mask
        return p

    def matching(self, mean):
        """The first parameter of the p whose mean is `mean`, `[*event_shape]`: NumPy to NumPy, float64."""
        raise undefined(self, "matching")

    def fitted(self, mean_of, count) -> np.ndarray:
        """The parameters of the model without latents, the same for all examples: those of the largest likelihood.

        They are what the decoder's output would be with project=False, `[*event_shape[:-1], per_element *
        event_shape[-1]]`. Weights of its own are set, too. By default p has the mean of x; the mean of integers is
        (n + 1/2) / (N + 1), so that no probability is 0.

        Args:
            mean_of: as for `adapt`.
            count: in how many examples each element was observed, `[*event_shape]`.
        """
        mean = mean_of(lambda x: x)
        return self.matching((mean * count + 0.5) / (count + 1.0) if self.support.integer else mean)

    def adapt(self, mean_of) -> None:
        """Start at the data: set the projection's bias so that zero features give p the mean of x.

        `mean_of(function)` is the mean of a function of x `[B, *event_shape]` over what was observed, float64. A
        projection that is the same at every place gets the mean over the places. Between 0 and 1 the mean is kept in
        [0.001, 0.999] (Burda et al. 2016).
        """
        assert self.projection is not None
        bias = self.projection.bias
        mean = mean_of(lambda x: x).reshape(-1, bias.shape[0]).mean(axis=0)
        bias.assign(self.matching(np.clip(mean, 1e-3, 1.0 - 1e-3) if self.support.high == 1.0 else mean))

    def point(self, p, weight=None):
        """The best single x for p, `[B, *event_shape]`: a value that belongs to the support.

        The mean, rounded where x are integers; of classes the most likely one, of grades the median.

        Args:
            p: of the batch `[B]`; with weights of the batch `[S, B]`, of which p is a mixture.
            weight: `[S, B]`, with the sum 1 over S.
        """
        mean = mixed(weight, p.mean())
        return tf.round(mean) if self.support.integer else mean

    def masses(self, p, first, width: int):
        """What `kvae.compress` codes integers by: p(k) of each element for k = first, ..., first + width - 1.

        Args:
            p: of the batch `[B]`.
            first: whole numbers `[B, *event_shape]`, in the likelihood's dtype.
            width: how many.

        Returns:
            `[B, *event_shape, width]`, 0 outside the support.
        """
        ends = self.support.low, self.support.high

        def log_prob(k):
            inside = (k >= ends[0]) & (k <= ends[1])
            each = p.distribution.log_prob(tf.where(inside, k, tf.constant(ends[0], k.dtype)))
            return tf.where(inside, each, tf.constant(-math.inf, each.dtype))

        return tabulated(log_prob, first, width)

    def draw(self, p, uniform):
        """A sample of x from p, out of uniform numbers of the same shape, `[..., *event_shape]`."""
        raise undefined(self, "draw")


def mixed(weight, values):
    """The mean of values `[S, B, ...]` by weights `[S, B]`; without weights the values."""
    return values if weight is None else tf.einsum("sb,sb...->b...", weight, values)
