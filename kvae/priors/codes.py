"""The priors of posteriors over codes."""

import keras
import tensorflow as tf

from kvae.numerics.arguments import choice, number, shown, whole
from kvae.numerics.codes import CodeMass
from kvae.numerics.elementary import uniform
from kvae.priors.autoregressive_mass import AutoregressiveMass
from kvae.priors.base import Prior
from kvae.priors.independent_masses import CategoricalMass, UniformMass

KINDS = ("uniform", "categorical", "autoregressive")


@keras.saving.register_keras_serializable("kvae")
class Codes(Prior):
    """A mass over the codes of `kvae.posteriors.FiniteScalar` or `VectorQuantized`: one of K at each of M positions.

    "uniform": p = K^-M. The KL term is M log K nats for every x, and has no gradient.
    "categorical": prod_m p_m(k_m), with weights for every position, uniform at first.
    "autoregressive": prod_m p(k_m | k_1, ..., k_m-1) by a small causal transformer, uniform at first.

    The weights are trained with the others, by the gradient of log p(code). The encoder gets none from it, since an
    index is a whole number. "categorical" can also be fitted to codes in closed form, `fit_codes`; there
    `vae.fit_prior` lets "autoregressive" begin.

    A draw takes one number of noise for each position: the index at which the cumulated mass passes it.
    "autoregressive" runs its network M times for a draw, and once for log p.

    Args:
        kind: one of the three.
        units, layers, heads: of the transformer: the width, a multiple of heads; the number of blocks, each of
            self-attention and two dense layers; the number of heads.
        name, dtype: of the layer.

    Raises:
        ValueError: where a model is made of it with a posterior that has no codes.
    """

    has_bijector = False
    measure = "mass"

    def __init__(
        self,
        kind: str = "uniform",
        units: int = 64,
        layers: int = 2,
        heads: int = 4,
        name: str | None = None,
        dtype: str | None = None,
    ):
        super().__init__(name=name, dtype=dtype)
        self.kind = choice("kind", kind, KINDS)
        self.units, self.layers = whole("units", units, 1), whole("layers", layers, 1)
        self.heads = whole("heads", heads, 1)
        if self.units % self.heads:
            raise ValueError(
                f"Codes needs units in a multiple of heads, got units={self.units} and heads={self.heads}."
            )
        options = {"name": "mass", "dtype": self.compute_dtype}
        self.mass: keras.layers.Layer
        if self.kind == "autoregressive":
            self.mass = AutoregressiveMass(self.units, self.layers, self.heads, **options)
        else:
            self.mass = (UniformMass if self.kind == "uniform" else CategoricalMass)(**options)

    def get_config(self):
        """Plain configuration: the constructor's arguments."""
        own = {"kind": self.kind, "units": self.units, "layers": self.layers, "heads": self.heads}
        return super().get_config() | own

    def pair(self, posterior) -> None:
        """Take the posterior's codes, and make the weights."""
        if posterior.measure != self.measure:
            raise ValueError(
                f"Codes is a mass over codes, and the {type(posterior).__name__} posterior has none. Give "
                "posterior=kvae.posteriors.FiniteScalar() or VectorQuantized(), or another prior."
            )
        self.positions, self._index, self._code = posterior.positions, posterior.index, posterior.code
        if not self.mass.built:
            self.mass.build(posterior.positions, posterior.codes)

    def distribution(self, encode=None, condition=None) -> CodeMass:
        """The mass over z: batch `[]`, event `[latent_dim]`."""
        del encode, condition
        return CodeMass(self.mass.log_mass, self._index, self._code, self.latent_dim, self.compute_dtype)

    @property
    def noise_size(self) -> int:
        """M."""
        return self.positions

    @property
    def widest(self) -> int:
        """The logits of all positions, where they depend on z."""
        return self.positions * self.mass.codes if self.kind == "autoregressive" else self.latent_dim

    def draw(self, p, eps):
        """z `[B, D]`, a code, for standard normal noise eps `[B, M]`."""
        return self._code(self.mass.draw(uniform(eps)))

    def fit_codes(self, z, seed: int = 0, pseudo_count: float = 0.5) -> bool:
        """Fit "categorical" to codes: p_m(k) = (n_mk + a) / (N + a K), n_mk of N codes having k at position m.

        With a = 0 the mean KL term of these codes is then the sum of the entropies of their counts, the least that a
        mass of this kind has; but a code that does not occur has p = 0, and an x with it an ELBO of -inf.

        Args:
            z: codes of examples, `[N, latent_dim]`, such as `vae.encode(x).mean()`.
            seed: not used.
            pseudo_count: a, at least 0.

        Returns:
            Whether it was done: False for the other kinds, "uniform" without weights, and "autoregressive" without a
            closed form.

        Raises:
            ValueError: for a z of another shape.
        """
        del seed
        pseudo_count = number("pseudo_count", pseudo_count, least=0.0)
        z = tf.cast(tf.convert_to_tensor(z), self.compute_dtype)
        if z.shape.rank != 2 or z.shape[0] < 1 or z.shape[1] != self.latent_dim:
            raise ValueError(f"z must be codes of shape [N, {self.latent_dim}], got {shown(tuple(z.shape))}.")
        if self.kind != "categorical":
            return False
        self.mass.fit(self._index(z).numpy(), pseudo_count)
        return True

    def begin_at(self, z) -> None:
        """Begin "autoregressive" at the frequencies of the codes, which is the best "categorical"."""
        if self.kind == "autoregressive":
            self.mass.fit(self._index(tf.cast(tf.convert_to_tensor(z), self.compute_dtype)).numpy(), 0.5)
