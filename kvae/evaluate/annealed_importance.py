"""log p(x) by annealed importance sampling: from below, and on simulated examples from above."""

import numpy as np

from kvae.data import conditions
from kvae.data.arrays import as_array
from kvae.data.checks import check_rows
from kvae.evaluate.chains import Annealing, log_mean, sigmoid_schedule
from kvae.evaluate.estimates import Estimate, weighted_mean_of
from kvae.models.resolve import check_model
from kvae.numerics import arguments


def ais(
    vae, data, steps: int = 1000, chains: int = 16, seed: int = 0, start: str = "posterior", leapfrog: int = 10,
    verbose: bool | str = "auto",
) -> Estimate:  # fmt: skip
    """The mean of log p(x) over the examples by annealed importance sampling, in nats.

    Each chain takes `steps` steps from the base distribution to p(z|x), moved by Hamiltonian Monte Carlo. Its weight w
    has the mean p(x). The estimate log 1/S sum_s w_s has a mean below log p(x); it is closer with more steps and more
    chains. Its Monte Carlo error is the delta method's, which is too small for fewer than eight chains. Use it where
    q(z|x) is far from p(z|x) and `log_likelihood` is loose. It costs `steps * leapfrog * chains` decodings and
    gradients for each example.

    Args:
        vae: a `kvae.VAE`.
        data: an array `[N, *event_shape]`, a split, or a finite `tf.data.Dataset` of batches.
        steps: of a chain; the betas lie on a logistic curve.
        chains: S, for each example.
        seed: of the chains; those of example i are a function of (seed, i, S).
        start: "posterior" for chains that begin at q(z|x), "prior" for chains that begin at p(z), without the encoder.
            Models of codes need "prior": their chains move the noise of the prior's draws, without a gradient.
        leapfrog: steps of a move. Separate chains tune the length of a move.
        verbose: as for `log_likelihood`.

    References: Neal (2001), Annealed importance sampling. Wu, Burda, Salakhutdinov, Grosse (2017), On the quantitative
    analysis of decoder-based generative models, arXiv 1611.04273.
    """
    found = annealed(vae, data, steps, chains, seed, start, leapfrog, verbose)
    return weighted_mean_of(*found, chains, vae.likelihood.measure)


def annealed(vae, data, steps, chains, seed, start, leapfrog, verbose) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """log p(x) of each example as `ais` has it, its variance, and the effective sample size, `[N]` each."""
    steps, seed = arguments.whole("steps", steps, 1), arguments.seed(seed)
    annealing = Annealing.of(vae, start, chains, leapfrog)
    return log_mean(annealing.run(data, sigmoid_schedule(steps), seed, verbose=verbose).log_weight)


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
    check_model(vae)
    n, steps, seed = arguments.whole("n", n, 1), arguments.whole("steps", steps, 1), arguments.seed(seed)
    if exact is not None and (not isinstance(exact, (tuple, list)) or len(exact) != 2):
        raise ValueError(f"exact must be a pair (x, z) of arrays, got {arguments.shown(exact)}.")
    if exact is None:
        x, z = simulated(vae, n, seed, condition)
    else:
        x, z = as_array(exact[0]).values, as_array(exact[1], "z").values
    if np.shape(x)[1:] != vae.event_shape:
        raise ValueError(f"exact's x must have shape {(None, *vae.event_shape)}, got {np.shape(x)}. Reshape it.")
    if np.shape(z) != (len(x), vae.latent_dim):
        raise ValueError(f"For {len(x)} examples z must have shape {(len(x), vae.latent_dim)}, got {np.shape(z)}.")
    z = check_rows(z, vae.latent_dim)
    data = x if vae.condition_shape is None else (x, condition)
    annealing, betas = Annealing.of(vae, start, chains, leapfrog), sigmoid_schedule(steps)
    forth, back = annealing.forth_and_back(data, betas, seed, np.asarray(z), verbose)
    below, above = log_mean(forth.log_weight), log_mean(-back.log_weight)
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
