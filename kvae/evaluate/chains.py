"""Annealed importance sampling: chains of z from a known distribution to the posterior p(z|x).

With a base distribution b(z|x) = z(eps), eps ~ N(0, I), and the importance weight of a z,

    w(eps) = p(x|z) p(z) / b(z|x),   z = z(eps),

the chain passes the densities f_t(eps) ~ N(eps; 0, I) w(eps)^beta_t, 0 = beta_0 < ... < beta_T = 1, and the product of
w(eps_(t-1))^(beta_t - beta_(t-1)) along it has the mean p(x). With T = 1 that is importance sampling.

The base is the prior or q(z|x), drawn by the family's own map of noise. Only chains back need this map to be a
bijector.
"""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from kvae.data.batch import Batch
from kvae.evaluate.estimates import log_mean_variance
from kvae.evaluate.progress import progress
from kvae.models import resolve
from kvae.models.importance import ImportanceSampler
from kvae.numerics import arguments, noise
from kvae.numerics.compilation import Programs, compiled

STARTS = ("posterior", "prior")
_ACCEPTED = 0.65  # the acceptance rate that step sizes are tuned to
_RATE = 0.1  # the learning rate of the logarithm of a step size
_PILOTS = 4  # chains of an example that tune them
_FLOATS_AT_A_TIME = 2_000_000  # of the decoder's widest layer, for all chains of some examples: about the cache


def sigmoid_schedule(steps: int) -> np.ndarray:
    """beta_0 = 0 ... beta_steps = 1, float32: a logistic curve from -4 to 4, slow at both ends (Wu et al. 2017)."""
    curve = 1.0 / (1.0 + np.exp(-np.linspace(-4.0, 4.0, steps + 1)))
    return ((curve - curve[0]) / (curve[-1] - curve[0])).astype(np.float32)


class Chains(NamedTuple):
    """What chains leave behind, float64.

    Attributes:
        log_weight: of each chain of each example at its end, `[S, N]`.
        log_weights, log_ratios: the log-weight so far, and log w, at each beta that was asked for, `[K, S, N]`.
    """

    log_weight: np.ndarray
    log_weights: np.ndarray
    log_ratios: np.ndarray


class Annealing:
    """Chains of one model.

    A move is Hamiltonian Monte Carlo with `leapfrog` steps. A few separate chains tune the step sizes, for each example
    and each beta. So the step sizes of the measured chains do not depend on their states, and their weights are
    unbiased. At each beta the step size is multiplied by a random number. Otherwise some direction could turn by half a
    circle every time.

    Args:
        vae: a `kvae.VAE`.
        start: "posterior" or "prior", the base distribution.
        chains: S, of each example.
        leapfrog: steps of a move.
    """

    def __init__(self, vae, start: str, chains: int, leapfrog: int):
        if start == "posterior":
            resolve.check_density(vae, "a chain from q(z|x)")
        if start == "posterior" and vae.posterior.measure == "mass":
            raise ValueError(
                f"{type(vae.posterior).__name__} is a point mass at a code, from which no chain moves. Give "
                "start='prior'."
            )
        self.vae, self.start, self.chains, self.leapfrog = vae, start, chains, leapfrog
        self.family = vae.posterior if start == "posterior" else vae.prior
        self.draws = ImportanceSampler.of(vae)
        self._programs = Programs()

    @classmethod
    def of(cls, vae, start: str, chains: int, leapfrog: int) -> "Annealing":
        """The model's own, made once."""
        resolve.check_model(vae)
        start = arguments.choice("start", start, STARTS)
        chains, leapfrog = arguments.whole("chains", chains, 1), arguments.whole("leapfrog", leapfrog, 1)
        return vae.methods.get(("annealing", start, chains, leapfrog), lambda: cls(vae, start, chains, leapfrog))

    def run(
        self, data, betas: np.ndarray, seed: int, exact=None, at: tuple = (), verbose: bool | str = "auto"
    ) -> Chains:
        """Chains for every example of data.

        Args:
            data, verbose: as in `kvae.evaluate.log_likelihood`.
            betas: `[T + 1]`, rising from 0.
            seed: of the chains; those of example i are a function of (seed, i, S).
            exact: None, or exact draws of p(z|x), `[N, D]`, one for each example: the chains run back from there to
                the base, and 1 / w has the mean 1 / p(x).
            at: numbers of betas to note log w at.
        """
        if exact is not None and not self.family.has_bijector:
            remedy = f"Give start='{STARTS[self.start == 'posterior']}'."
            if self.vae.posterior.measure == "mass":
                remedy = "Of codes there is no bound from above; ais(start='prior') gives one from below."
            raise ValueError(
                f"A chain back from z needs the noise that z came from, and {type(self.family).__name__} is no "
                f"bijector of noise. {remedy}"
            )
        chunk_size = self.draws.at_a_time(self.chains, _FLOATS_AT_A_TIME)
        betas, found = tf.constant(betas, tf.float32), []
        with progress(data, verbose) as bar:
            for number, count, batch, q in self.draws.chunks(data, chunk_size, pad=self.draws.jit):
                z = None if exact is None else tf.constant(exact[number + np.arange(len(batch.x)) % count])
                numbers = tf.constant(seed, tf.int64), tf.constant(number, tf.int64)
                pilots, chains = min(_PILOTS, self.chains), self.chains
                sizes = self._program("pilot", betas)(batch, q, None, None, betas, *numbers, chains=pilots)
                program = self._program("forth" if z is None else "back", betas, at)
                parts = program(batch, q, z, sizes, betas, *numbers, chains=chains, at=at)
                found.append([part.numpy()[..., :count].astype(np.float64) for part in parts])
                bar.update(count)
        return Chains(*(np.concatenate(column, axis=-1) for column in zip(*found, strict=True)))

    def _program(self, kind: str, betas, at=()):
        """The compiled chains, made once for what a program depends on."""
        jit = self.draws.jit
        return self._programs.get((kind, betas.shape[0] if jit else None, at), lambda: compiled(self._run, jit))

    def _base(self, batch, parameters):
        prior = self.vae.prior_distribution(batch.condition)
        return prior, prior if self.start == "prior" else self.vae.posterior.of(parameters)

    def _drawn(self, base, eps):
        """z of noise, and its log-density where the base is q."""
        return (self.family.draw(base, eps), None) if self.start == "prior" else self.family.drawn(base, eps)

    def _run(self, batch: Batch, parameters, exact, sizes, betas, seed, first, *, chains: int, at=()):
        """The log-weights of the chains of B examples, `[S, B]`; without `sizes`, the tuned step sizes `[T + 1, B]`."""
        vae, dtype, pilot, back = self.vae, parameters.dtype, sizes is None, exact is not None
        rows, last = batch.x.shape[0] or tf.shape(batch.x)[0], (betas.shape[0] or tf.shape(betas)[0]) - 1
        stream = tf.constant(noise.ANNEALING * (2 if pilot else 1), tf.int64)
        prior, base = self._base(batch, parameters)

        def normal(number):
            here = stream - tf.cast(number, tf.int64)
            return noise.draws(seed, here, first, rows, chains, self.family.noise_size, dtype)

        def jitter(number):
            here = tf.constant(noise.ANNEALING * 3, tf.int64) - tf.cast(number, tf.int64)
            return 1.0 - 0.6 * noise.uniform(seed, here, first, rows, 1, dtype)[:, 0]

        def log_ratio(eps):
            """log w and its gradient."""
            with tf.GradientTape() as tape:
                tape.watch(eps)
                z, log_base = self._drawn(base, eps)
                p = vae.likelihood.distribution(vae.decode_features(z, batch.condition))
                value = vae.likelihood.log_prob(p, batch.x, batch.mask)
                if self.start == "posterior":
                    value += prior.log_prob(z) - log_base
            return value, tape.gradient(value, eps, unconnected_gradients="zero")

        def energy(eps, momentum, value, beta):
            return beta * value - 0.5 * tf.reduce_sum(tf.square(eps) + tf.square(momentum), axis=-1)

        def move(state, beta, size, number):
            momentum, step = normal(2 * number), size[:, None]

            def leap(i, eps, momentum, value, slope):
                momentum += 0.5 * step * (beta * slope - eps)
                eps += step * momentum
                value, slope = log_ratio(eps)
                return i + 1, eps, momentum + 0.5 * step * (beta * slope - eps), value, slope

            before = energy(state[0], momentum, state[1], beta)
            leaps = tf.while_loop(lambda i, *_: i < self.leapfrog, leap, [0, state[0], momentum, *state[1:]])
            gain = energy(leaps[1], leaps[2], leaps[3], beta) - before
            odd = tf.cast(2 * number + 1, tf.int64)
            uniform = noise.uniform(seed, stream - odd, first * chains, rows * chains, 1, dtype)
            accepted = tf.math.log(tf.transpose(tf.reshape(uniform, [rows, chains]))) < gain  # never for NaN
            new = [tf.where(accepted[..., None] if a.shape.rank == 3 else accepted, b, a)
                   for a, b in zip(state, (leaps[1], *leaps[3:]), strict=True)]  # fmt: skip
            rate = tf.reduce_mean(tf.where(gain < 0.0, tf.exp(gain), tf.ones_like(gain)), axis=0)
            return new, tf.where(tf.math.is_finite(rate), rate, tf.zeros_like(rate))

        def body(t, eps, value, slope, log_weight, log_size, notes):
            k = last + 1 - t if back else t  # the step between beta_(k-1) and beta_k
            log_weight += tf.cast(betas[k] - betas[k - 1], tf.float64) * tf.cast(value, tf.float64)
            j = k - 1 if back else k
            size = tf.exp(log_size) if pilot else sizes[j]
            (eps, value, slope), rate = move([eps, value, slope], tf.cast(betas[j], dtype), size * jitter(j), t)
            if pilot:
                notes = (notes[0].write(j, size),)
            elif at:  # a beta that is not in `at` goes to a slot that is overwritten
                notes = notes[0].write(slots[j], log_weight), notes[1].write(slots[j], value)
            log_size = tf.minimum(log_size + _RATE * (rate - _ACCEPTED), longest)
            return t + 1, eps, value, slope, log_weight, log_size, notes

        eps = normal(0) if exact is None else tf.broadcast_to(
            base.bijector.inverse(tf.cast(exact, dtype)), [chains, rows, vae.latent_dim]
        )  # fmt: skip
        longest = tf.constant(math.log(0.5 * math.pi / self.leapfrog), dtype)  # a quarter turn: anew, for the base
        value, slope = log_ratio(eps)
        log_weight, log_size = tf.zeros([chains, rows], tf.float64), tf.fill([rows], longest)
        notes: tuple[tf.TensorArray, ...] = ()
        if pilot:
            notes = (tf.TensorArray(dtype, last + 1).write(0, tf.exp(log_size)),)
        elif at:
            notes = tf.TensorArray(tf.float64, len(at) + 1), tf.TensorArray(dtype, len(at) + 1)
            slots = tf.tensor_scatter_nd_update(
                tf.fill([last + 1], len(at)), tf.constant(at)[:, None], tf.range(len(at))
            )
        state = [1, eps, value, slope, log_weight, log_size, notes]
        state = tf.while_loop(lambda t, *_: t <= last, body, state, parallel_iterations=1)
        if pilot:
            return state[-1][0].stack()
        if not at:
            return state[4], tf.zeros([0, chains, rows], tf.float64), tf.zeros([0, chains, rows], dtype)
        return state[4], *(note.stack()[:-1] for note in state[-1])


def log_mean(log_weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """log 1/S sum_s w_s of weights `[S, N]`, its variance by the delta method, effective sample size; each `[N]`."""
    largest = log_weight.max(axis=0)
    w = np.exp(log_weight - largest)
    ess = np.square(w.sum(axis=0)) / np.square(w).sum(axis=0)
    variance = log_mean_variance(ess, len(w))
    return largest + np.log(w.mean(axis=0)), variance, ess
