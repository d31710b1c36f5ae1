"""Whole numbers that users give."""

import numbers


def check_at_least(least: int, **counts) -> None:
    """Raise a ValueError unless all are whole numbers, and large enough."""
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, numbers.Integral):
            raise ValueError(f"{name} must be a whole number, got {count!r}.")
        if count < least:
            raise ValueError(f"{name} must be at least {least}, got {count}.")
