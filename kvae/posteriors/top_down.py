"""The posterior of a hierarchy from the top down, relative to the prior."""

import keras
import tensorflow as tf

from kvae.numerics.arguments import flag, sizes
from kvae.numerics.group_networks import GroupNetwork, unit_normal
from kvae.posteriors.hierarchy import Hierarchy


@keras.saving.register_keras_serializable("kvae")
class TopDown(Hierarchy):
    """The posterior of a hierarchy z = (z_1, ..., z_L) from the top down, written relative to the prior.

    q(z|x) = q(z_L|x) prod_(l<L) N(z_l; n_l + d_l, diag((t_l r_l)^2)),   (d_l, u_l) = network_l(x, z_(l+1), ..., z_L)

    n_l and t_l are the mean and the scale of the prior's p(z_l | z_(l+1), ..., z_L), r_l = min(floor + softplus(u_l),
    cap). So a group in which x adds nothing is at the prior for d = 0, r = 1, and keeps there while the prior moves.
    KL_l = 1/2 sum_j (d^2 / t^2 + r^2 - log r^2 - 1). The top group is N(m(x), diag(s(x)^2)).

    The features of x go into the first layer of each network. Its part of the groups above begins at zero: training
    begins with groups that are independent given x.

    The parameters are, for each group but the top one, the features' part of its network's first layer: hidden[0]
    numbers, or 2 size where hidden is (); then (m, u) of the top group.

    Args:
        groups: the sizes of z_1, ..., z_L, whose sum is the number of latent dimensions; or L, for groups as equal as
            can be. Those of the prior must be the same.
        hidden: the sizes of each network's hidden layers, with tanh; () makes d and u affine.
        residual: False for n = 0, t = 1: then q does not depend on the prior.
        floor, cap: the smallest and the largest r, and scale of the top group.
        project, name, dtype: see `kvae.posteriors.Posterior`.

    Reference: Vahdat, Kautz (2020), NVAE: a deep hierarchical variational autoencoder, arXiv 2007.03898.
    """

    def __init__(
        self, groups=2, hidden=(64,), residual: bool = True, floor: float = 1e-5, cap: float = 1e3,
        project: bool = True, name: str | None = None, dtype: str | None = None,
    ):  # fmt: skip
        super().__init__(groups=groups, floor=floor, cap=cap, project=project, name=name, dtype=dtype)
        self.hidden, self.residual = sizes("hidden", hidden), flag("residual", residual)

    def get_config(self):
        """Plain configuration: the constructor's arguments."""
        return super().get_config() | {"hidden": self.hidden, "residual": self.residual}

    def _starts(self, group_sizes):
        below = [[0.0] * self.hidden[0] if self.hidden else unit_normal(size) for size in group_sizes[:-1]]
        return [*below, unit_normal(group_sizes[-1])]

    def _add_networks(self):
        self.networks = []
        for number, size in enumerate(self.group_sizes[:-1]):
            names = f"group_{number + 1}_"
            network = GroupNetwork(size, self.hidden, beside=True, names=names, dtype=self.compute_dtype)
            network.build((None, sum(self.group_sizes[number + 1 :])))
            self.networks.append(network)

    def _group(self, features, number, groups):
        if number == len(self.group_sizes) - 1:
            return self._normal(features[number])
        above = tf.concat(groups[number + 1 :], axis=-1)
        m, s = self._normal(self.networks[number](above, features[number]))
        if not self.residual:
            return m, s
        prior_m, prior_s = self.prior_group(number, groups)
        return prior_m + m, prior_s * s
