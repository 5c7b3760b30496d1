"""Checks that several layers and networks make of their arguments."""

from numbers import Integral
from typing import Any


def is_positive_integer(value: Any) -> bool:
    """Whether `value` counts something: a Python or NumPy integer above zero."""
    return isinstance(value, Integral) and not isinstance(value, bool) and value > 0


def check_positive_integers(**counts: Any) -> None:
    """Refuse arguments that do not count something.

    Args:
        **counts: Values by the name of their argument.

    Raises:
        ValueError: Naming the first that is not a positive integer.
    """
    for name, value in counts.items():
        if not is_positive_integer(value):
            raise ValueError(
                f"`{name}` must be a positive integer. Received: {name}={value!r}"
            )
