"""From trajectories `[N, T, *event_shape]` to codes, and to windows of consecutive states in batches."""

import itertools
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from kvae.data.arrays import as_array

STATES = 4096  # encoded at a time


class Windows:
    """All stretches of `length` consecutive states of trajectories `[N, T, ...]`: views, read batch by batch.

    Args:
        states: an array `[N, T, ...]`, which may be memory-mapped.
        length: of a window, at most T.
        dtype: of the batches; by default that of the states.
        given: None, or conditions `[N, C]`, that of its trajectory beside each window in a batch.
    """

    def __init__(self, states: np.ndarray, length: int, dtype=None, given: np.ndarray | None = None):
        self.dtype, self.given = np.dtype(dtype or states.dtype), given
        self.length, self.per_trajectory = length, states.shape[1] - length + 1
        self._views = np.lib.stride_tricks.sliding_window_view(states, length, axis=1)

    def __len__(self):
        return len(self._views) * self.per_trajectory

    def __getitem__(self, numbers) -> np.ndarray:
        found = self._views[np.divmod(numbers, self.per_trajectory)]
        return np.ascontiguousarray(np.moveaxis(found, -1, 1), self.dtype)

    def conditions_of(self, numbers) -> np.ndarray:
        """The conditions `[W, C]` of windows."""
        assert self.given is not None
        return self.given[numbers // self.per_trajectory].astype(self.dtype)

    def all(self) -> np.ndarray:
        """Every window `[W, length, ...]`, trajectory by trajectory."""
        return self[np.arange(len(self))]

    def shuffled(self, batch_size: int, seed: int, done: int) -> tuple[tf.data.Dataset, int]:
        """Endless batches after `done` of them, and how many make a pass. The order is a function of (seed, pass).

        A pass leaves out what does not fill a batch.
        """
        size = min(batch_size, len(self))
        steps = len(self) // size

        def batches() -> Iterator:
            skipped = done % steps
            for number in itertools.count(done // steps):
                order = np.random.default_rng([seed, number]).permutation(len(self))
                for i in range(skipped, steps):
                    yield self._batch(order[i * size : (i + 1) * size])
                skipped = 0

        return self._dataset(batches, size, tf.data.INFINITE_CARDINALITY), steps

    def in_order(self, batch_size: int) -> tf.data.Dataset:
        """Every window once, in batches."""

        def batches() -> Iterator:
            for first in range(0, len(self), batch_size):
                yield self._batch(np.arange(first, min(first + batch_size, len(self))))

        return self._dataset(batches, None, -(-len(self) // batch_size))

    def _batch(self, numbers):
        return self[numbers] if self.given is None else (self[numbers], self.conditions_of(numbers))

    def _dataset(self, batches, size: int | None, count: int) -> tf.data.Dataset:
        event = self._views.shape[2:-1]
        signature = tf.TensorSpec((size, self.length, *event), self.dtype)
        if self.given is not None:
            signature = signature, tf.TensorSpec((size, self.given.shape[1]), self.dtype)
        data = tf.data.Dataset.from_generator(batches, output_signature=signature)
        return data.apply(tf.data.experimental.assert_cardinality(count)).prefetch(tf.data.AUTOTUNE)


def checked(trajectories, event_shape: tuple[int, ...], least: int) -> np.ndarray:
    """Trajectories as an array `[N, T, *event_shape]` with at least `least` states.

    Raises:
        ValueError: for anything else, and where values are missing.
    """
    values, mask, _ = as_array(trajectories, "trajectories")
    shape = tuple(np.shape(values))
    if len(shape) != len(event_shape) + 2 or shape[2:] != tuple(event_shape) or 0 in shape:
        raise ValueError(
            f"trajectories must have shape [N, T, {', '.join(map(str, event_shape))}], got {shape}. One trajectory "
            "takes an axis in front: x[None]."
        )
    if mask is not None:
        raise ValueError("trajectories have missing values. Fill them in, with vae.impute for example.")
    if shape[1] < least:
        raise ValueError(
            f"trajectories must have at least {least} states for this order and horizon, got {shape[1]}. Give longer "
            "ones, or a smaller horizon."
        )
    return values


def conditions(value, size: int, rows: int) -> np.ndarray:
    """The conditions of `rows` trajectories as an array `[N, size]`; `[N]` is taken for a single number each.

    Raises:
        ValueError: for anything else, and a condition where the model has none, or the other way round.
    """
    if value is None and not size:
        return np.zeros((rows, 0))
    if value is None or not size:
        raise ValueError(
            f"This Dynamics was made with condition={size}, got condition={'None' if value is None else 'an array'}. "
            + ("Give as many numbers for each trajectory." if size else "Leave it out, or make a model with one.")
        )
    found = array(value, "condition")
    found = found[:, None] if found.ndim == 1 and size == 1 else found
    if found.shape != (rows, size) or not np.isfinite(found).all():
        raise ValueError(
            f"condition must be finite numbers of shape {(rows, size)}, a row for each trajectory, got shape "
            f"{found.shape}. A viscosity of all is numpy.full({rows}, nu)."
        )
    return found


def array(value, name: str) -> np.ndarray:
    """Numbers that a user gave, as an array; NaN where they are missing.

    Raises:
        ValueError: for what is no array of real numbers.
    """
    values, mask, _ = as_array(value, name)
    return np.asarray(values) if mask is None else np.where(mask, values, np.nan)


def in_parts(function, trajectories: np.ndarray) -> np.ndarray:
    """A function from states `[B, *event_shape]`, and the number of the first, to rows; over all: `[N, T, ...]`."""
    count, steps = trajectories.shape[:2]
    parts = []
    for first in range(0, count * steps, STATES):
        numbers = np.arange(first, min(first + STATES, count * steps))
        parts.append(np.asarray(function(trajectories[np.divmod(numbers, steps)], first)))
    return np.concatenate(parts).reshape(count, steps, *parts[0].shape[1:])


def before(codes: np.ndarray, more: int) -> np.ndarray:
    """Codes `[N, T, D]` with their first one repeated `more` times in front: what stands for the time before."""
    return np.concatenate([np.repeat(codes[:, :1], more, axis=1), codes], axis=1)
