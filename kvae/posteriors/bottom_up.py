"""The posterior of a hierarchy from the bottom up."""

import keras

from kvae.numerics.arguments import sizes
from kvae.numerics.group_networks import GroupNetwork, unit_normal
from kvae.posteriors.hierarchy import Hierarchy


@keras.saving.register_keras_serializable("kvae")
class BottomUp(Hierarchy):
    """The posterior of a hierarchy z = (z_1, ..., z_L) from the bottom up, that of Burda's model of two layers.

    q(z|x) = q(z_1|x) prod_(l>1) N(z_l; m_l, diag(s_l^2)),   m_l, s_l functions of z_(l-1)

    It goes with a decoder that sees z_1 alone (`kvae.networks.FirstGroup`): given z_1, x then tells nothing more of the
    groups above. With a decoder that sees more than z_1 it is too narrow a family. Each function is a dense network
    with tanh; s = min(floor + softplus(u), cap).

    The parameters are (m, u) of z_1: twice its size. The KL term of a group is E_q log q(z_l|z_(l-1)) -
    log p(z_l|z_(l+1), ...), which may be negative in one group.

    Args:
        groups: the sizes of z_1, ..., z_L, whose sum is the number of latent dimensions; or L, for groups as equal as
            can be. Those of the prior must be the same.
        hidden: the sizes of each network's hidden layers; () makes m and u affine.
        floor, cap: the smallest and the largest scale.
        project, name, dtype: see `kvae.posteriors.Posterior`.

    Reference: Burda, Grosse, Salakhutdinov (2016), Importance weighted autoencoders, arXiv 1509.00519.
    """

    def __init__(
        self, groups=2, hidden=(64,), floor: float = 1e-5, cap: float = 1e3, project: bool = True,
        name: str | None = None, dtype: str | None = None,
    ):  # fmt: skip
        super().__init__(groups=groups, floor=floor, cap=cap, project=project, name=name, dtype=dtype)
        self.hidden = sizes("hidden", hidden)

    def get_config(self):
        """Plain configuration: the constructor's arguments."""
        return super().get_config() | {"hidden": self.hidden}

    @property
    def order(self):
        """The numbers of the groups in the order of the draws: from the bottom up."""
        return list(range(len(self.group_sizes)))

    def _starts(self, group_sizes):
        return [unit_normal(group_sizes[0])]

    def _add_networks(self):
        self.networks = []
        for number, size in enumerate(self.group_sizes[1:], start=1):
            network = GroupNetwork(size, self.hidden, names=f"group_{number + 1}_", dtype=self.compute_dtype)
            network.build((None, self.group_sizes[number - 1]))
            self.networks.append(network)

    def _group(self, features, number, groups):
        return self._normal(features[0] if number == 0 else self.networks[number - 1](groups[number - 1]))
