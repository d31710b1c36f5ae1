"""The normal posterior whose covariance is diagonal plus low rank."""

import keras
import tensorflow as tf

from kvae.numerics import low_rank
from kvae.numerics.arguments import whole
from kvae.numerics.elementary import UNIT_SOFTPLUS, positive
from kvae.posteriors.base import NormalPosterior

_LARGEST = 100.0  # of |W_ij|


@keras.saving.register_keras_serializable("kvae")
class LowRankNormal(NormalPosterior):
    """The normal posterior with a diagonal covariance plus one of low rank.

    q(z|x) = N(z; m, diag(s^2) + V V^T),   z = m + s * eps_1 + V eps_2,   V = diag(s) W

    s = min(floor + softplus(u), cap),   W_ij = 100 tanh(w_ij / 100)

    It follows the strongest correlations at a cost that grows with D, where `FullNormal`'s grows with D^2. KL to a
    diagonal normal prior, mean and standard deviation are in closed form. A draw takes D + rank normal numbers, so that
    z has no noise of its own: annealed chains do not run back to this q.

    The parameters are (m, u, w): 2 D + D rank numbers, w row by row, so `project=False` takes an encoder with as many
    outputs.

    Args:
        rank: the number of columns of V, at least 1.
        floor, cap: the smallest and the largest scale s.
        project, name, dtype: see `kvae.posteriors.Posterior`.

    Reference: Rezende, Mohamed, Wierstra (2014), Stochastic backpropagation and approximate inference in deep
    generative models, arXiv 1401.4082 (rank one, in the precision).
    """

    has_bijector = False

    def __init__(
        self,
        rank: int = 1,
        floor: float = 1e-5,
        cap: float = 1e3,
        project: bool = True,
        name: str | None = None,
        dtype: str | None = None,
    ):
        super().__init__(floor=floor, cap=cap, project=project, name=name, dtype=dtype)
        self.rank = whole("rank", rank, 1)

    def get_config(self):
        """Plain configuration: the constructor's arguments."""
        return super().get_config() | {"rank": self.rank}

    def _units(self, latent_dim):
        return (2 + self.rank) * latent_dim

    def _bias(self, latent_dim):
        return [0.0] * latent_dim + [UNIT_SOFTPLUS] * latent_dim + [0.0] * self.rank * latent_dim

    def of(self, parameters) -> low_rank.LowRankNormal:
        """q for parameters `[B, (2 + rank) D]`: batch `[B]`, event `[latent_dim]`."""
        size = self.latent_dim
        loc, raw, loadings = tf.split(parameters, [size, size, self.rank * size], axis=-1)
        loadings = tf.reshape(_LARGEST * tf.tanh(loadings / _LARGEST), [-1, size, self.rank])
        loadings = tf.ensure_shape(loadings, [parameters.shape[0], size, self.rank])
        return low_rank.LowRankNormal(loc, positive(raw, self.floor, self.cap), loadings)

    @property
    def noise_size(self):
        """D + rank."""
        return self.latent_dim + self.rank

    def draw(self, q, eps):
        """m + s * eps_1 + V eps_2, `[S, B, D]`."""
        return q.draw(eps)

    def drawn(self, q, eps):
        """`draw` and log q(z|x) there."""
        return q.drawn(eps)

    def export(self, q) -> dict:
        """The mean, the marginal standard deviations, and s and V of the covariance."""
        factor = q.scale_diag[..., None] * q.loadings
        return {"mean": self.center(q), "scale": q.stddev(), "scale_diag": q.scale_diag, "factor": factor}
