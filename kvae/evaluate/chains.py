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

    A move is Hamiltonian Monte Carlo with `leapfrog` steps. A few separate chains, the pilots, run beside the measured
    ones and tune the step sizes, for each example and each beta. So the step sizes of the measured chains do not depend
    on their states, and their weights are unbiased. Chains back take the step sizes of those forth. At each beta the
    step size is multiplied by a random number. Otherwise some direction could turn by half a circle every time.

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
        self.pilots = min(_PILOTS, chains)
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

    def run(self, data, betas: np.ndarray, seed: int, at: tuple = (), verbose: bool | str = "auto") -> Chains:
        """Chains for every example of data.

        Args:
            data, verbose: as in `kvae.evaluate.log_likelihood`.
            betas: `[T + 1]`, rising from 0.
            seed: of the chains; those of example i are a function of (seed, i, S).
            at: numbers of betas to note log w at.
        """
        return self._run(data, betas, seed, None, at, verbose)[0]

    def forth_and_back(self, data, betas, seed: int, exact: np.ndarray, verbose: bool | str = "auto") -> list[Chains]:
        """Chains as of `run`, and chains back from exact draws of p(z|x) to the base: the mean of 1 / w is 1 / p(x).

        Args:
            data, betas, seed, verbose: as for `run`.
            exact: `[N, D]`, one draw for each example.
        """
        if not self.family.has_bijector:
            remedy = f"Give start='{STARTS[self.start == 'posterior']}'."
            if self.vae.posterior.measure == "mass":
                remedy = "Of codes there is no bound from above; ais(start='prior') gives one from below."
            raise ValueError(
                f"A chain back from z needs the noise that z came from, and {type(self.family).__name__} is no "
                f"bijector of noise. {remedy}"
            )
        return self._run(data, betas, seed, exact, (), verbose)

    def _run(self, data, betas, seed, exact, at, verbose) -> list[Chains]:
        chunk_size = self.draws.at_a_time(self.chains + self.pilots, _FLOATS_AT_A_TIME)
        betas, found = tf.constant(betas, tf.float32), []
        forth, back = self._program("forth", betas, at), self._program("back", betas)
        with progress(data, verbose) as bar:
            for number, count, batch, q in self.draws.chunks(data, chunk_size, pad=self.draws.jit):
                numbers = tf.constant(seed, tf.int64), tf.constant(number, tf.int64)
                *parts, sizes = forth(batch, q, None, None, betas, *numbers, at=at)
                if exact is not None:
                    z = tf.constant(exact[number + np.arange(len(batch.x)) % count])
                    parts += back(batch, q, z, sizes, betas, *numbers)[:-1]
                found.append([part.numpy()[..., :count].astype(np.float64) for part in parts])
                bar.update(count)
        columns = [np.concatenate(column, axis=-1) for column in zip(*found, strict=True)]
        return [Chains(*columns[i : i + len(Chains._fields)]) for i in range(0, len(columns), len(Chains._fields))]

    def _program(self, kind: str, betas, at=()):
        """The compiled chains, made once for what a program depends on."""
        jit = self.draws.jit
        return self._programs.get((kind, betas.shape[0] if jit else None, at), lambda: compiled(self._anneal, jit))

    def _base(self, batch, parameters):
        prior = self.vae.prior_distribution(batch.condition)
        return prior, prior if self.start == "prior" else self.vae.posterior.of(parameters)

    def _drawn(self, base, eps):
        """z of noise, and its log-density where the base is q."""
        return (self.family.draw(base, eps), None) if self.start == "prior" else self.family.drawn(base, eps)

    def _anneal(self, batch: Batch, parameters, exact, sizes, betas, seed, first, *, at=()):
        """What `Chains` holds of B examples, and the step sizes `[T + 1, B]`.

        With `exact` draws the chains run back, and need the `sizes` of those forth.
        """
        vae, chains, dtype, back = self.vae, self.chains, parameters.dtype, exact is not None
        rows, last = batch.x.shape[0] or tf.shape(batch.x)[0], (betas.shape[0] or tf.shape(betas)[0]) - 1
        counts = (chains,) if back else (chains, self.pilots)
        prior, base = self._base(batch, parameters)

        def numbered(number):
            """The streams of the chains and of their pilots, the number of their first rows, and how many."""
            streams = [(1 + i) * noise.ANNEALING - tf.cast(number, tf.int64) for i in range(len(counts))]
            return streams, [first * count for count in counts], [rows * count for count in counts]

        def by_chain(values):
            """Their rows as `[S, B, size]`, the pilots last."""
            parts = zip(counts, tf.split(values, [rows * count for count in counts]), strict=True)
            shaped = [tf.reshape(part, [rows, count, values.shape[-1]]) for count, part in parts]
            return tf.concat([tf.transpose(part, [1, 0, 2]) for part in shaped], axis=0)

        def normal(number):
            where = map(tuple, numbered(number))
            return by_chain(noise.normal(seed, *where, self.family.noise_size, dtype))

        def uniform(number, beta):
            """Uniform numbers of the chains, `[S, B]`, and one of each example for this beta."""
            last_one = 3 * noise.ANNEALING - tf.cast(beta, tf.int64), first, rows
            where = [(*of_chains, one) for of_chains, one in zip(numbered(number), last_one, strict=True)]
            values = noise.uniform(seed, *where, 1, dtype)
            return by_chain(values[:-rows])[..., 0], values[-rows:, 0]

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

        def move(state, j, size, number):
            beta, momentum, (u, jitter) = tf.cast(betas[j], dtype), normal(2 * number), uniform(2 * number + 1, j)
            step = (size * (1.0 - 0.6 * jitter))[:, None]

            def leap(i, eps, momentum, value, slope):
                momentum += 0.5 * step * (beta * slope - eps)
                eps += step * momentum
                value, slope = log_ratio(eps)
                return i + 1, eps, momentum + 0.5 * step * (beta * slope - eps), value, slope

            before = energy(state[0], momentum, state[1], beta)
            leaps = tf.while_loop(lambda i, *_: i < self.leapfrog, leap, [0, state[0], momentum, *state[1:]])
            gain = energy(leaps[1], leaps[2], leaps[3], beta) - before
            accepted = tf.math.log(u) < gain  # never for NaN
            new = [tf.where(accepted[..., None] if a.shape.rank == 3 else accepted, b, a)
                   for a, b in zip(state, (leaps[1], *leaps[3:]), strict=True)]  # fmt: skip
            return new, gain[chains:]

        def tuned(log_size, gain):
            rate = tf.reduce_mean(tf.where(gain < 0.0, tf.exp(gain), tf.ones_like(gain)), axis=0)
            rate = tf.where(tf.math.is_finite(rate), rate, tf.zeros_like(rate))
            return tf.minimum(log_size + _RATE * (rate - _ACCEPTED), longest)

        def body(t, eps, value, slope, log_weight, log_size, notes):
            k = last + 1 - t if back else t  # the step between beta_(k-1) and beta_k
            log_weight += tf.cast(betas[k] - betas[k - 1], tf.float64) * tf.cast(value[:chains], tf.float64)
            j = k - 1 if back else k
            size = sizes[j] if back else tf.exp(log_size)
            (eps, value, slope), gain = move([eps, value, slope], j, size, t)
            if not back:
                notes, log_size = (notes[0].write(j, size), *notes[1:]), tuned(log_size, gain)
            if at:  # a beta that is not in `at` goes to a slot that is overwritten
                noted = notes[1].write(slots[j], log_weight), notes[2].write(slots[j], value[:chains])
                notes = notes[0], *noted
            return t + 1, eps, value, slope, log_weight, log_size, notes

        eps = normal(0) if not back else tf.broadcast_to(
            base.bijector.inverse(tf.cast(exact, dtype)), [chains, rows, vae.latent_dim]
        )  # fmt: skip
        longest = tf.constant(math.log(0.5 * math.pi / self.leapfrog), dtype)  # a quarter turn: anew, for the base
        value, slope = log_ratio(eps)
        log_weight, log_size = tf.zeros([chains, rows], tf.float64), tf.fill([rows], longest)
        notes = () if back else (tf.TensorArray(dtype, last + 1).write(0, tf.exp(log_size)),)
        if at:
            notes += tf.TensorArray(tf.float64, len(at) + 1), tf.TensorArray(dtype, len(at) + 1)
            slots = tf.tensor_scatter_nd_update(
                tf.fill([last + 1], len(at)), tf.constant(at)[:, None], tf.range(len(at))
            )
        state = [1, eps, value, slope, log_weight, log_size, notes]
        *_, log_weight, _, notes = tf.while_loop(lambda t, *_: t <= last, body, state, parallel_iterations=1)
        noted = [note.stack()[:-1] for note in notes[1:]] or [tf.zeros([0, chains, rows], dtype)] * 2
        return log_weight, *noted, sizes if back else notes[0].stack()


def log_mean(log_weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """log 1/S sum_s w_s of weights `[S, N]`, its variance by the delta method, effective sample size; each `[N]`."""
    largest = log_weight.max(axis=0)
    w = np.exp(log_weight - largest)
    ess = np.square(w.sum(axis=0)) / np.square(w).sum(axis=0)
    variance = log_mean_variance(ess, len(w))
    return largest + np.log(w.mean(axis=0)), variance, ess
