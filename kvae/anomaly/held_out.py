"""Whether calibration rows are rows that the model was trained on, as far as that can be known."""

import collections
import math

import numpy as np

from kvae.data.splits import Split


def check_held_out(rows: Split, train: Split) -> None:
    """Raise a ValueError where more rows are rows of `train` than equal rows among normal data explain.

    In tables and small images equal rows are common. A new row has one in `train` about as often as a row of `train`
    has another one there. Where T of N rows there have one, e = n (T + 2) / N of n rows are expected at most, and
    e + 4 sqrt(e (1 + 2 n / N)) + 3 are allowed: T is itself a count, of which the n rows multiply the error.
    """
    counts = collections.Counter(_keys(train))
    twins = sum(count for count in counts.values() if count > 1)
    found, ratio = sum(key in counts for key in _keys(rows)), len(rows) / len(train)
    expected = (twins + 2) * ratio
    if found > expected + 4.0 * math.sqrt(expected * (1.0 + 2.0 * ratio)) + 3.0:
        explained = f", and equal rows among them explain {expected:.0f}" if twins else ""
        raise ValueError(
            f"Of the {len(rows)} calibration rows {found} are rows of the training data{explained}: their scores are "
            "too low, and normal rows would raise more false alarms than promised. Calibrate on held-out rows that "
            "neither trained the model nor chose its epoch."
        )


def _keys(split: Split):
    """A hash of each row; what is masked does not count."""
    first = 0
    for x in split.chunks():
        x = np.asarray(x, np.float32).reshape(len(x), -1) + np.float32(0.0)  # -0 is 0
        if split.mask is not None:
            x = np.where(split.mask[first : first + len(x)].reshape(x.shape), x, np.float32(np.nan))
        first += len(x)
        yield from (hash(row.tobytes()) for row in x)
