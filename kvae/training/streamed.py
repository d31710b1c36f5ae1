"""What a `Loop` runs its steps on where the rows are on disk."""

import bisect
import math
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import tensorflow as tf

from kvae.data.shards import on_disk, shards_of
from kvae.training.feeds import Feed, Piece

LARGEST_HELD = 64 << 20  # bytes of an array on disk that is copied to memory
_BLOCK = 4 << 20  # bytes
_READER = ThreadPoolExecutor(1, "kvae reads ahead")  # one thread for all: malloc keeps some memory for each


class Streamed(Feed):
    """Arrays whose rows are read in blocks of some steps. While the steps of one run, a thread reads the next.

    The rows of a step are those that it has with the arrays in memory, so the results are the same.

    Args:
        arrays, size, order: as of a `Feed`.
        onward: whether a pass is followed by another.
        own: from the size of a batch to the slice of it that this process takes. The other rows are not read.
    """

    def __init__(self, arrays, size, order, onward, own):
        arrays = {name: shards_of(array) if on_disk(array) else array for name, array in arrays.items()}
        super().__init__(arrays, size, order)
        self.onward, self.own = onward, own
        bytes_of_batch = size * sum(math.prod(spec.shape[1:]) * spec.dtype.size for spec in self.specs.values())
        self.steps = max(1, min(self.whole, _BLOCK // bytes_of_batch))  # of a block
        self.bounds = [*range(0, self.whole, self.steps), self.whole, self.whole + 1][: None if self.ragged else -1]
        self._block: tuple = (None, {}, None)  # pass and number of a block, its arrays and rows
        self._next: tuple[tuple[int, int], Future] | None = None
        self._order: tuple[int, np.ndarray] | None = None  # of the pass that is read

    def pieces(self, passes, first, count):
        """A piece for each block. The ragged batch is a block of its own."""
        end = first + count
        while first < end:
            number = bisect.bisect(self.bounds, first) - 1
            begin, stop = self.bounds[number], min(end, self.bounds[number + 1])
            if self._block[0] != (passes, number):
                self._turn_to(passes, number)
            yield Piece(*self._block[1:], first - begin, stop - first, begin * self.size)
            first = stop

    def _turn_to(self, passes: int, number: int) -> None:
        key, self._block = (passes, number), (None, {}, None)  # which frees the block before
        reading = self._next[1] if self._next and self._next[0] == key else _READER.submit(self._read, *key)
        self._block = key, *reading.result()
        following = (passes, number + 1) if number + 2 < len(self.bounds) else (passes + 1, 0)
        self._next = None
        if following[0] == passes or self.onward:
            self._next = following, _READER.submit(self._read, *following)

    def _read(self, passes: int, number: int) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        """The arrays of a block, always with as many rows (XLA compiles for that number), and the rows of its steps."""
        if self._order is None or self._order[0] != passes:
            self._order = passes, self.order(passes)
        begin, end = self.bounds[number : number + 2]
        rows = self._order[1][begin * self.size : end * self.size].reshape(end - begin, -1)
        shape = (self.steps if rows.shape[1] == self.size else 1), rows.shape[1]
        own = self.own(rows.shape[1])
        found = {}
        for name, array in self.arrays.items():
            some = array[rows[:, own].ravel()]
            if len(some) < math.prod(shape):
                block = np.zeros((*shape, *some.shape[1:]), some.dtype)
                block[: len(rows), own] = some.reshape(len(rows), -1, *some.shape[1:])
                some = block.reshape(-1, *some.shape[1:])
            found[name] = tf.constant(some)
        return found, tf.reshape(tf.range(math.prod(shape)), shape)
