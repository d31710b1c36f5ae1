"""Distributions of single numbers in a unit of their own."""

import tensorflow as tf
from tensorflow_probability import distributions as tfd
from tensorflow_probability import util


class Affine(tfd.Distribution):
    """x = center + spread * y, elementwise: log p(x) = log p_y((x - center) / spread) - log spread.

    x is standardised before anything else, so that a center far from 0 costs no precision.

    Args:
        distribution: of y, of single numbers.
        center, spread: tensors that broadcast with its batch; the spread is positive.
    """

    def __init__(self, distribution, center, spread, validate_args=False, allow_nan_stats=True, name="Affine"):
        parameters = dict(locals())
        self.distribution = distribution
        self.center = tf.convert_to_tensor(center, distribution.dtype)
        self.spread = tf.convert_to_tensor(spread, distribution.dtype)
        super().__init__(
            dtype=distribution.dtype,
            reparameterization_type=distribution.reparameterization_type,
            validate_args=validate_args,
            allow_nan_stats=allow_nan_stats,
            parameters=parameters,
            name=name,
        )

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        numbers = {"center": util.ParameterProperties(), "spread": util.ParameterProperties()}
        return {"distribution": util.BatchedComponentProperties(), **numbers}

    @property
    def loc(self):
        """The location of x."""
        return self.center + self.spread * self.distribution.loc

    @property
    def scale(self):
        """The scale of x."""
        return self.spread * self.distribution.scale

    def _event_shape(self):
        return tf.TensorShape([])

    def _event_shape_tensor(self):
        return tf.constant([], tf.int32)

    def _y(self, x):
        return (x - self.center) / self.spread

    def _log_prob(self, x):
        return self.distribution.log_prob(self._y(x)) - tf.math.log(self.spread)

    def _cdf(self, x):
        return self.distribution.cdf(self._y(x))

    def _quantile(self, value):
        return self.center + self.spread * self.distribution.quantile(value)

    def _sample_n(self, n, seed=None):
        return self.center + self.spread * self.distribution.sample(n, seed=seed)

    def _mean(self):
        return self.center + self.spread * self.distribution.mean()

    def _mode(self):
        return self.center + self.spread * self.distribution.mode()

    def _stddev(self):
        return self.spread * self.distribution.stddev()

    def _variance(self):
        return tf.square(self._stddev())


class LogNormal(tfd.Distribution):
    """x = exp(y), elementwise, for normal y: log p(x) = log p_y(log x) - log x.

    Args:
        normal: the distribution of y, a `tfd.Normal` or an `Affine` of one.
    """

    def __init__(self, normal, validate_args=False, allow_nan_stats=True, name="LogNormal"):
        parameters = dict(locals())
        self.normal = normal
        super().__init__(
            dtype=normal.dtype,
            reparameterization_type=normal.reparameterization_type,
            validate_args=validate_args,
            allow_nan_stats=allow_nan_stats,
            parameters=parameters,
            name=name,
        )

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return {"normal": util.BatchedComponentProperties()}

    def _event_shape(self):
        return tf.TensorShape([])

    def _event_shape_tensor(self):
        return tf.constant([], tf.int32)

    def _log_prob(self, x):
        y = tf.math.log(x)
        return self.normal.log_prob(y) - y

    def _cdf(self, x):
        return self.normal.cdf(tf.math.log(x))

    def _quantile(self, value):
        return tf.exp(self.normal.quantile(value))

    def _sample_n(self, n, seed=None):
        return tf.exp(self.normal.sample(n, seed=seed))

    def _mean(self):
        return tf.exp(self.normal.mean() + 0.5 * self.normal.variance())

    def _stddev(self):
        return self._mean() * tf.sqrt(tf.math.expm1(self.normal.variance()))

    def _variance(self):
        return tf.square(self._stddev())
