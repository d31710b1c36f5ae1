"""The likelihood of real numbers."""

import math

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from kvae.data import support
from kvae.likelihoods.base import Likelihood
from kvae.numerics.arguments import is_number, number, shown
from kvae.numerics.elementary import positive


@keras.saving.register_keras_serializable("kvae")
class Normal(Likelihood):
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
        project, kernel_size, name, dtype: see `kvae.likelihoods.Likelihood`; with project=False the decoder's output is
            the mean ("local": the means and then the u, along the last axis).

    References: Lin, Roberts, Trigoni, Clark (2019), Balancing reconstruction quality and regularisation in
    ELBO for VAEs, arXiv 1909.03765. Rybkin, Daniilidis, Levine (2021), Simple and effective VAE training with
    calibrated decoders, arXiv 2006.13202.
    """

    support = support.REAL
    measure = "density"
    other_projection_name = "scale_projection"

    def __init__(
        self,
        scale: float | str = "optimal",
        momentum: float = 0.99,
        floor: float = 1e-3,
        project: bool = True,
        kernel_size: int = 1,
        name: str | None = None,
        dtype: str | None = None,
    ):
        super().__init__(project=project, kernel_size=kernel_size, name=name, dtype=dtype)
        named = isinstance(scale, str) and scale in ("learned", "optimal", "local")
        if not named and not (is_number(scale) and 0.0 < float(scale) < math.inf):
            raise ValueError(
                f"Normal needs scale= a positive number, 'learned', 'optimal' or 'local', got {shown(scale)}."
            )
        self.scale = scale if named else float(scale)
        self.momentum = number("momentum", momentum, least=0.0, below=1.0)
        self.floor = number("floor", floor, above=0.0, below=1.0)  # the scale starts at 1

    @property
    def per_element(self):
        """The mean, and the scale where it is local."""
        return 2 if self.scale == "local" else 1

    def get_config(self):
        """Plain configuration: the constructor's arguments."""
        own = {"scale": self.scale, "momentum": self.momentum, "floor": self.floor}
        return super().get_config() | own

    def build(self, feature_shape, event_shape):
        """Make the projection to the mean, and the weights that the scale needs."""
        super().build(feature_shape, event_shape)
        if self.scale == "learned":
            start = keras.initializers.Constant(self.starts()[0])
            self.raw_scale = self.add_weight(name="raw_scale", shape=(), initializer=start, autocast=False)
        if self.scale == "optimal":
            self.mean_square = self.add_weight(
                name="mean_square", shape=(), initializer="ones", trainable=False, autocast=False
            )
            self.updates = self.add_weight(
                name="updates", shape=(), initializer="zeros", trainable=False, dtype="int64"
            )

    def starts(self):
        """The raw value of a scale of 1."""
        return [math.log(math.expm1(1.0 - self.floor))]

    def _scale(self):
        if self.scale == "learned":
            return positive(self.raw_scale, self.floor, cap=1e6)
        if self.scale == "optimal":
            return tf.maximum(tf.sqrt(self.mean_square), self.floor)
        return tf.constant(self.scale, self.compute_dtype)

    def distribution(self, features) -> tfd.Distribution:
        """p(x|z) for decoder features `[..., *feature_shape]`: batch `[...]`, event `event_shape`."""
        if self.scale == "local":
            loc, raw = self._event(features)
            return self._independent(tfd.Normal(loc, positive(raw, self.floor, cap=1e6)))
        (loc,) = self._event(features)
        return self._independent(tfd.Normal(loc, self._scale()))

    def matching(self, mean):
        """The mean itself."""
        return mean

    def calibrated(self, x, p, weight, mask=None) -> tfd.Distribution:
        """p; for "optimal" its scale is the batch's own root-mean-square error over q's samples.

        Of a single example that is its own error, which says nothing of the scale: there it is the moving average.
        """
        if self.scale != "optimal":
            return p
        square = tf.reduce_mean(tf.square(x - tf.stop_gradient(p.distribution.loc)), axis=0)  # [B, *event_shape]
        observed = tf.ones_like(square) if mask is None else tf.cast(mask, square.dtype)
        weight = tf.cast(weight, square.dtype)
        total = tf.reduce_sum(weight * tf.reduce_mean(observed, axis=self._event_axes()))
        error = tf.reduce_mean(square * observed, axis=self._event_axes())  # [B]
        now = tf.math.divide_no_nan(tf.reduce_sum(weight * error), total)
        before = tf.cast(self.updates, now.dtype)
        # A plain mean over the first updates, then an exponential one: no trace of the starting value.
        keep = tf.minimum(tf.cast(self.momentum, now.dtype), before / (before + 1.0))
        keep = tf.where(total > 0.0, keep, 1.0)
        self.mean_square.assign(keep * self.mean_square + (1.0 - keep) * now)
        self.updates.assign_add(tf.cast(total > 0.0, tf.int64))
        alone = tf.reduce_sum(tf.cast(weight > 0.0, tf.int32)) < 2
        now = tf.where(alone, self.mean_square, now)
        return self._independent(tfd.Normal(p.distribution.loc, tf.maximum(tf.sqrt(now), self.floor)))

    def draw(self, p, uniform):
        """m + s * eps, eps from the normal quantile function at uniform numbers."""
        return p.distribution.loc + p.distribution.scale * tf.math.ndtri(uniform)
