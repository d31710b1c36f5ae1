"""The aggregated posterior q(z) = 1/N sum_n q(z|x_n): what the codes of a data set look like together."""

import math

import numpy as np
import tensorflow as tf

from kvae.evaluate.estimates import Estimate, mean_of
from kvae.models import resolve
from kvae.models.importance import ImportanceSampler
from kvae.numerics import arguments, noise
from kvae.numerics.compilation import compiled

_PAIRS_AT_A_TIME = 4_000_000  # of a z and a posterior, times the latent dimensions


def rate(vae, data, samples: int = 1, seed: int = 0) -> dict[str, Estimate]:
    """The KL term of a data set in its two parts, nats: E_x KL(q(z|x) || p(z)) = I(x; z) + KL(q(z) || p(z)).

    `mutual_information`, E log q(z|x) - log q(z): how much a code tells about which example it came from. Over N
    examples it is at most log N, the `cap`, for any model. If it is close to the cap, take more examples.
    `marginal_kl`, E log q(z) - log p(z): how far q(z) is from the prior, which samples are drawn from. A value below
    its error is noise.
    `kl`: their sum, by the same draws.

    Args:
        vae: a `kvae.VAE` whose posterior has a density. A conditional prior is not one p(z), and is refused.
        data: an array `[N, *event_shape]`, a split, or a finite `tf.data.Dataset` of batches.
        samples: draws of z for each example. The time grows with N^2 samples.
        seed: of the draws.

    References: Hoffman, Johnson (2016), ELBO surgery. Alemi et al. (2018), Fixing a broken ELBO, arXiv 1711.00464.
    """
    resolve.check_density(vae, "the mutual information")
    if vae.prior.conditional:
        raise ValueError(
            f"rate needs one prior p(z) for all examples; {type(vae.prior).__name__} has one for each. "
            "kvae.evaluate.summary gives the KL to these."
        )
    samples, seed = arguments.whole("samples", samples, 1), arguments.seed(seed)
    parameters = [parameters for _, parameters in ImportanceSampler.of(vae).encoded(data)]
    q = vae.posterior.of(tf.concat(parameters, axis=0))
    n = int(q.batch_shape[0])
    dtype = vae.posterior.compute_dtype
    size = vae.posterior.noise_size
    eps = noise.normal(seed, noise.DRAWS, 0, n, samples * size, dtype)
    z, own = vae.posterior.drawn(q, tf.transpose(tf.reshape(eps, [n, samples, size]), [1, 0, 2]))  # [S, N, D]
    own, prior = own.numpy().astype(np.float64), vae.prior_distribution().log_prob(z).numpy()
    together = _log_aggregate(q, tf.reshape(z, [-1, vae.latent_dim]), n, vae.latent_dim).reshape(samples, n)

    def estimate(values):
        spread = values.var(axis=0, ddof=1) / samples if samples > 1 else np.full(n, np.nan)
        return mean_of(values.mean(axis=0), spread, samples)

    found = {"mutual_information": own - together, "marginal_kl": together - prior, "kl": own - prior}
    cap = Estimate(math.log(n), 0.0, 0.0, float(samples), "nats", "", samples, n)
    return {name: estimate(values) for name, values in found.items()} | {"cap": cap}


def _log_aggregate(q, z, n: int, latent_dim: int) -> np.ndarray:
    """log 1/N sum_n q(z|x_n) at each z `[M, D]`, float64 `[M]`."""
    rows = max(1, _PAIRS_AT_A_TIME // (n * latent_dim))
    mixture = compiled(lambda z: tf.reduce_logsumexp(q.log_prob(z[:, None]), axis=1), jit=False)
    parts = [mixture(z[first : first + rows]).numpy() for first in range(0, len(z), rows)]
    return np.concatenate(parts).astype(np.float64) - math.log(n)
