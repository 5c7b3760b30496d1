"""What counts as a number where somebody may have typed anything."""

from __future__ import annotations

import numbers


def is_count(value: object) -> bool:
    """Whether it is a whole number above 0."""
    return (
        isinstance(value, numbers.Integral)
        and not isinstance(value, bool)
        and int(value) > 0
    )


def is_share(value: object) -> bool:
    """Whether it is a number between 0 and 1, without the two."""
    return isinstance(value, numbers.Real) and 0 < float(value) < 1
