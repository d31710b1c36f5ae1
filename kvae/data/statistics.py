"""Means and spreads of what was observed."""

import numpy as np

from kvae.data.batch import Batch
from kvae.data.checks import HasSupport
from kvae.data.inputs import batches


def mean(data, likelihood: HasSupport, function=None) -> tuple[np.ndarray, np.ndarray]:
    """The mean of each element of x where it was observed, and in how many examples: float64 `[*event_shape]`.

    With a function, from x `[B, *event_shape]` to an array of that shape, the mean of what it gives. An element that
    was never observed counts as one neutral value.
    """
    function = function or (lambda x: x)
    neutral = np.broadcast_to(np.asarray(likelihood.neutral, np.float64), likelihood.event_shape)
    total, count = np.zeros(likelihood.event_shape), np.zeros(likelihood.event_shape)
    for batch in batches(data, likelihood):
        x = batch.x if batch.mask is None else np.where(batch.mask, batch.x, neutral)
        mask = observed_mask(batch)
        total += function(x).sum(axis=0, where=mask, dtype=np.float64)
        count += mask.sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), function(neutral[None])[0]), count


def random_rows(data, likelihood: HasSupport, condition_shape, n: int, seed: int, without=()) -> Batch:
    """n examples at random by the seed, without repetition where there are as many; the data are read once.

    Those with the numbers `without` are left out.
    """
    random, kept, keys, first = np.random.default_rng(seed), None, np.zeros(0), 0
    for batch in batches(data, likelihood, condition_shape):
        own = random.random(len(batch.x))
        own[np.isin(np.arange(first, first + len(own)), without)] = np.inf
        keys, first = np.concatenate([keys, own]), first + len(own)
        kept = batch if kept is None else Batch(*map(_both, kept, batch))
        best = np.argsort(keys)[:n]
        best = best[np.isfinite(keys[best])]
        keys, kept = keys[best], kept.map(lambda array, rows=best: np.asarray(array)[rows])
    assert kept is not None
    return kept.map(lambda array: np.resize(array, (n, *array.shape[1:])))


def _both(one, other):
    return None if one is None else np.concatenate([one, other])


def observed_mask(batch: Batch) -> np.ndarray:
    """The mask of a batch of arrays, True everywhere where there is none."""
    return np.ones(batch.x.shape, bool) if batch.mask is None else batch.mask
