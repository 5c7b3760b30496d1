"""Checks that several layers and networks make of their arguments."""

from numbers import Integral
from typing import Any

import keras

MIXINGS = ("attention", "static", "equal")


def is_positive_integer(value: Any) -> bool:
    """Whether `value` counts something: a Python or NumPy integer above zero."""
    if not isinstance(value, Integral) or isinstance(value, bool):
        return False
    return int(value) > 0


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


def check_mixing(mixing: str) -> None:
    """Refuse an unknown way of weighing depths.

    Raises:
        ValueError: If it is none of `MIXINGS`.
    """
    if mixing not in MIXINGS:
        raise ValueError(
            f"`mixing` must be one of {MIXINGS}. Received: mixing={mixing!r}"
        )


def checked_data_format(data_format: str | None) -> str:
    """A data format by name; `None` is Keras' global setting.

    Args:
        data_format: `"channels_last"`, `"channels_first"` or `None`.

    Returns:
        One of the two names.

    Raises:
        ValueError: If it is anything else.
    """
    if data_format is None:
        return keras.config.image_data_format()
    if data_format not in ("channels_last", "channels_first"):
        raise ValueError(
            "`data_format` must be 'channels_last' or 'channels_first'. "
            f"Received: data_format={data_format!r}"
        )
    return data_format
