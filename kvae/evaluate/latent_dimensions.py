"""The latent dimensions one by one: how much each carries, and which have collapsed."""

import numpy as np

from kvae.evaluate.estimates import Estimate, mean_of
from kvae.models import resolve
from kvae.models.importance import ImportanceSampler
from kvae.numerics import arguments, divergences


def kl_per_dimension(vae, data) -> list[Estimate]:
    """The mean over the examples of KL(q(z_j|x) || p(z_j)) for each latent dimension j, nats; their sum is the KL term.

    Args:
        vae: a `kvae.VAE` whose posterior and prior factorise as normals; others raise a ValueError.
        data: an array `[N, *event_shape]`, a split, or a finite `tf.data.Dataset` of batches.
    """
    return [mean_of(column) for column in _table(vae, data).T]


def collapse(vae, data, epsilon: float = 0.01) -> list[Estimate]:
    """P_x[KL(q(z_j|x) || p(z_j)) < epsilon] for each latent dimension j: the part of the examples it tells nothing of.

    Args:
        vae, data: as for `kl_per_dimension`.
        epsilon: nats below which q(z_j|x) is as good as the prior.

    Reference: as for `collapsed`.
    """
    epsilon = arguments.number("epsilon", epsilon, above=0.0)
    table = _table(vae, data)
    below = np.where(np.isfinite(table), table < epsilon, np.nan)
    return [mean_of(column, unit="") for column in below.T]


def collapsed(vae, data, epsilon: float = 0.01, delta: float = 0.01) -> np.ndarray:
    """Which dimensions are (epsilon, delta)-collapsed, bool `[latent_dim]`: where `collapse` is 1 - delta or more.

    Args:
        vae, data: as for `kl_per_dimension`.
        epsilon: nats below which q(z_j|x) is as good as the prior.
        delta: the part of the examples that may be above.

    Reference: Lucas, Tucker, Grosse, Norouzi (2019), Don't blame the ELBO! A linear VAE perspective on posterior
    collapse, arXiv 1911.02469.
    """
    delta = arguments.number("delta", delta, 0.0, below=1.0)
    return np.array([part.mean for part in collapse(vae, data, epsilon)]) >= 1.0 - delta


def _table(vae, data) -> np.ndarray:
    """KL_j for each example, float64 `[N, latent_dim]`."""
    resolve.check_density(vae, "the KL divergence of a dimension")
    rows = []
    for batch, parameters in ImportanceSampler.of(vae).encoded(data):
        q = vae.posterior.of(parameters)
        terms = divergences.kl_per_dim(q, vae.prior_distribution(batch.condition))
        if terms is None:
            raise ValueError(
                f"The KL divergence of {type(vae.posterior).__name__} from {type(vae.prior).__name__} does not split "
                "into dimensions. kvae.evaluate.rate says how much all of them carry."
            )
        rows.append(terms.numpy().astype(np.float64))
    return np.concatenate(rows)
