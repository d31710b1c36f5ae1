"""Codes: a point mass at one of finitely many z, a mass over them, and what quantisation needs.

z has M positions, and at each of them one of K codes. A code of the whole z is M numbers from 0 to K - 1, its indices.
"""

import math

import tensorflow as tf
from tensorflow_probability import distributions as tfd
from tensorflow_probability import util as tfp_util

from kvae.numerics.gradients import custom_gradient

_TIE = 1e-6  # of the squared size of what is compared: distances that differ by less are equal


class PointMass(tfd.Distribution):
    """All the mass at one code: log q(z) = 0 there, -inf elsewhere.

    Args:
        code: `[B, D]`, the z that the code stands for; its gradient is that of the quantiser.
        indices: int32 `[B, M]`.
        inputs: `[B, D]`, what was quantised.
    """

    def __init__(self, code, indices, inputs, name: str = "PointMass"):
        parameters = dict(locals())
        self.code, self.indices, self.inputs = code, indices, inputs
        super().__init__(
            dtype=code.dtype,
            reparameterization_type=tfd.FULLY_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=True,
            parameters=parameters,
            name=name,
        )

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        del dtype, num_classes
        return {name: tfp_util.ParameterProperties(event_ndims=1) for name in ("code", "indices", "inputs")}

    def _event_shape_tensor(self):
        return tf.shape(self.code)[-1:]

    def _event_shape(self):
        return self.code.shape[-1:]

    def _log_prob(self, z):
        here = tf.reduce_all(tf.equal(z, self.code), axis=-1)
        return tf.where(here, tf.zeros([], self.dtype), tf.constant(-math.inf, self.dtype))

    def _mean(self):
        return self.code

    def _mode(self):
        return self.code

    def _stddev(self):
        return tf.zeros_like(self.code)

    def _variance(self):
        return tf.zeros_like(self.code)

    def _sample_n(self, n, seed=None):
        return tf.repeat(self.code[None], n, axis=0)


class CodeMass(tfd.Distribution):
    """A mass over the codes of z: log p(z) = log p(indices), -inf where z is no code.

    Args:
        log_mass: from indices `[..., M]` to log p, `[...]`.
        index: from z `[..., D]` to the indices of the nearest code.
        code: from indices to z.
        size: D.
        dtype: of z and of log p.
    """

    def __init__(self, log_mass, index, code, size: int, dtype, name: str = "CodeMass"):
        parameters = dict(locals())
        self.log_mass, self.index, self.code, self.size = log_mass, index, code, size
        super().__init__(
            dtype=tf.as_dtype(dtype),
            reparameterization_type=tfd.NOT_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=True,
            parameters=parameters,
            name=name,
        )

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        del dtype, num_classes
        return {}

    def _batch_shape_tensor(self, **parameters):
        return tf.constant([], tf.int32)

    def _batch_shape(self):
        return tf.TensorShape([])

    def _event_shape_tensor(self):
        return tf.constant([self.size])

    def _event_shape(self):
        return tf.TensorShape([self.size])

    def _log_prob(self, z):
        indices = self.index(z)
        is_code = tf.reduce_all(tf.equal(self.code(indices), z), axis=-1)
        return tf.where(is_code, self.log_mass(indices), tf.constant(-math.inf, self.dtype))


@tfd.RegisterKL(PointMass, CodeMass)
def _kl(q, p, name=None):
    """The length of the code in nats: -log p(code)."""
    with tf.name_scope(name or "kl_point_mass_code_mass"):
        return -p.log_mass(q.indices)


def straight_through(value, carrier):
    """`value`, exactly, with the gradient of `carrier` (Bengio et al. 2013, arXiv 1308.3432)."""

    return _with_the_gradient_of(value, carrier)


@custom_gradient
def _with_the_gradient_of(value, carrier):
    return tf.identity(value), lambda upstream: (None, upstream)


def nearest(x, codewords):
    """The number of the nearest codeword `[K, d]` to x `[N, d]`, int32 `[N]`: of equally near ones the first.

    Distances are equal when they differ by no more than rounding, which is another for every compiler.
    """
    sizes = tf.reduce_sum(tf.square(codewords), axis=-1)
    distance = sizes - 2.0 * tf.matmul(x, codewords, transpose_b=True)  # less |x|^2
    largest = tf.reduce_sum(tf.square(x), axis=-1, keepdims=True) + tf.reduce_max(sizes)
    least = tf.reduce_min(distance, axis=-1, keepdims=True)
    return tf.argmax(tf.cast(distance <= least + _TIE * largest, x.dtype), axis=-1, output_type=tf.int32)


def inverse(mass, uniform):
    """The index `[...]` at which the cumulated mass `[..., K]` passes a uniform number `[...]`, int32."""
    below = tf.cumsum(mass, axis=-1)[..., :-1] <= uniform[..., None]
    return tf.reduce_sum(tf.cast(below, tf.int32), axis=-1)
