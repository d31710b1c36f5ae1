"""The normal distribution whose covariance is diagonal plus low rank."""

import math

import tensorflow as tf
from tensorflow_probability import distributions as tfd


class LowRankNormal(tfd.Distribution):
    """N(z; m, S (I + W W^T) S), S = diag(s): z = m + S (e_1 + W e_2) for standard normal e_1 `[D]` and e_2 `[R]`.

    With the capacitance C = I + W^T W, log det(I + W W^T) = log det C, and for any e_1, e_2 that give z,

    (z - m)^T S^-1 (I + W W^T)^-1 S^-1 (z - m) = |e_1 + W d|^2 + |e_2 - d|^2,   d = C^-1 (e_2 - W^T e_1),

    a sum of squares, so that nothing cancels. C is in float64.

    Args:
        loc, scale: m and s > 0, `[*batch, D]`.
        loadings: W, `[*batch, D, R]`.
    """

    def __init__(self, loc, scale, loadings):
        parameters = dict(locals())
        self.loc, self.scale_diag, self.loadings = loc, scale, loadings
        self._wide = tf.cast(loadings, tf.float64)
        identity = tf.eye(loadings.shape[-1], dtype=tf.float64)
        root = tf.linalg.cholesky(identity + tf.matmul(self._wide, self._wide, transpose_a=True))
        self._inverse = tf.linalg.cholesky_solve(root, tf.broadcast_to(identity, tf.shape(root)))
        self.log_det = tf.cast(2.0 * tf.reduce_sum(tf.math.log(tf.linalg.diag_part(root)), axis=-1), loc.dtype)  # of C
        reparameterized = tfd.FULLY_REPARAMETERIZED
        super().__init__(loc.dtype, reparameterized, validate_args=False, allow_nan_stats=True, parameters=parameters)

    def _batch_shape(self):
        return self.loc.shape[:-1]

    def _batch_shape_tensor(self):
        return tf.shape(self.loc)[:-1]

    def _event_shape(self):
        return self.loc.shape[-1:]

    def _event_shape_tensor(self):
        return tf.shape(self.loc)[-1:]

    def draw(self, eps):
        """z for noise (e_1, e_2) `[..., D + R]`."""
        one, two = self._split(eps)
        return self.loc + self.scale_diag * (one + tf.linalg.matvec(self.loadings, two))

    def drawn(self, eps):
        """`draw`, and log p(z) there."""
        return self.draw(eps), self._log_density(*self._split(eps))

    def _split(self, eps):
        return tf.split(eps, self.loadings.shape[-2:], axis=-1)

    def _log_density(self, one, two):
        one, two = tf.cast(one, tf.float64), tf.cast(two, tf.float64)
        d = tf.linalg.matvec(self._inverse, two - tf.linalg.matvec(self._wide, one, transpose_a=True))
        squares = tf.square(one + tf.linalg.matvec(self._wide, d)), tf.square(two - d)
        total = tf.add_n([tf.reduce_sum(square, axis=-1) for square in squares])
        logs = 2.0 * tf.reduce_sum(tf.math.log(self.scale_diag), axis=-1) + self.log_det
        return -0.5 * (tf.cast(total, self.dtype) + logs + self.loc.shape[-1] * math.log(2.0 * math.pi))

    def _log_prob(self, z):
        one = (z - self.loc) / self.scale_diag
        return self._log_density(one, tf.zeros(self.loadings.shape[-1:], self.dtype))

    def _mean(self):
        return tf.identity(self.loc)

    def _variance(self):
        return tf.square(self.scale_diag) * (1.0 + tf.reduce_sum(tf.square(self.loadings), axis=-1))

    def _covariance(self):
        factor = self.scale_diag[..., None] * self.loadings
        return tf.linalg.diag(tf.square(self.scale_diag)) + tf.matmul(factor, factor, transpose_b=True)

    def _entropy(self):
        size = self.loc.shape[-1]
        logs = tf.reduce_sum(tf.math.log(self.scale_diag), axis=-1) + 0.5 * self.log_det
        return logs + 0.5 * size * (1.0 + math.log(2.0 * math.pi))

    def _sample_n(self, n, seed=None):
        size = [self.loadings.shape[-2] + self.loadings.shape[-1]]
        shape = tf.concat([[n], self._batch_shape_tensor(), size], axis=0)
        normal = tfd.Normal(tf.zeros([], self.dtype), tf.ones([], self.dtype))
        return self.draw(normal.sample(shape, seed=seed))
