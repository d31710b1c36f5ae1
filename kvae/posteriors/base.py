"""What a posterior q(z|x) is."""

from tensorflow_probability import distributions as tfd

from kvae.families import Family, scale_range
from kvae.numerics.arguments import undefined
from kvae.numerics.normals import log_prob_of, reparameterized


class Posterior(Family):
    """Abstract: q(z|x), a reparameterised distribution over z.

    A posterior is reparameterised by its bijector: `z = q.bijector.forward(eps)` with eps ~ N(0, I) is the
    g(eps, phi, x) of Kingma and Welling (2013). One whose distribution has none overrides `draw`.

    Class attributes:
        has_density: False where q(z|x) is a point among real numbers; then there is no KL, no ELBO and no
            log-likelihood.
        has_bijector: False where q has none; then no annealed chains run back to q.
        relative: True where q depends on the weights of a prior in groups, see `pair`; then no other prior can be
            fitted to the codes.
        measure: "density", or "mass" where z is one of finitely many codes and q(z|x) a point mass at one of them.
        has_own_weights: True where weights beside the projection say what q is, such as those of a flow.
    """

    has_density = True
    has_bijector = True
    relative = False
    measure = "density"
    has_own_weights = False
    latent_dim: int

    def build(self, feature_shape, latent_dim):
        """Make the projection from features `[B, F]` to the parameters over `latent_dim` dimensions."""
        feature_shape = tuple(feature_shape)
        if len(feature_shape) != 1:
            raise ValueError(
                f"{type(self).__name__} takes flat features from the encoder, but the encoder's output has shape "
                f"{feature_shape} for one example. End the encoder with keras.layers.Flatten() or a global pooling."
            )
        self.latent_dim = int(latent_dim)
        units = self._units(self.latent_dim)
        if not self.project and feature_shape != (units,):
            raise self._wrong_size("encoder", feature_shape, (units,))
        self._add_projection(units, self._bias(self.latent_dim))
        if self.projection is not None:
            self.projection.build((None, *feature_shape))

    def _units(self, latent_dim: int) -> int:
        raise undefined(self, "_units")

    def _bias(self, latent_dim: int) -> list[float]:
        raise undefined(self, "_bias")

    def of(self, parameters) -> tfd.Distribution:
        """q for parameters `[B, units]`: batch `[B]`, event `[latent_dim]`."""
        raise undefined(self, "of")

    def distribution(self, features) -> tfd.Distribution:
        """q(z|x) for encoder features `[B, F]`: batch `[B]`, event `[latent_dim]`."""
        return self.of(self.parameters(features))

    @property
    def noise_size(self) -> int:
        """How many standard normal numbers a draw takes."""
        return self.latent_dim

    def draw(self, q, eps):
        """z = g(eps, phi, x) `[S, B, D]` for standard normal noise eps `[S, B, noise_size]`."""
        return reparameterized(q, eps)

    def drawn(self, q, eps) -> tuple:
        """`draw` and log q(z|x) there, `[S, B]` in nats, which is None for a posterior without a density."""
        z = self.draw(q, eps)
        if not self.has_density:
            return z, None
        return z, log_prob_of(q, z, eps) if type(self).draw is Posterior.draw else q.log_prob(z)

    def center(self, q):
        """The z `[B, D]` that stands for x where nothing is drawn: the mean of q, where it has a closed form."""
        return q.mean()

    def spread(self, q):
        """How wide q is about its center, `[B, D]`: its standard deviations, where they have a closed form."""
        return q.stddev()

    def pair(self, prior) -> None:
        """Take what this posterior has to know of the model's prior. Both are built."""

    def penalty(self, q):
        """What is added to the loss alone, `[B]`, or None."""
        del q

    def update(self, q, weight) -> None:
        """In a training step, move the weights that no gradient moves; `weight` `[B]` is that of the examples."""
        del q, weight

    def trackers(self) -> dict:
        """New metrics by name, which the model reports beside the ELBO; see `details`."""
        return {}

    def details(self, q, terms) -> dict:
        """What the metrics of `trackers` count of a batch with these `kvae.objectives.Terms`: names to values, examples
        first."""
        del q, terms
        return {}

    def export(self, q) -> dict:
        """What the SavedModel's `encode` puts out for q: names to tensors `[B, ...]`."""
        return {"mean": self.center(q), "scale": self.spread(q)}


class NormalPosterior(Posterior):
    """Abstract: the arguments that the normal posteriors share."""

    def __init__(
        self,
        floor: float = 1e-5,
        cap: float = 1e3,
        project: bool = True,
        name: str | None = None,
        dtype: str | None = None,
    ):
        super().__init__(project=project, name=name, dtype=dtype)
        self.floor, self.cap = scale_range(floor, cap)

    def get_config(self):
        """Plain configuration: the constructor's arguments."""
        return super().get_config() | {"floor": self.floor, "cap": self.cap}
