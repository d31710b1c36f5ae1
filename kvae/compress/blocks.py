"""A block of examples as bits: z off the stack, x and z onto it (Townsend, Bird, Barber 2019, arXiv 1901.04866).

The examples of a step are coded together:

    encode: take z off the stack by q(z|x); put x on by p(x|z), then z by p(z)
    decode: take z off by p(z), then x by p(x|z); put z back by q(z|x)

The bits that z takes are those of earlier examples. So the net length is log q(z|x) - log p(x|z) - log p(z), whose mean
is the negative ELBO. The first examples of a block find an empty stack. They are coded without bits back: with z at the
prior's mean, which costs nothing, or at the nearest to q's mean, put on by p(z), whichever is shorter.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from kvae.compress.elements import Elements
from kvae.compress.latents import BATCH, latents_of
from kvae.compress.stack import Stack

_RESERVE = 32  # bits that stay on the stack where z is taken off
NO_START, AT_PRIOR, AT_POSTERIOR = range(3)  # what the first examples' z are


class Block(NamedTuple):
    """Coded examples.

    Attributes:
        start: how many of the first were coded without bits back.
        way: how: one of NO_START, AT_PRIOR and AT_POSTERIOR.
        words: the stack, uint32.
    """

    start: int
    way: int
    words: np.ndarray


class _RanDryError(Exception):
    """The stack has too few bits for z."""


class Blocks:
    """Codes the examples of a model in blocks.

    Every network runs on batches of one shape, in the same compiled program for encoding and for decoding. So both
    compute the same numbers, on one machine with one version of the packages.
    """

    def __init__(self, vae):
        self.vae = vae
        self.latents, self.elements = latents_of(vae), Elements(vae)

    @classmethod
    def of(cls, vae) -> "Blocks":
        """The model's own, made once."""
        return vae.methods.get("compress", lambda: cls(vae))

    def encode(self, x, condition=None) -> Block:
        """Integers x `[n, size]`, above the support's lowest, int64; conditions `[n, *condition_shape]`, prepared."""
        if not self.latents.bits_back:
            return self._encoded(x, condition, 0, NO_START)
        first = min(len(x), BATCH)
        found = [self._encoded(x[:first], condition, first, way) for way in (AT_PRIOR, AT_POSTERIOR)]
        way, start = min(found, key=lambda block: block.words.size).way, 1
        while True:
            try:
                return self._encoded(x, condition, start, way)
            except _RanDryError:
                start += 1 + start // 4

    def decode(self, block: Block, n: int, condition=None, done: Callable[[int], object] = int) -> np.ndarray | None:
        """The x of `encode`, int64 `[n, size]`; None where bits are left over.

        `done` is called with the number of examples of each step.
        """
        stack, x = Stack(block.words), np.empty((n, self.elements.size), np.int64)
        for rows, alone in reversed(list(_steps(n, block.start))):
            given, count = _rows_of(condition, rows), rows.stop - rows.start
            if alone and block.way == AT_PRIOR:
                symbols = np.zeros((count, self.latents.size), np.int32)
            else:
                symbols = self.latents.pop(stack, count)
            x[rows] = self.elements.pop(stack, count, self.latents.features(_padded(symbols), given))
            if not alone:
                self.latents.put_back(stack, symbols, self._posterior(x[rows], given))
            done(count)
        return x if stack.empty else None

    def _encoded(self, x, condition, start: int, way: int) -> Block:
        stack = Stack()
        for rows, alone in _steps(len(x), start):
            given, count = _rows_of(condition, rows), rows.stop - rows.start
            if alone and way == AT_PRIOR:
                symbols = np.zeros((count, self.latents.size), np.int32)
            elif alone:
                symbols = self.latents.middle(self._posterior(x[rows], given), count)
            else:
                symbols = self.latents.take(stack, self._posterior(x[rows], given), count)
                if self.latents.bits_back and stack.bits < _RESERVE:
                    raise _RanDryError
            self.elements.push(stack, x[rows], self.latents.features(_padded(symbols), given))
            if not (alone and way == AT_PRIOR):
                self.latents.push(stack, symbols)
        return Block(start, way, stack.words)

    def _posterior(self, x, condition):
        x = _padded(x + self.elements.low).reshape(BATCH, *self.vae.event_shape)
        return self.latents.posterior(tf.constant(x, self.vae.likelihood.compute_dtype), condition)


def _steps(n: int, start: int) -> Iterator[tuple[slice, bool]]:
    """The examples of each step, and whether they are among the first `start`, without bits back.

    The stack grows with what is done. A step takes a share of it, 1/start, so that the stack does not run dry.
    """
    first = 0
    while first < n:
        alone = first < start
        size = BATCH if start == 0 else start - first if alone else first // start
        stop = min(first + size, first + BATCH, n)
        yield slice(first, stop), alone
        first = stop


def _padded(rows) -> np.ndarray:
    """`[n, ...]` as `[BATCH, ...]`: the rows again and again."""
    return np.resize(rows, (BATCH, *rows.shape[1:]))


def _rows_of(condition, rows: slice):
    return None if condition is None else tf.constant(_padded(condition[rows]))
