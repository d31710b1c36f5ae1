"""A bar for work that takes long."""

import sys

from tqdm import tqdm

from kvae.data import inputs
from kvae.numerics import arguments

_SECONDS_WITHOUT = 2.0


def progress(data, verbose: bool | str = "auto") -> tqdm:
    """A bar over the examples of data; "auto" shows it in a terminal, once the work has taken two seconds.

    Args:
        data: an array, a split or a dataset.
        verbose: "auto", True or False.
    """
    if not isinstance(verbose, (bool, int)) and not (isinstance(verbose, str) and verbose == "auto"):
        raise ValueError(f"verbose must be 'auto', True or False, got {arguments.shown(verbose)}.")
    shown = sys.stderr.isatty() if verbose == "auto" else bool(verbose)
    return tqdm(total=inputs.count(data), unit=" examples", delay=_SECONDS_WITHOUT, disable=not shown, leave=False)
