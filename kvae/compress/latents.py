"""z on the stack: real numbers on a grid, with bits back, and codes."""

import math

import numpy as np
import tensorflow as tf

from kvae.data.batch import Batch
from kvae.posteriors import DiagonalNormal
from kvae.priors import Codes, ConditionalNormal, StandardNormal

STEP = 2.0**-8  # of the grid, in standard deviations of the prior
BATCH = 32  # rows of every batch: other shapes may give other bits
MOST = 2**11  # grid points on either side of the prior's mean for the mean of q: 8 standard deviations
_DEVIATIONS = 5.0  # of q, at least, in its window


def latents_of(vae):
    """What codes the z of this model.

    Raises:
        ValueError: for a posterior or a prior that it cannot code.
    """
    normal = isinstance(vae.posterior, DiagonalNormal) and isinstance(vae.prior, (StandardNormal, ConditionalNormal))
    if normal:
        return NormalLatents(vae)
    if vae.posterior.measure == "mass" and isinstance(vae.prior, Codes):
        return CodeLatents(vae)
    raise ValueError(
        f"kvae.compress codes z with the posterior DiagonalNormal and the prior StandardNormal or ConditionalNormal, "
        f"or with codes (FiniteScalar or VectorQuantized) and the prior Codes, got {type(vae.posterior).__name__} and "
        f"{type(vae.prior).__name__}. Train a model with these for compression."
    )


class Latents:
    """Abstract: takes z for x, and puts z on the stack and takes it off. Rows are those of one batch shape.

    Attributes:
        bits_back: whether z comes off the stack by q(z|x).
        size: symbols of one z.
    """

    bits_back: bool
    size: int

    def __init__(self, vae):
        self.vae = vae

    def posterior(self, x, condition) -> tuple[np.ndarray, ...]:
        """What q(z|x) is, for all rows of a batch."""
        raise NotImplementedError

    def features(self, symbols, condition) -> tf.Tensor:
        """The decoder's, for symbols `[B, size]`."""
        raise NotImplementedError

    def function(self, method):
        """A method compiled once, for one batch shape."""
        return self.vae.methods.get(f"compress {method.__qualname__}", lambda: tf.function(method, autograph=False))


class NormalLatents(Latents):
    """z = m(c) + s(c) step k of the prior's mean and scale, for whole numbers k from -2^12 to 2^12.

    q and the prior are rounded to this grid. The cost of both together is that of their densities, as long as the grid
    is finer than the scale of q. Each symbol of the coder has a probability of 2^-24 or more. So that z far from q,
    which make x long, are not among them, k has a window about the mean of q, of a power of two.
    """

    bits_back = True

    def __init__(self, vae):
        super().__init__(vae)
        self.size = vae.latent_dim

    def posterior(self, x, condition):
        """Mean and scale of k, `[B, D]`."""
        mean, scale = (one.numpy() for one in self.function(self._posterior)(x, condition))
        if not (np.isfinite(mean).all() and np.isfinite(scale).all() and (scale > 0.0).all()):
            raise FloatingPointError(
                "The mean or the scale of q(z|x) is not finite, so that nothing can be coded with it. The weights may "
                "have overflowed: kvae.evaluate.diagnose(vae, x)."
            )
        return np.clip(mean, -MOST, MOST), scale

    def _posterior(self, x, condition):
        batch = self.vae.prepared(Batch(x, condition))
        q = self.vae.posterior_distribution(batch)
        prior = self.vae.prior_distribution(batch.condition)
        scale = prior.stddev() * STEP
        return tf.cast((q.mean() - prior.mean()) / scale, tf.float64), tf.cast(q.stddev() / scale, tf.float64)

    def features(self, symbols, condition):
        """The decoder's, for symbols k `[B, D]`."""
        return self.function(self._features)(tf.constant(symbols, tf.int32), condition)

    def _features(self, symbols, condition):
        prior = self.vae.prior_distribution(condition)
        k = tf.cast(symbols, self.vae.posterior.compute_dtype)
        return self.vae.decode_features(prior.mean() + prior.stddev() * STEP * k, condition)

    def middle(self, posterior, n: int) -> np.ndarray:
        """The k nearest to the mean of q, int32 `[n, D]`."""
        return np.rint(posterior[0][:n]).astype(np.int32)

    def take(self, stack, posterior, n: int) -> np.ndarray:
        """n rows of k, off the stack by q."""
        mean, scale = (one[:n].reshape(-1) for one in posterior)
        middle = np.rint(mean)
        symbols = middle.astype(np.int32)
        for width, where in _windows(scale):
            symbols[where] += stack.pop_normal((mean - middle)[where], scale[where], width)
        return symbols.reshape(n, -1)

    def put_back(self, stack, symbols, posterior) -> None:
        """What undoes `take`. Symbols that it cannot have given are put back as others: the checksum of x will tell."""
        mean, scale = (one[: len(symbols)].reshape(-1) for one in posterior)
        middle = np.rint(mean)
        apart = symbols.reshape(-1) - middle
        for width, where in reversed(_windows(scale)):
            stack.push_normal(apart[where].clip(-width, width), (mean - middle)[where], scale[where], width)

    def push(self, stack, symbols) -> None:
        """k `[n, D]`, by the prior."""
        stack.push_normal(symbols.reshape(-1), *self._prior(symbols.size), 2 * MOST)

    def pop(self, stack, n: int) -> np.ndarray:
        """The symbols of `push`."""
        return stack.pop_normal(*self._prior(n * self.size), 2 * MOST).reshape(n, -1)

    def _prior(self, count: int):
        return np.zeros(count), np.full(count, 1.0 / STEP)


def _windows(scale) -> list[tuple[int, np.ndarray]]:
    """The widths to either side that occur, each with the places that have it, in the order of widths."""
    exponents = np.ceil(np.log2(_DEVIATIONS * scale + 1.0)).clip(1, math.log2(MOST)).astype(int)
    return [(1 << int(one), np.flatnonzero(exponents == one)) for one in np.unique(exponents)]


class CodeLatents(Latents):
    """The indices of z, by the prior's mass. q(z|x) is a point mass, so that there are no bits to get back."""

    bits_back = False

    def __init__(self, vae):
        super().__init__(vae)
        self.size = vae.posterior.positions

    def posterior(self, x, condition):
        """The indices, int32 `[B, M]`."""
        return (self.function(self._indices)(x, condition).numpy(),)

    def _indices(self, x, condition):
        batch = self.vae.prepared(Batch(x, condition))
        return self.vae.posterior_distribution(batch).indices

    def features(self, symbols, condition):
        """The decoder's, for indices `[B, M]`."""
        return self.function(self._features)(tf.constant(symbols, tf.int32), condition)

    def _features(self, symbols, condition):
        return self.vae.decode_features(self.vae.posterior.code(symbols), condition)

    def take(self, stack, posterior, n: int) -> np.ndarray:
        """n rows of indices; nothing comes off the stack."""
        del stack
        return posterior[0][:n]

    def put_back(self, stack, symbols, posterior) -> None:
        """What undoes `take`: nothing."""

    def push(self, stack, symbols) -> None:
        """Indices `[n, M]`, the last position first."""
        mass = self._mass(symbols)
        for m in reversed(range(self.size)):
            stack.push_table(symbols[:, m], mass(m))

    def pop(self, stack, n: int) -> np.ndarray:
        """The symbols of `push`, one position after the other: the mass of each may depend on those before it."""
        symbols = np.zeros((n, self.size), np.int32)
        for m in range(self.size):
            if m == 0 or self.vae.prior.kind == "autoregressive":
                mass = self._mass(symbols)
            symbols[:, m] = stack.pop_table(mass(m))
        return symbols

    def _mass(self, symbols):
        """From a position to the masses of its codes, `[n, K]`, given the symbols `[n, M]` before it."""
        padded = tf.constant(np.resize(symbols, (BATCH, self.size)), tf.int32)
        mass = self.function(self._masses)(padded).numpy()
        return lambda m: np.broadcast_to(mass[:, m], (BATCH, mass.shape[-1]))[: len(symbols)]

    def _masses(self, indices):
        return self.vae.prior.mass.masses(indices)
