"""A bar for work that takes long."""

import sys

from tqdm import tqdm

from kvae import feed

_SECONDS_WITHOUT = 2.0


def progress(data, verbose: bool | str = "auto", passes: int = 1) -> tqdm:
    """A bar over the examples of data; "auto" shows it in a terminal, once the work has taken two seconds.

    Args:
        data: an array, a split or a dataset.
        verbose: "auto", True or False.
        passes: how often the examples are gone through.
    """
    shown = sys.stderr.isatty() if verbose == "auto" else bool(verbose)
    examples = feed.count(data)
    total = None if examples is None else passes * examples
    return tqdm(total=total, unit=" examples", delay=_SECONDS_WITHOUT, disable=not shown, leave=False)
