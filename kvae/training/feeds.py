"""What a `Loop` runs its steps on: arrays in memory, with the numbers of the rows of each step."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf


class Piece(NamedTuple):
    """Some steps of a pass, for one call of a compiled function.

    Attributes:
        arrays: name to tensor `[M, ...]`.
        rows: `[steps, B]`, int32: the rows of the arrays that each step takes.
        first, steps: the first one of these to run, and how many.
        offset: where the rows are in their stored order, the number in the split of row 0 of the arrays.
    """

    arrays: dict[str, tf.Tensor]
    rows: tf.Tensor
    first: int
    steps: int
    offset: int = 0


class Feed:
    """Abstract: the rows of a pass, in batches.

    Args:
        arrays: name to array `[N, ...]`, of which one is x.
        size: of a batch.
        order: from the number of a pass to the rows in its order, int32 `[N]`.

    Attributes:
        whole: how many batches of this size there are.
        specs: name to the type of the array, with any number of rows.
    """

    def __init__(self, arrays: dict[str, Any], size: int, order: Callable[[int], np.ndarray]):
        self.arrays, self.size, self.order = arrays, size, order
        self.whole, self.ragged = divmod(len(arrays["x"]), size)
        self.specs = {name: tf.TensorSpec([None, *array.shape[1:]], array.dtype) for name, array in arrays.items()}

    def pieces(self, passes: int, first: int, count: int) -> Iterator[Piece]:
        """The steps first..first + count - 1 of a pass. The ragged batch, the last one, is a piece of its own."""
        raise NotImplementedError


class Held(Feed):
    """Arrays in memory."""

    def __init__(self, arrays, size, order):
        super().__init__({name: tf.constant(np.asarray(array)) for name, array in arrays.items()}, size, order)
        self._rows: tuple[int, tf.Tensor, tf.Tensor] | None = None  # pass, whole batches, ragged batch

    def pieces(self, passes, first, count):
        """One piece, and the ragged batch."""
        if self._rows is None or self._rows[0] != passes:
            rows = np.split(self.order(passes), [self.whole * self.size])
            self._rows = passes, tf.constant(rows[0].reshape(self.whole, self.size)), tf.constant(rows[1][None])
        in_whole = min(count, self.whole - first)
        if in_whole > 0:
            yield Piece(self.arrays, self._rows[1], first, in_whole)
        if count > max(in_whole, 0):
            yield Piece(self.arrays, self._rows[2], 0, 1)
