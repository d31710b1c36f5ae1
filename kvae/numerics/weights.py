"""The effective sample size of importance weights, and what to say where it is small."""

import warnings

import numpy as np

FEW = 5.0  # draws that are left of many
_MANY = 50  # draws: of fewer nobody expects more
_SHARE = 0.1  # of the examples


def warn_of_few(effective_sample_size, samples: int, effect: str, remedy: str, stacklevel: int = 3) -> None:
    """Warn where for 10 % of the examples or more the weights of `samples` draws leave the worth of fewer than five.

    Args:
        effective_sample_size: (sum w)^2 / sum w^2 of each example, `[N]`.
        samples: draws for each. Of 50 or fewer nothing is said.
        effect: what is wrong there, a clause such as "log p(x) is too low there".
        remedy: what to do, a sentence.
        stacklevel: of the warning, by default the caller of the function that calls this one.
    """
    ess = np.asarray(effective_sample_size)
    few = int((ess < FEW).sum())
    if samples <= _MANY or few < max(1.0, _SHARE * ess.size):
        return
    warnings.warn(
        f"The effective sample size is below {FEW:g} of {samples} draws for {few} of {ess.size} examples (the smallest "
        f"is {ess.min():.1f}): {effect}. {remedy}",
        stacklevel=stacklevel,
    )
