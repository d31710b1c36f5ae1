"""The posterior of a hierarchy as a ladder: the encoder's normals times the prior's."""

import keras
import tensorflow as tf

from kvae.numerics.group_networks import unit_normal
from kvae.posteriors.hierarchy import Hierarchy


@keras.saving.register_keras_serializable("kvae")
class Ladder(Hierarchy):
    """The posterior of a ladder VAE over z = (z_1, ..., z_L), from the top down, without weights between the groups.

    q(z|x) = q(z_L|x) prod_(l<L) N(z_l; m_l, diag(s_l^2)),   1/s^2 = 1/s_x^2 + 1/t^2,   m = s^2 (m_x/s_x^2 + n/t^2)

    m_x and s_x are functions of x; n and t are the mean and the scale of the prior's p(z_l | z_(l+1), ..., z_L). Each
    group is the product of the two normals, weighted by their precisions, as in Bayes' rule. The top group is
    N(m_x, diag(s_x^2)).

    The parameters are (m_x, u) of each group in turn, s_x = min(floor + softplus(u), cap): 2 D numbers.

    Args:
        groups: the sizes of z_1, ..., z_L, whose sum is the number of latent dimensions; or L, for groups as equal as
            can be. Those of the prior must be the same.
        floor, cap: the smallest and the largest s_x.
        project, name, dtype: see `kvae.posteriors.Posterior`.

    Reference: Sønderby, Raiko, Maaløe, Sønderby, Winther (2016), Ladder variational autoencoders, arXiv 1602.02282.
    """

    def _starts(self, group_sizes):
        return [unit_normal(size) for size in group_sizes]

    def _group(self, features, number, groups):
        m, s = self._normal(features[number])
        if number == len(self.group_sizes) - 1:
            return m, s
        return product(m, s, *self.prior_group(number, groups))


def product(m, s, n, t):
    """Mean and scale of the normal in proportion to N(z; m, s^2) N(z; n, t^2)."""
    total = s * s + t * t
    return (m * t * t + n * s * s) / total, s * t / tf.sqrt(total)
