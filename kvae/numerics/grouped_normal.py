"""Normal numbers in groups, each group given others: the distribution of a hierarchy of latents."""

import math
from collections.abc import Callable

import tensorflow as tf
from tensorflow_probability import distributions as tfd
from tensorflow_probability.python.internal import samplers

from kvae.numerics.arguments import is_number, shown, sizes, whole

Group = tuple[tf.Tensor, tf.Tensor]  # mean and scale


class GroupedNormal(tfd.Distribution):
    """z = (z_1, ..., z_L), groups of normal numbers that are drawn one after another.

    p(z) = prod_l N(z_l; m_l, diag(s_l^2)),   z_l = m_l + s_l eps_l,   m_l, s_l functions of the groups drawn before

    So z is a function of noise that can be inverted, and its Jacobian matrix is triangular in the order of the draws:
    log p(z) = log N(eps; 0, I) - sum log s. The mean and the covariance of z have no closed form.

    Args:
        group_sizes: of the groups, in their order in z.
        order: the numbers of the groups, from 0, in the order of the draws.
        group: (number, groups) to m, s of one group `[..., size]`; `groups` is a list of all, of which those drawn
            before may be used.
        batch: the shape of the batch, a tensor; m and s broadcast to it.
        static_batch: what is known of it.
    """

    def __init__(self, group_sizes, order, group: Callable[[int, list], Group], batch, static_batch, dtype):
        parameters = dict(locals())
        self.group_sizes, self.order, self._group = tuple(group_sizes), tuple(order), group
        self._batch, self._static_batch = batch, tf.TensorShape(static_batch)
        super().__init__(
            dtype=tf.as_dtype(dtype),
            reparameterization_type=tfd.FULLY_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=True,
            parameters=parameters,
            name="GroupedNormal",
        )

    @property
    def bijector(self) -> "GroupedNormal":
        """From noise to z and back: `forward`, `inverse`."""
        return self

    def forward(self, eps):
        """z `[..., D]` for noise eps `[..., D]`, whose shape is that of the batch or broadcasts to it."""
        return self.drawn(eps)[0]

    def inverse(self, z):
        """The noise that z `[..., D]` came from, whose shape is that of the batch or broadcasts to it."""
        pairs = zip(self.split(z), self.given(z), strict=True)
        return tf.concat([(one - m) / s for one, (m, s) in pairs], axis=-1)

    def drawn(self, eps) -> tuple[tf.Tensor, tf.Tensor]:
        """`forward`, and log p(z) `[...]` out of the noise."""
        noise, groups, log_scale = self.split(eps), [None] * len(self.group_sizes), 0.0
        for number in self.order:
            m, s = self._group(number, groups)
            groups[number] = m + s * noise[number]
            log_scale += tf.reduce_sum(tf.math.log(s), axis=-1)
        return tf.concat(groups, axis=-1), -0.5 * tf.reduce_sum(tf.square(eps), axis=-1) - self._constant - log_scale

    def given(self, z) -> list[Group]:
        """m and s of every group, in their order in z, where the others are those of z `[..., D]`."""
        groups = self.split(z)
        return [self._group(number, groups) for number in range(len(groups))]

    def split(self, z) -> list[tf.Tensor]:
        """The groups of z `[..., D]`."""
        return tf.split(z, self.group_sizes, axis=-1)

    @property
    def _constant(self) -> float:
        return 0.5 * sum(self.group_sizes) * math.log(2.0 * math.pi)

    def _log_prob(self, z):
        total = -self._constant  # group by group: of z [M, 1, D] not every group has the batch's shape
        for one, (m, s) in zip(self.split(z), self.given(z), strict=True):
            total -= tf.reduce_sum(0.5 * tf.square((one - m) / s) + tf.math.log(s), axis=-1)
        return total

    def _sample_n(self, n, seed=None):
        shape = tf.concat([[n], self._batch, self.event_shape], axis=0)
        return self.forward(samplers.normal(shape, dtype=self.dtype, seed=seed))

    def _batch_shape_tensor(self):
        return self._batch

    def _batch_shape(self):
        return self._static_batch

    def _event_shape_tensor(self):
        return tf.constant(self.event_shape, tf.int32)

    def _event_shape(self):
        return tf.TensorShape([sum(self.group_sizes)])


def checked_groups(groups) -> int | tuple[int, ...]:
    """A number of groups, or their sizes.

    Raises:
        ValueError: for anything else.
    """
    return whole("groups", groups, 1) if is_number(groups) else sizes("groups", groups)


def sizes_of(groups: int | tuple[int, ...], latent_dim: int) -> tuple[int, ...]:
    """The sizes of the groups of z; a number of groups are as equal as can be, the first ones the larger.

    Raises:
        ValueError: where they do not make up `latent_dim`.
    """
    if isinstance(groups, int) and groups <= latent_dim:
        small, more = divmod(latent_dim, groups)
        return (small + 1,) * more + (small,) * (groups - more)
    if isinstance(groups, int) or sum(groups) != latent_dim:
        raise ValueError(
            f"groups={shown(groups)} do not make up the z of {latent_dim} numbers that the decoder takes. Give sizes "
            "whose sum it is, or a number of groups that is not larger."
        )
    return groups
