"""How well a decoder could compress, whatever its encoder."""

from typing import NamedTuple

import numpy as np

from kvae.evaluate.chains import Annealing, log_mean, sigmoid_schedule
from kvae.evaluate.estimates import Estimate, bessel_correction, weighted_mean_of
from kvae.models.resolve import check_model
from kvae.numerics import arguments


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

    At every beta the best q(z|x) is proportional to p(z) p(x|z)^beta. Annealed chains from the prior pass it. Its
    distortion D is a weighted mean over the chains. Its rate is -beta D - log Z_beta, where Z_beta is the mean weight.
    The logarithm of Z_beta is too low on average. So the curve is above the true one, by less with more steps. The
    model with its own encoder is at (`kl`, -`reconstruction`) of `summary`, above the curve by what the encoder loses.

    Args:
        vae, data, chains, seed, leapfrog, verbose: as for `ais`.
        betas: positive, at which to take a point. At 1 rate + distortion is -log p(x).
        steps: of beta from 0 to 1. Beyond 1 there are as many for each factor e^2 of beta.

    Reference: Huang, Makhzani, Cao, Grosse (2020), Evaluating lossy compression rates of deep generative models, arXiv
    2008.06653.
    """
    check_model(vae)
    steps, seed = arguments.whole("steps", steps, 1), arguments.seed(seed)
    several = isinstance(betas, (list, tuple, np.ndarray)) and getattr(betas, "ndim", 1) == 1
    if not several or not all(map(arguments.is_number, betas)):
        raise ValueError(
            f"betas must be positive numbers, got {arguments.shown(betas)}. Give several, such as (0.5, 1.0)."
        )
    wanted = np.unique(np.asarray([float(beta) for beta in betas], np.float32))
    if not len(wanted) or wanted[0] <= 0.0 or not np.isfinite(wanted[-1]):
        raise ValueError(f"betas must be positive numbers, got {arguments.shown(betas)}.")
    schedule = sigmoid_schedule(steps)
    if wanted[-1] > 1.0:
        beyond = np.geomspace(1.0, wanted[-1], 1 + max(1, round(steps * np.log(wanted[-1]) / 2.0)))
        schedule = np.concatenate([schedule, beyond[1:].astype(np.float32)])
    schedule = np.union1d(schedule[schedule <= wanted[-1]], wanted)
    annealing = Annealing.of(vae, "prior", chains, leapfrog)
    found = annealing.run(data, schedule, seed, at=tuple(np.searchsorted(schedule, wanted).tolist()), verbose=verbose)
    rates, distortions = [], []
    for beta, log_weight, log_px_z in zip(wanted.tolist(), found.log_weights, found.log_ratios, strict=True):
        log_z, _, ess = log_mean(log_weight)
        w = np.exp(log_weight - log_weight.max(axis=0))
        w /= w.sum(axis=0)
        distortion = -(w * log_px_z).sum(axis=0)
        share = w * (log_px_z + distortion)  # how much each chain moves the mean, to first order
        variance = np.square(share).sum(axis=0) * bessel_correction(chains)
        distortions.append(weighted_mean_of(distortion, variance, ess, chains, vae.likelihood.measure))
        variance = np.square(beta * share - (w - 1.0 / chains)).sum(axis=0) * bessel_correction(chains)
        rates.append(weighted_mean_of(-beta * distortion - log_z, variance, ess, chains))
    return RateDistortion(wanted, rates, distortions)
