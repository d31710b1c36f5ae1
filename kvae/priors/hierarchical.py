"""A prior of several groups, each given those above."""

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from kvae.families import scale_range
from kvae.numerics.arguments import sizes
from kvae.numerics.elementary import positive
from kvae.numerics.group_networks import GroupNetwork
from kvae.numerics.grouped_normal import GroupedNormal, checked_groups, sizes_of
from kvae.numerics.normals import MultivariateNormalDiag
from kvae.priors.base import Prior


@keras.saving.register_keras_serializable("kvae")
class Hierarchical(Prior):
    """A hierarchy of latents z = (z_1, ..., z_L), drawn from the top down.

    p(z) = N(z_L; 0, I) prod_(l<L) N(z_l; m_l, diag(s_l^2)),   m_l, s_l functions of z_(l+1), ..., z_L

    Each function is a dense network with tanh; s = min(floor + softplus(u), cap). All begin near N(0, I). The decoder
    takes z whole, z_1 first; one that shall see z_1 alone begins with `kvae.networks.FirstGroup`. The posterior is one
    of `TopDown`, `Ladder` and `BottomUp` with the same groups, or any other. With one group the prior is N(0, I). In
    a conditional model it does not depend on the condition.

    Args:
        groups: the sizes of z_1, ..., z_L, whose sum is the number of latent dimensions; or L, for groups as equal as
            can be.
        hidden: the sizes of each network's hidden layers; () makes m and u affine.
        floor, cap: the smallest and the largest scale.
        name, dtype: of the layer.

    References: Burda, Grosse, Salakhutdinov (2016), arXiv 1509.00519 (two layers). Sønderby et al. (2016), Ladder
    variational autoencoders, arXiv 1602.02282.
    """

    group_sizes: tuple[int, ...]

    def __init__(
        self, groups=2, hidden=(64,), floor: float = 1e-3, cap: float = 1e3, name: str | None = None,
        dtype: str | None = None,
    ):  # fmt: skip
        super().__init__(name=name, dtype=dtype)
        self.groups, self.hidden = checked_groups(groups), sizes("hidden", hidden)
        self.floor, self.cap = scale_range(floor, cap)

    def get_config(self):
        """Plain configuration: the constructor's arguments."""
        own = {"groups": self.groups, "hidden": self.hidden, "floor": self.floor, "cap": self.cap}
        return super().get_config() | own

    def build(self, latent_dim, condition_shape=None):
        """Make a network for every group but the top one."""
        super().build(latent_dim)
        self.group_sizes, self.networks = sizes_of(self.groups, self.latent_dim), []
        for number, size in enumerate(self.group_sizes[:-1]):
            names = f"group_{number + 1}_"
            network = GroupNetwork(size, self.hidden, flat=True, names=names, dtype=self.compute_dtype)
            network.build((None, sum(self.group_sizes[number + 1 :])))
            self.networks.append(network)

    def group(self, number: int, groups: list):
        """m and s of a group `[..., size]`, given those above it in the list of all."""
        if number == len(self.group_sizes) - 1:
            zeros = tf.zeros([self.group_sizes[-1]], self.compute_dtype)
            return zeros, tf.ones_like(zeros)
        m, raw = tf.split(self.networks[number](tf.concat(groups[number + 1 :], axis=-1)), 2, axis=-1)
        return m, positive(raw, self.floor, self.cap)

    def distribution(self, encode=None, condition=None) -> tfd.Distribution:
        """p(z): batch `[]`, event `[latent_dim]`."""
        del encode, condition
        if len(self.group_sizes) == 1:
            return MultivariateNormalDiag(*self.group(0, []))
        order = reversed(range(len(self.group_sizes)))
        return GroupedNormal(self.group_sizes, order, self.group, tf.constant([], tf.int32), [], self.compute_dtype)
