"""What a prior p(z) is."""

from tensorflow_probability import distributions as tfd

from kvae.families import Part
from kvae.numerics.arguments import undefined
from kvae.numerics.normals import reparameterized


class Prior(Part):
    """Abstract: p(z), or p(z|c) in a conditional model, used through `.distribution(encode, condition)`.

    Draws come from noise through the distribution's bijector; a prior whose distribution has none overrides `draw`.

    Class attributes:
        conditional: True where the prior depends on the condition.
        has_bijector: False where the distribution has none; then no annealed chains run back to it.
        group_sizes: of the groups of z that are drawn one after another, see `Hierarchical`; None where z is one.
        of_inputs: True where the prior holds inputs of the encoder; then `build` also takes the `event_shape` of x and
            the `bounds` of what the encoder gets, (low, high) or None.
        measure: what log p(z) is the logarithm of, "density" or "mass"; the posterior's must be the same.
    """

    conditional = False
    has_bijector = True
    group_sizes: tuple[int, ...] | None = None
    of_inputs = False
    measure = "density"

    def build(self, latent_dim, condition_shape=None):
        """Take the number of latent dimensions, and the shape of one condition."""
        del condition_shape
        self.latent_dim = int(latent_dim)

    def pair(self, posterior) -> None:
        """Take what this prior has to know of the model's posterior, such as its codes. Both are built."""

    def adapt(self, examples) -> None:
        """Start at the data, where the prior can. `examples(n)` gives n of them at random and their conditions or None.

        The examples come as the encoder gets them, `[n, *event_shape]`.
        """

    def fit_codes(self, z, seed: int = 0) -> bool:
        """Fit the prior to codes `[N, D]` of a data set (NumPy) at once, where that can be done; whether it was done.

        For the others `vae.fit_prior` maximises the mean of log p(z) by gradients.
        """
        del z, seed
        return False

    def begin_at(self, z) -> None:
        """Begin the steps of `vae.fit_prior` at codes `[N, D]` of a data set (NumPy). By default this does nothing."""

    @property
    def noise_size(self) -> int:
        """How many standard normal numbers a draw takes."""
        return self.latent_dim

    @property
    def widest(self) -> int:
        """How many float32 numbers the density at one z takes in memory, about."""
        return self.latent_dim

    def draw(self, p, eps):
        """z `[B, D]` from p, for standard normal noise eps `[B, noise_size]`."""
        return reparameterized(p, eps)

    def distribution(self, encode, condition=None) -> tfd.Distribution:
        """p(z): batch `[]`, or `[B]` for conditions `[B, *condition_shape]`; event `[latent_dim]`.

        `encode(u, condition)` is the model's, for priors made of posteriors: q(z|u) for a u that goes into the encoder
        as it is, see `kvae.likelihoods.Likelihood.seen`.
        """
        raise undefined(self, "distribution")
