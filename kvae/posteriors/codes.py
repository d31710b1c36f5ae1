"""What posteriors over codes have in common."""

import math

import tensorflow as tf

from kvae.numerics.codes import PointMass
from kvae.posteriors.base import Posterior
from kvae.posteriors.code_usage import CodePerplexity, CodeUsage


class CodePosterior(Posterior):
    """Abstract: q(z|x) is a point mass at a code, log q(z|x) = 0.

    z has M positions of `dim` numbers, D = M dim, and at each position one of `codes` codes. It takes a prior with a
    mass over the codes, `kvae.priors.Codes`. Then ELBO = log p(x|z) + log p(code) is a bound on log p(x), and its KL
    term is the length of the code in nats.

    An encoder's flat features are projected to all D numbers. A feature map `[h, w, C]`, or one of any number of axes,
    is projected to `dim` numbers at each of its places, which are the positions: D = h w dim. The decoder takes D
    numbers, and may begin with `keras.layers.Reshape((h, w, dim))`.

    Attributes:
        codes, dim: K, and the numbers of a position.
        positions: M.
    """

    measure = "mass"
    has_bijector = False
    codes: int
    dim: int
    positions: int

    def build(self, feature_shape, latent_dim):
        """Make the projection from features `[B, F]` or `[B, h, w, C]` to the D numbers that are quantised."""
        *places, size = feature_shape
        self.latent_dim, name = int(latent_dim), type(self).__name__
        self.positions = self.latent_dim // self.dim
        if self.latent_dim % self.dim:
            raise ValueError(
                f"{name} has {self.dim} numbers at each position, so that the number of latent dimensions must be a "
                f"multiple of {self.dim}, but the decoder takes {latent_dim}. Give it another latent_dim."
            )
        if places and math.prod(places) != self.positions:
            raise ValueError(
                f"The encoder's feature map has {' x '.join(map(str, places))} places, at each of which {name} has a "
                f"code of {self.dim} numbers: the decoder must take {math.prod(places) * self.dim} latent dimensions, "
                f"not {latent_dim}. End the encoder with keras.layers.Flatten() for another number of codes."
            )
        units = self.dim if places else self._units(self.latent_dim)
        if not self.project and size != units:
            raise self._wrong_size("encoder", tuple(feature_shape), (*places, units))
        self._add_projection(units, [0.0] * units)
        if self.projection is not None:
            self.projection.build((None, *feature_shape))

    def _units(self, latent_dim):
        return latent_dim

    def _bias(self, latent_dim):
        return [0.0] * latent_dim

    def parameters(self, features):
        """What is quantised, `[B, D]`, for an encoder's features."""
        return tf.reshape(super().parameters(features), [-1, self.latent_dim])

    def of(self, parameters) -> PointMass:
        """The point mass at the code of parameters `[B, D]`: batch `[B]`, event `[latent_dim]`."""
        code, indices = self._quantised(parameters)
        return PointMass(code, indices, parameters)

    def _quantised(self, parameters) -> tuple:
        """The code `[B, D]`, with a gradient, and its indices `[B, M]`."""
        raise NotImplementedError

    def index(self, z):
        """The indices of the code nearest to z `[..., D]`, int32 `[..., M]`."""
        raise NotImplementedError

    def code(self, indices):
        """The z `[..., D]` of indices `[..., M]`."""
        raise NotImplementedError

    @property
    def noise_size(self) -> int:
        """A draw takes no noise."""
        return 0

    def draw(self, q, eps):
        """The code `[S, B, D]`."""
        return tf.repeat(q.mean()[None], tf.shape(eps)[0], axis=0)

    def drawn(self, q, eps):
        """The code, and log q(z|x) = 0."""
        z = self.draw(q, eps)
        return z, tf.zeros(tf.shape(z)[:-1], z.dtype)

    def pair(self, prior) -> None:
        """Check that the prior has a mass over codes."""
        if prior.measure != self.measure:
            raise ValueError(
                f"{type(self).__name__} gives codes, which need a prior with a mass over them, and "
                f"{type(prior).__name__} has a density: a mass and a density make no ELBO. Give "
                "prior=kvae.priors.Codes()."
            )

    def trackers(self) -> dict:
        """`usage`, the part of the codes that occur in an epoch, and `perplexity`, exp of their entropy."""
        usage = CodeUsage(self.codes)
        return {"usage": usage, "perplexity": CodePerplexity(usage)}

    def details(self, q, terms) -> dict:
        """The indices, for both."""
        return {"usage": q.indices, "perplexity": q.indices}

    def export(self, q) -> dict:
        """The code: its z, and its indices, int32 `[B, M]`."""
        return {"mean": self.center(q), "indices": q.indices}
