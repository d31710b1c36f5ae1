"""The elements of x on the stack, by the masses that the likelihood gives them."""

import math

import numpy as np
import tensorflow as tf

WIDEST = 4096  # integers of a table; of a likelihood with more it holds those about the median
_FLOATS = 1 << 22  # of the tables that are made at once
_TAIL = 2.0**-20  # of the mass on either side of a table
_LEAST = 2.0**-24  # of an integer outside the table
MOST = 1 << 24  # the largest count: up to here float32 numbers are one apart
_DIGIT = 12  # bits


class Elements:
    """Puts x on the stack and takes it off, given the decoder's features at z.

    Each element has a table: the masses of the integers of the support, or of a window that holds nearly all of the
    mass. An integer outside the window is coded as such, and then by its number of bits and these bits.

    Tables are made for some rows at a time, for encoding and for decoding by the same program.
    """

    def __init__(self, vae):
        self.likelihood, self.methods = vae.likelihood, vae.methods
        self.size = math.prod(vae.event_shape)
        self.low, high = int(vae.likelihood.support.low), vae.likelihood.support.high
        self.levels = int(high) - self.low + 1 if math.isfinite(high) else math.inf

    def push(self, stack, x, features) -> None:
        """Integers x - low `[n, size]`, int64, for features `[B, *feature_shape]` of n rows or more."""
        for rows in reversed(self._rows(len(x))):
            first, table = self._part(features, rows)
            symbols = (x[rows] - first).reshape(-1)
            if self.levels > WIDEST:
                last = table.shape[1] - 1
                outside = (symbols < 0) | (symbols >= last)
                _push_outside(stack, x[rows].reshape(-1)[outside])
                symbols = np.where(outside, last, symbols)
            stack.push_table(symbols, table)

    def pop(self, stack, n: int, features) -> np.ndarray:
        """The x of `push`."""
        x = np.empty((n, self.size), np.int64)
        for rows in self._rows(n):
            first, table = self._part(features, rows)
            symbols = stack.pop_table(table).astype(np.int64).reshape(-1, self.size)
            x[rows] = symbols + first
            if self.levels > WIDEST:
                outside = symbols == table.shape[1] - 1
                x[rows][outside] = _pop_outside(stack, int(outside.sum()))
        return x

    def _rows(self, n: int) -> list[slice]:
        at_once = max(1, _FLOATS // (self.size * min(self.levels, WIDEST)))
        return [slice(begin, min(begin + at_once, n)) for begin in range(0, n, at_once)]

    def _part(self, features, rows: slice) -> tuple:
        """The first integers of some rows, less low, `[rows, size]` or 0, and the tables, `[rows * size, width]`.

        They are made of as many rows of features as there are in a whole part, so that there are few shapes.
        """
        at_once = self._rows(len(features))[0].stop
        features = features[rows.start : rows.start + at_once]
        count = rows.stop - rows.start
        if self.levels <= WIDEST:
            table = self._table(features, np.zeros((len(features), self.size)), self.levels)
            return 0, table[:count].reshape(-1, self.levels)
        first, width = self._windows(features)
        table = self._table(features, first, width)
        rest = np.maximum(1.0 - table.sum(axis=-1, keepdims=True, dtype=np.float64), _LEAST)
        table = np.concatenate([table, rest.astype(np.float32)], axis=-1)
        return first[:count], table[:count].reshape(-1, width + 1)

    def _table(self, features, first, width: int) -> np.ndarray:
        """The masses of low + first, low + first + 1, ..., `[rows, size, width]`."""

        def masses(features, first):
            p = self.likelihood.distribution(features)
            first = tf.cast(tf.reshape(first, [-1, *self.likelihood.event_shape]), self.likelihood.compute_dtype)
            found = self.likelihood.masses(p, first + float(self.low), width)
            return tf.reshape(tf.cast(found, tf.float32), [-1, self.size, width])

        return self._function(("compress masses", width), masses)(features, tf.constant(first, tf.float64)).numpy()

    def _windows(self, features) -> tuple[np.ndarray, int]:
        """The first integer of each window, less low, int64 `[rows, size]`, and the width, a power of two."""

        def quantiles(features):
            p = self.likelihood.distribution(features)
            ones = tf.ones([features.shape[0], *self.likelihood.event_shape], self.likelihood.compute_dtype)
            found = [self.likelihood.draw(p, u * ones) for u in (_TAIL, 0.5, 1.0 - _TAIL)]
            return tf.reshape(tf.cast(tf.stack(found), tf.float64), [3, -1, self.size])

        found = self._function("compress windows", quantiles)(features).numpy()
        if not np.isfinite(found).all():
            found = np.zeros_like(found)  # the table says so
        least, median, most = found.astype(np.int64) - self.low
        width = _power(int((most - least).max()) + 1)
        return np.where(most - least < width, least, np.maximum(least, median - width // 2)), width

    def _function(self, key, method):
        return self.methods.get(key, lambda: tf.function(method, autograph=False))


def _power(n: int) -> int:
    """The smallest power of two from n on, at most `WIDEST`."""
    return min(WIDEST, 1 << (n - 1).bit_length())


def _push_outside(stack, x) -> None:
    """Whole numbers from 0 to 2^24: the number of bits of x + 1, and these but for the first, in two digits."""
    exponent = np.frexp(x + 1.0)[1] - 1
    rest = x + 1 - (1 << exponent.astype(np.int64))
    lower, upper = _sizes(exponent)
    stack.push_uniform(rest >> _DIGIT, upper)
    stack.push_uniform(rest & ((1 << _DIGIT) - 1), lower)
    stack.push_uniform(exponent, np.full(len(x), MOST.bit_length()))


def _pop_outside(stack, n: int) -> np.ndarray:
    exponent = stack.pop_uniform(np.full(n, MOST.bit_length())).astype(np.int64)
    lower, upper = _sizes(exponent)
    rest = stack.pop_uniform(lower).astype(np.int64)
    rest += stack.pop_uniform(upper).astype(np.int64) << _DIGIT
    return rest + (1 << exponent) - 1


def _sizes(exponent) -> tuple[np.ndarray, np.ndarray]:
    """How many values the lower and the upper digit of so many bits have; a uniform symbol has two or more."""
    return 1 << np.clip(exponent, 1, _DIGIT), 1 << np.maximum(exponent - _DIGIT, 1)
