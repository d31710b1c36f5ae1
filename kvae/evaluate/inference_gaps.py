"""Where the ELBO loses: to the posterior family, or to the encoder that has to serve all examples at once."""

import math

import numpy as np
import tensorflow as tf

from kvae.data import inputs
from kvae.evaluate.annealed_importance import annealed
from kvae.evaluate.estimates import Estimate, mean_of, weighted_mean_of
from kvae.evaluate.per_example import log_likelihood_of, per_example
from kvae.evaluate.progress import progress
from kvae.models import resolve
from kvae.models.importance import ImportanceSampler
from kvae.numerics import arguments, divergences, noise
from kvae.numerics.compilation import compiled

_FLOATS_AT_A_TIME = 4_000_000  # of the decoder's widest layer, for all draws of some examples
_RATE = 0.03  # of Adam, at first; it ends at zero
_FIRST, _SECOND, _EPSILON = 0.9, 0.99, 1e-8  # Adam's


def gaps(
    vae, data, samples: int = 5000, steps: int = 1000, draws: int = 16, chains: int = 0, seed: int = 0,
    verbose: bool | str = "auto",
) -> dict[str, Estimate]:  # fmt: skip
    """log p(x) less the ELBO, in two parts, in nats.

    log p(x) - ELBO(q) = [log p(x) - ELBO(q*)] + [ELBO(q*) - ELBO(q)]

    q* is the best posterior of q's family for each example by itself, found by gradient steps from the encoder's q. The
    first part, the approximation gap, is due to the family: a full covariance or a flow may narrow it. The second, the
    amortization gap, is due to the encoder: a larger encoder, or more training, may narrow it. On new data it is larger
    than on the training data where the encoder has overfitted.

    Args:
        vae: a `kvae.VAE` whose posterior has a density over real numbers.
        data: an array `[N, *event_shape]`, a split, or a finite `tf.data.Dataset` of batches.
        samples: draws of z for each example, for both ELBOs and for log p(x), which is importance-sampled from q*.
        steps: of Adam, with the rate falling to zero on a half cosine.
        draws: of z for each example and step.
        chains: if positive, log p(x) is that of `ais` with this number of chains of 1,000 steps. This takes longer, and
            is closer where q* is narrower than p(z|x). Both estimates of log p(x) are lower bounds, and so is the
            approximation gap.
        seed: of the draws; those of example i are a function of (seed, i).
        verbose: as for `log_likelihood`.

    Returns:
        `elbo`, `best_elbo`, `log_likelihood`, `amortization_gap` and `approximation_gap`.

    Reference: Cremer, Li, Duvenaud (2018), Inference suboptimality in variational autoencoders, arXiv 1801.03558.
    """
    resolve.check_continuous(vae, "the gap of the ELBO")
    steps, draws = arguments.whole("steps", steps, 1), arguments.whole("draws", draws, 1)
    samples, chains = arguments.whole("samples", samples, 1), arguments.whole("chains", chains, 0)
    seed = arguments.seed(seed)
    data = inputs.in_memory(data)
    amortized = per_example(vae, data, samples, seed, verbose=verbose)
    local = optimized(vae, data, steps, draws, seed, verbose)
    best = per_example(vae, data, samples, (seed + 1) % 2**32, verbose=verbose, parameters=local)  # by draws of its own
    measure, both = vae.likelihood.measure, amortized.elbo_variance + best.elbo_variance
    log_p, variance, ess = best.log_likelihood, best.gap_variance, best.effective_sample_size
    log_likelihood = log_likelihood_of(best, samples, measure)
    if chains:
        log_p, variance, ess = annealed(vae, data, 1000, chains, seed, "posterior", 10, verbose)
        log_likelihood = weighted_mean_of(log_p, variance, ess, chains, measure)
        variance = variance + best.elbo_variance
    return {
        "elbo": mean_of(amortized.elbo, amortized.elbo_variance, samples, measure),
        "best_elbo": mean_of(best.elbo, best.elbo_variance, samples, measure),
        "log_likelihood": log_likelihood,
        "amortization_gap": mean_of(best.elbo - amortized.elbo, both, samples),
        "approximation_gap": weighted_mean_of(log_p - best.elbo, variance, ess, chains or samples),
    }


def optimized(vae, data, steps: int, draws: int, seed: int, verbose: bool | str = "auto") -> np.ndarray:
    """The parameters of the best q for each example, `[N, units]`, see `kvae.posteriors.Posterior.of`."""
    found, parts = [], ImportanceSampler.of(vae)
    program = vae.methods.get(("optimize", draws), lambda: compiled(_optimizer(vae, draws), parts.jit))
    with progress(data, verbose) as bar:
        for number, count, batch, q in parts.chunks(data, parts.at_a_time(draws, _FLOATS_AT_A_TIME), pad=parts.jit):
            numbers = tf.constant(seed, tf.int64), tf.constant(number, tf.int64)
            found.append(program(batch, q, *numbers, tf.constant(steps)).numpy()[:count])
            bar.update(count)
    return np.concatenate(found)


def _optimizer(vae, draws: int):
    def optimize(batch, start, seed, first, steps):
        dtype, rows = start.dtype, batch.x.shape[0] or tf.shape(batch.x)[0]
        prior = vae.prior_distribution(batch.condition)

        def slope(parameters, number):
            stream = noise.LOCAL - tf.cast(number, tf.int64)
            eps = noise.draws(seed, stream, first, rows, draws, vae.posterior.noise_size, dtype)
            with tf.GradientTape() as tape:
                tape.watch(parameters)
                q = vae.posterior.of(parameters)
                (z, log_q), kl = vae.posterior.drawn(q, eps), divergences.kl(q, prior)
                if kl is None:
                    kl = tf.reduce_mean(log_q - prior.log_prob(z), axis=0)
                p = vae.likelihood.distribution(vae.decode_features(z, batch.condition))
                loss = tf.reduce_sum(kl - tf.reduce_mean(vae.likelihood.log_prob(p, batch.x, batch.mask), axis=0))
            return tape.gradient(loss, parameters)

        def body(number, parameters, mean, square):
            gradient, done = slope(parameters, number), tf.cast(number + 1, dtype)
            mean = _FIRST * mean + (1.0 - _FIRST) * gradient
            square = _SECOND * square + (1.0 - _SECOND) * tf.square(gradient)
            rate = 0.5 * _RATE * (1.0 + tf.cos(math.pi * (done - 1.0) / tf.cast(steps, dtype)))
            root = tf.sqrt(square / (1.0 - tf.pow(tf.constant(_SECOND, dtype), done)))
            step = mean / (1.0 - tf.pow(tf.constant(_FIRST, dtype), done)) / (root + _EPSILON)
            return number + 1, parameters - rate * step, mean, square

        zeros = tf.zeros_like(start)
        state = tf.while_loop(lambda n, *_: n < steps, body, [0, start, zeros, zeros], parallel_iterations=1)
        return state[1]

    return optimize
