"""What the posteriors of hierarchies have in common."""

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from kvae.numerics.elementary import positive
from kvae.numerics.grouped_normal import GroupedNormal, checked_groups, sizes_of
from kvae.numerics.normals import MultivariateNormalDiag
from kvae.posteriors.base import NormalPosterior


class Hierarchy(NormalPosterior):
    """Abstract: q(z|x) over groups z = (z_1, ..., z_L), each normal given x and groups drawn before.

    With one group q is `DiagonalNormal`'s. Beside the prior `Hierarchical` the model reports the KL term of each group,
    `kl_1`, `kl_2`, ..., whose sum is `kl`.
    """

    relative = True
    has_own_weights = True

    def __init__(self, groups=2, floor: float = 1e-5, cap: float = 1e3, project=True, name=None, dtype=None):
        super().__init__(floor=floor, cap=cap, project=project, name=name, dtype=dtype)
        self.groups = checked_groups(groups)
        self.prior_group = unit_group  # of the prior, see `pair`
        self._with_kl_by_group = False

    def get_config(self):
        """Plain configuration: the constructor's arguments."""
        return super().get_config() | {"groups": self.groups}

    def build(self, feature_shape, latent_dim):
        """Make the projection and the networks between the groups."""
        self.group_sizes = sizes_of(self.groups, int(latent_dim))
        super().build(feature_shape, latent_dim)
        self._add_networks()

    def _add_networks(self):
        """Make the networks between the groups, where there are any."""

    def _starts(self, group_sizes) -> list[list[float]]:
        """What the projection's bias starts at, for each group that takes features of x."""
        raise NotImplementedError

    def _units(self, latent_dim):
        return len(self._bias(latent_dim))

    def _bias(self, latent_dim):
        return [number for start in self._starts(sizes_of(self.groups, latent_dim)) for number in start]

    def pair(self, prior) -> None:
        """Take the prior's groups. To a prior without any, each group's is N(0, I).

        Raises:
            ValueError: where they have other sizes.
        """
        if prior.group_sizes is None:
            return
        if prior.group_sizes != self.group_sizes:
            raise ValueError(
                f"{type(self).__name__} has groups of {self.group_sizes}, and {type(prior).__name__} of "
                f"{prior.group_sizes}. Give both the same groups=."
            )
        self.prior_group = prior.group
        self._with_kl_by_group = len(self.group_sizes) > 1

    @property
    def order(self) -> list[int]:
        """The numbers of the groups in the order of the draws: from the top down."""
        return list(reversed(range(len(self.group_sizes))))

    def _group(self, features: list, number: int, groups: list):
        """m and s of a group, given features of x for each and the groups drawn before."""
        raise NotImplementedError

    def _normal(self, parameters):
        """m and s of parameters (m, u)."""
        m, raw = tf.split(parameters, 2, axis=-1)
        return m, positive(raw, self.floor, self.cap)

    def of(self, parameters) -> tfd.Distribution:
        """q for parameters `[B, units]`: batch `[B]`, event `[latent_dim]`."""
        if len(self.group_sizes) == 1:
            return MultivariateNormalDiag(*self._normal(parameters))
        features = tf.split(parameters, [len(start) for start in self._starts(self.group_sizes)], axis=-1)
        batch = tf.shape(parameters)[:-1], parameters.shape[:-1]
        return GroupedNormal(
            self.group_sizes, self.order, lambda *given: self._group(features, *given), *batch, parameters.dtype
        )

    def drawn(self, q, eps):
        """`draw`, and log q(z|x) out of the noise."""
        return q.drawn(eps) if isinstance(q, GroupedNormal) else super().drawn(q, eps)

    def center(self, q):
        """The z `[B, D]` of zero noise: each group at its mean given the groups drawn before at theirs."""
        shape = tf.concat([q.batch_shape_tensor(), q.event_shape], axis=0)
        return q.bijector.forward(tf.zeros(shape, q.dtype))

    def spread(self, q):
        """The scale of each group, given the others at the center, `[B, D]`."""
        if not isinstance(q, GroupedNormal):
            return super().spread(q)
        center = self.center(q)
        pairs = zip(q.split(center), q.given(center), strict=True)
        return tf.concat([s + tf.zeros_like(one) for one, (_, s) in pairs], axis=-1)

    def trackers(self) -> dict:
        """The KL term of each group."""
        return super().trackers() | {name: keras.metrics.Mean(name=name) for name in self._kl_names()}

    def details(self, q, terms) -> dict:
        """The KL term of each group, see `kvae.numerics.divergences.kl_per_group`."""
        if not self._with_kl_by_group:
            return {}
        return dict(zip(self._kl_names(), tf.unstack(terms.kl_per_group, axis=-1), strict=True))

    def _kl_names(self) -> list[str]:
        return [f"kl_{number + 1}" for number in range(len(self.group_sizes) * self._with_kl_by_group)]


def unit_group(number: int, groups: list):
    """m and s of a group of N(0, I)."""
    del number, groups
    return 0.0, 1.0
