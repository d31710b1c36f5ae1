"""Whether the scores of new rows are those of the calibration rows."""

import math
from typing import Any, NamedTuple

import numpy as np

from kvae._environment import install


class Drift(NamedTuple):
    """What `Detector.drift` gives.

    Attributes:
        statistic: the largest distance between the distribution functions of the scores, 0 to 1.
        p_value: of the two-sample Kolmogorov-Smirnov test; small where the scores have another distribution.
        shift: the mean score of the new rows less that of the calibration rows, in the score's unit.
        standard_error: of the shift.
    """

    statistic: float
    p_value: float
    shift: float
    standard_error: float


def statistics() -> Any:
    """`scipy.stats`.

    Raises:
        ImportError: without SciPy, with the command that installs it.
    """
    try:
        from scipy import stats
    except ImportError as error:
        raise ImportError(f"The tests of kvae.anomaly come from SciPy: {install('anomaly')}") from error
    return stats


def drift(calibration: np.ndarray, scores: np.ndarray) -> Drift:
    """Compare two samples of scores."""
    if len(scores) < 2 or len(calibration) < 2:
        raise ValueError(
            f"drift compares two samples of two rows or more, got {len(scores)} beside {len(calibration)} of the "
            "calibration. Give more rows."
        )
    found = statistics().ks_2samp(calibration, scores)
    error = math.sqrt(calibration.var(ddof=1) / len(calibration) + scores.var(ddof=1) / len(scores))
    return Drift(float(found.statistic), float(found.pvalue), float(scores.mean() - calibration.mean()), error)
