"""The effective number of weighted draws, and what to say where it is small."""

import warnings

import numpy as np

FEW = 5.0  # draws; the error of an estimate from fewer cannot be told from them


def warn_of_few(effective: np.ndarray, samples: int, remedy: str, stacklevel: int = 4) -> None:
    """Warn where, of half of the examples or more, the effective sample size is below `FEW`.

    Args:
        effective: 1 / sum_k w_k^2 of normalised weights w, for each example, `[N]`.
        samples: the number of draws; less than 2 `FEW` are few whatever their weights, and nothing is said.
        remedy: what to do.
        stacklevel: of the warning.
    """
    median = np.median(effective) if len(effective) else np.inf
    if samples >= 2 * FEW and median < FEW:
        warnings.warn(
            f"Few draws carry the weight: the median effective sample size is {median:.3g} of {samples}. Errors and "
            f"bands are too small then. {remedy}",
            stacklevel=stacklevel,
        )
