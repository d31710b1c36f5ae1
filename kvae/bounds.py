"""What annealed chains say: log p(x) from below and from above, and how well a decoder could compress."""

from typing import NamedTuple

import numpy as np

from kvae import conditions
from kvae.annealing import Annealing, sigmoid_schedule
from kvae.counts import check_at_least
from kvae.estimates import Estimate, log_mean_variance, spread, weighted_mean_of


def ais(
    vae, data, steps: int = 1000, chains: int = 16, seed: int = 0, start: str = "posterior", leapfrog: int = 10,
    verbose: bool | str = "auto",
) -> Estimate:  # fmt: skip
    """The mean of log p(x) over the examples by annealed importance sampling, in nats.

    Each chain goes in `steps` steps from the base distribution to p(z|x), moved by Hamiltonian Monte Carlo, and its
    weight w has the mean p(x). The estimate log 1/S sum_s w_s has a mean below log p(x), closer with more steps and
    more chains; its Monte Carlo error is the delta method's, too small for fewer than eight. It is for where q(z|x) is
    far from p(z|x) and `log_likelihood` loose, and costs `steps * leapfrog * chains` decodings and gradients for each
    example.

    Args:
        vae: a `kvae.VAE`.
        data: an array `[N, *event_shape]`, a split, or a finite `tf.data.Dataset` of batches.
        steps: of a chain; the betas lie on a logistic curve.
        chains: S, for each example.
        seed: of the chains; those of example i are a function of (seed, i, S).
        start: "posterior" for chains that begin at q(z|x), "prior" for those that know nothing of the encoder.
        leapfrog: steps of a move; its length is tuned by chains of their own beforehand.
        verbose: as for `log_likelihood`.

    References: Neal (2001), Annealed importance sampling. Wu, Burda, Salakhutdinov, Grosse (2017), On the quantitative
    analysis of decoder-based generative models, arXiv 1611.04273.
    """
    found = annealed(vae, data, steps, chains, seed, start, leapfrog, verbose)
    return weighted_mean_of(*found, chains, vae.likelihood.measure)


def annealed(vae, data, steps, chains, seed, start, leapfrog, verbose) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """log p(x) of each example as `ais` has it, its variance, and the effective sample size, `[N]` each."""
    check_at_least(1, steps=steps)
    annealing = Annealing.of(vae, start, chains, leapfrog)
    return _log_mean(annealing.run(data, sigmoid_schedule(steps), seed, verbose=verbose).log_weight)


def sandwich(
    vae, n: int = 100, steps: int = 1000, chains: int = 16, seed: int = 0, start: str = "posterior", leapfrog: int = 10,
    exact: tuple | None = None, condition=None, verbose: bool | str = "auto",
) -> dict[str, Estimate]:  # fmt: skip
    """log p(x) from below and from above on simulated examples, in nats: how far `ais` can be wrong on this model.

    For x drawn from the model by z ~ p(z), x ~ p(x|z), this z is an exact draw from p(z|x). Chains that run back from
    it have weights whose inverse has the mean 1 / p(x), so that -log 1/S sum_s 1/w_s has a mean above log p(x)
    (bidirectional Monte Carlo).

    Args:
        vae, steps, chains, seed, start, leapfrog, verbose: as for `ais`.
        n: how many examples to simulate.
        exact: None, or (x, z) with examples `[N, *event_shape]` and draws `[N, latent_dim]` that are known to come from
            the exact p(z|x) of each.
        condition: of a conditional model: n labels or vectors.

    Returns:
        `lower` and `upper`, each an `Estimate` over the same examples, and their `gap`. Chains back from one z are not
        independent, so that the Monte Carlo errors of `upper` and `gap` are not known (NaN); over simulated examples
        the standard errors contain them.

    Reference: Grosse, Ghahramani, Adams (2015), Sandwiching the marginal likelihood using bidirectional Monte Carlo,
    arXiv 1511.02543.
    """
    x, z = simulated(vae, n, seed, condition) if exact is None else exact
    if np.shape(z) != (len(x), vae.latent_dim):
        raise ValueError(f"For {len(x)} examples z must have shape {(len(x), vae.latent_dim)}, got {np.shape(z)}.")
    data = x if vae.condition_shape is None else (x, condition)
    annealing, betas = Annealing.of(vae, start, chains, leapfrog), sigmoid_schedule(steps)
    below = annealed(vae, data, steps, chains, seed, start, leapfrog, verbose)
    above = _log_mean(-annealing.run(data, betas, seed, exact=np.asarray(z), verbose=verbose).log_weight)
    measure, unknown = vae.likelihood.measure, np.full_like(below[0], np.nan)
    return {
        "lower": weighted_mean_of(*below, chains, measure),
        "upper": weighted_mean_of(-above[0], unknown, above[2], chains, measure),
        "gap": weighted_mean_of(-above[0] - below[0], unknown, np.minimum(below[2], above[2]), chains),
    }


def simulated(vae, n: int, seed: int, condition=None) -> tuple[np.ndarray, np.ndarray]:
    """z ~ p(z) and x ~ p(x|z): x `[n, *event_shape]` and z `[n, latent_dim]`, a function of the seed."""
    x = vae.sample(n, seed, output="sample", condition=condition)
    return x.numpy(), vae.prior_draws(n, seed, conditions.prepared(condition, vae.condition_shape)).numpy()


class RateDistortion(NamedTuple):
    """Points of the curve, from low to high rate.

    Attributes:
        beta: weight of the distortion at each point; the slope of the curve there is -1 / beta.
        rate: KL(q_beta(z|x) || p(z)), nats.
        distortion: -E log p(x|z) with z from q_beta, nats.
    """

    beta: np.ndarray
    rate: list[Estimate]
    distortion: list[Estimate]


def rate_distortion(
    vae, data, betas=(0.05, 0.1, 0.2, 0.4, 0.7, 1.0, 1.5, 2.5, 5.0), steps: int = 1000, chains: int = 16, seed: int = 0,
    leapfrog: int = 10, verbose: bool | str = "auto",
) -> RateDistortion:  # fmt: skip
    """The best trade of rate for distortion that this decoder and this prior allow, whatever the encoder.

    At every beta the best q(z|x) is in proportion to p(z) p(x|z)^beta; annealed chains from the prior pass it. Its
    distortion is a weighted mean over the chains, and its rate -beta D - log Z_beta, with Z_beta the mean weight, whose
    logarithm is too low on average: the curve is above the true one, by less with more steps. The model itself, with
    its own encoder, is at (`kl`, -`reconstruction`) of `summary`, above the curve by what the encoder loses.

    Args:
        vae, data, chains, seed, leapfrog, verbose: as for `ais`.
        betas: positive, at which to take a point. At 1 rate + distortion is -log p(x).
        steps: from 0 to 1; beyond 1 there are as many for each factor e^2 of beta.

    Reference: Huang, Makhzani, Cao, Grosse (2020), Evaluating lossy compression rates of deep generative models, arXiv
    2008.06653.
    """
    check_at_least(1, steps=steps)
    wanted = np.unique(np.asarray(betas, np.float32))
    if not len(wanted) or wanted[0] <= 0.0 or not np.isfinite(wanted[-1]):
        raise ValueError(f"betas must be positive numbers, got {betas!r}.")
    schedule = sigmoid_schedule(steps)
    if wanted[-1] > 1.0:
        beyond = np.geomspace(1.0, wanted[-1], 1 + max(1, round(steps * np.log(wanted[-1]) / 2.0)))
        schedule = np.concatenate([schedule, beyond[1:].astype(np.float32)])
    schedule = np.union1d(schedule[schedule <= wanted[-1]], wanted)
    annealing = Annealing.of(vae, "prior", chains, leapfrog)
    found = annealing.run(data, schedule, seed, at=tuple(np.searchsorted(schedule, wanted).tolist()), verbose=verbose)
    rates, distortions = [], []
    for beta, log_weight, log_px_z in zip(wanted.tolist(), found.log_weights, found.log_ratios, strict=True):
        log_z, _, ess = _log_mean(log_weight)
        w = np.exp(log_weight - log_weight.max(axis=0))
        w /= w.sum(axis=0)
        distortion = -(w * log_px_z).sum(axis=0)
        share = w * (log_px_z + distortion)  # how much each chain moves the mean, to first order
        variance = np.square(share).sum(axis=0) * spread(chains)
        distortions.append(weighted_mean_of(distortion, variance, ess, chains, vae.likelihood.measure))
        variance = np.square(beta * share - (w - 1.0 / chains)).sum(axis=0) * spread(chains)
        rates.append(weighted_mean_of(-beta * distortion - log_z, variance, ess, chains))
    return RateDistortion(wanted, rates, distortions)


def _log_mean(log_weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """log 1/S sum_s w_s of weights `[S, N]`, its variance by the delta method, effective sample size; each `[N]`."""
    largest = log_weight.max(axis=0)
    w = np.exp(log_weight - largest)
    ess = np.square(w.sum(axis=0)) / np.square(w).sum(axis=0)
    variance = log_mean_variance(ess, len(w))
    return largest + np.log(w.mean(axis=0)), variance, ess
