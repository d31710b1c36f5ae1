"""The likelihood of real numbers."""

import math

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from kvae.data import support
from kvae.likelihoods.location_scale import LocationScale
from kvae.numerics import replicas
from kvae.numerics.arguments import choice, is_number, number, shown


@keras.saving.register_keras_serializable("kvae")
class Normal(LocationScale):
    """Real x: log p(x|z) = sum_j log N(x_j; m_j, s^2), with the decoder's mean m and one scale s, or s_j for each x_j.

    A density. The scale weighs reconstruction against the KL term: a beta-VAE with squared errors is this
    likelihood with a scale chosen by hand.

    Args:
        scale: one of these four:
            "optimal": the closed form for the current batch, s^2 = E_data E_q |x - m(z)|^2 / D. It needs no gradient,
            because the ELBO is stationary in s there. Everything but training uses a moving average of s^2, kept as a
            weight (1 before any training), and so does training on batches of one example.
            "learned": a weight that starts at 1 and is trained with the rest (Lin et al. 2019).
            "local": a scale for every element from the decoder, s_j = floor + softplus(u_j), that starts at 1. It says
            how sure the model is of each element. Training it needs care (docs/training.md).
            A positive number: a fixed scale.
        momentum: of that moving average.
        floor: the smallest scale of "learned", "optimal" and "local".
        per: what has a scale "learned" or "optimal" of its own: "all" of x together, each "channel" (place on the last
            axis), or each "element". With the last two x has a unit, see `kvae.likelihoods.standardized`: the mean is
            center_j + spread_j m_j and the scale spread_j s_j, so that scales and floors above are in units of the
            spread. Take per="element" for tables whose columns have unlike units, and call `vae.adapt(data)` first.
        project, kernel_size, name, dtype: see `kvae.likelihoods.Likelihood`; with project=False the decoder's output is
            m ("local": all m and then all u, along the last axis), which is the mean where per="all".

    References: Lin, Roberts, Trigoni, Clark (2019), Balancing reconstruction quality and regularisation in
    ELBO for VAEs, arXiv 1909.03765. Rybkin, Daniilidis, Levine (2021), Simple and effective VAE training with
    calibrated decoders, arXiv 2006.13202.
    """

    support = support.REAL
    measure = "density"

    def __init__(
        self,
        scale: float | str = "optimal",
        momentum: float = 0.99,
        floor: float = 1e-3,
        per: str = "all",
        project: bool = True,
        kernel_size: int = 1,
        name: str | None = None,
        dtype: str | None = None,
    ):
        super().__init__(scale, floor, project=project, kernel_size=kernel_size, name=name, dtype=dtype)
        self.momentum = number("momentum", momentum, least=0.0, below=1.0)
        self.per = choice("per", per, ("all", "channel", "element"))

    def _checked_scale(self, scale):
        named = isinstance(scale, str) and scale in ("learned", "optimal", "local")
        if not named and not (is_number(scale) and 0.0 < float(scale) < math.inf):
            raise ValueError(
                f"Normal needs scale= a positive number, 'learned', 'optimal' or 'local', got {shown(scale)}."
            )
        return scale if named else float(scale)

    @property
    def has_unit(self):
        """Where per is "channel" or "element"."""
        return self.per != "all"

    @property
    def unit_shape(self) -> tuple[int, ...]:
        """That of the channels or the elements."""
        return self.event_shape[-1:] if self.per == "channel" else self.event_shape

    def get_config(self):
        """Plain configuration: the constructor's arguments."""
        return super().get_config() | {"momentum": self.momentum, "per": self.per}

    def build(self, feature_shape, event_shape):
        """Make the projection to the mean, and the weights that the scale needs."""
        super().build(feature_shape, event_shape)
        if self.scale == "optimal":
            options = {"shape": self.unit_shape if self.has_unit else (), "trainable": False}
            options["aggregation"] = "only_first_replica"  # they are the same on all
            self.mean_square = self.add_weight(name="mean_square", initializer="ones", autocast=False, **options)
            self.updates = self.add_weight(name="updates", initializer="zeros", dtype="int64", **options)

    def _scale(self):
        if self.scale == "learned":
            return super()._scale()
        if self.scale == "optimal":
            return tf.maximum(tf.sqrt(self.mean_square), self.floor)
        return tf.constant(self.scale, self.compute_dtype)

    def distribution(self, features) -> tfd.Distribution:
        """p(x|z) for decoder features `[..., *feature_shape]`: batch `[...]`, event `event_shape`."""
        return self._independent(self._in_units(tfd.Normal(*self._location_and_scale(features))))

    def _set_scale(self, square) -> None:
        if is_number(self.scale):
            self.scale = max(float(np.sqrt(np.mean(square))), self.floor)
        if self.scale == "optimal":
            self.mean_square.assign(square)
        if self.scale == "learned":
            super()._set_scale(square)

    def fitted(self, mean_of, count):
        """Mean and standard deviation of x, the latter of what has a scale of its own; a number is fitted, too."""
        if self.has_unit:
            return super().fitted(mean_of, count)
        mean = mean_of(lambda x: x)
        square = mean_of(lambda x: np.square(x - mean))
        if self.scale == "local":
            return self._with_scale(mean, square, count)
        self._set_scale((count * square).sum() / count.sum())
        return mean

    def calibrated(self, x, p, weight, mask=None) -> tfd.Distribution:
        """p; for "optimal" its scale is the batch's own root-mean-square error over q's samples.

        Of a single example that is its own error, which says nothing of the scale: there it is the moving average.
        """
        if self.scale != "optimal":
            return p
        if self.has_unit:
            m, x = p.distribution.distribution.loc, (x - self.center) / self.spread
        else:
            m = p.distribution.loc
        square = tf.reduce_mean(tf.square(x - tf.stop_gradient(m)), axis=0)  # [B, *event_shape]
        observed = tf.ones_like(square) if mask is None else tf.cast(mask, square.dtype)
        weight = tf.cast(weight, square.dtype)
        total, now, alone = (self._of_each if self.has_unit else self._of_all)(square, observed, weight)
        before = tf.cast(self.updates, now.dtype)
        # A plain mean over the first updates, then an exponential one: no trace of the starting value.
        keep = tf.minimum(tf.cast(self.momentum, now.dtype), before / (before + 1.0))
        keep = tf.where(total > 0.0, keep, 1.0)
        self.mean_square.assign(keep * self.mean_square + (1.0 - keep) * now)
        self.updates.assign_add(tf.cast(total > 0.0, tf.int64))
        now = tf.where(alone, self.mean_square, now)
        return self._independent(self._in_units(tfd.Normal(m, tf.maximum(tf.sqrt(now), self.floor))))

    def _of_all(self, square, observed, weight) -> tuple:
        """The weight of a batch, its mean squared error, and whether that is of a single example."""
        total = replicas.total(tf.reduce_sum(weight * tf.reduce_mean(observed, axis=self._event_axes())))
        error = tf.reduce_mean(square * observed, axis=self._event_axes())  # [B]
        now = tf.math.divide_no_nan(replicas.total(tf.reduce_sum(weight * error)), total)
        return total, now, replicas.total(tf.reduce_sum(tf.cast(weight > 0.0, tf.int32))) < 2

    def _of_each(self, square, observed, weight) -> tuple:
        """The same of each element or channel, `[*unit_shape]`."""
        rank, axes = len(self.event_shape), list(range(1, 1 + len(self.event_shape) - len(self.unit_shape)))
        each = observed * tf.reshape(weight, [-1] + [1] * rank)  # [B, *event_shape]
        total = replicas.total(tf.reduce_sum(each, axis=[0, *axes]))
        now = tf.math.divide_no_nan(replicas.total(tf.reduce_sum(each * square, axis=[0, *axes])), total)
        examples = replicas.total(tf.reduce_sum(tf.cast(tf.reduce_any(each > 0.0, axis=axes), tf.int32), axis=0))
        return total, now, examples < 2

    def draw(self, p, uniform):
        """m + s * eps, eps from the normal quantile function at uniform numbers."""
        return p.distribution.loc + p.distribution.scale * tf.math.ndtri(uniform)
