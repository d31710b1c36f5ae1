"""Split-conformal p-values and thresholds: arrays of scores, higher for stranger rows; no model."""

import math

import numpy as np

from kvae.numerics import arguments

TIE = 1e-5  # float32 sums of one row differ by less between batches, as a part of their size


def limits(scores: np.ndarray, center: float = 0.0) -> np.ndarray:
    """What a score must exceed to be higher than each of these by more than rounding; within it scores tie.

    `scores` are distances from `center`, whose rounding is that of both. The order is kept.
    """
    return scores + TIE * np.maximum(1.0, np.abs(scores) + abs(center))


def p_values(calibration: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """(1 + #{calibration >= score}) / (n + 1) for each score, float64; `calibration` `[n]` is in ascending order."""
    below = np.searchsorted(calibration, scores, side="left")
    return (1 + len(calibration) - below) / (len(calibration) + 1)


def rank(n: int, alpha: float) -> int:
    """How many of the n + 1 places that a normal row has among n others raise an alarm: floor(alpha (n + 1)).

    Raises:
        ValueError: for an alpha that no p-value of so many calibration rows reaches.
    """
    alpha = arguments.number("alpha", alpha, above=0.0, below=1.0)
    found = int(np.sum(np.arange(1, n + 1) / (n + 1) <= alpha))  # free of rounding
    if found == 0:
        raise ValueError(
            f"alpha={alpha:g} is below 1 / {n + 1}, the smallest p-value that {n} calibration rows give: there would "
            f"never be an alarm. Calibrate on {math.ceil(1.0 / alpha) - 1} rows or more, or take a larger alpha."
        )
    return found


def threshold(calibration: np.ndarray, alpha: float) -> float:
    """The score above which the p-value is at most alpha, one of the calibration's."""
    n = len(calibration)
    return float(calibration[n - rank(n, alpha)])
