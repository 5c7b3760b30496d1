"""What the arguments of the command line may be, and what they mean."""

import argparse
import json
import re
from collections.abc import Iterable
from typing import Any

# NumPy takes no larger one.
LARGEST_SEED = 2**32 - 1


def count(text: str) -> int:
    """A positive whole number."""
    if not re.fullmatch(r"\d+", text) or int(text) == 0:
        raise argparse.ArgumentTypeError(
            f"should be a positive whole number. Received: {text!r}"
        )
    return int(text)


def seed(text: str) -> int:
    """A whole number that random generators take."""
    if not re.fullmatch(r"\d+", text) or int(text) > LARGEST_SEED:
        raise argparse.ArgumentTypeError(
            f"should be a whole number, 0 or more and at most {LARGEST_SEED}. "
            f"Received: {text!r}"
        )
    return int(text)


def assignments(texts: Iterable[str]) -> dict[str, Any]:
    """`["a=1", "b=x"]` as `{"a": 1, "b": "x"}`; values are JSON where they can be."""
    values: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ValueError(f"Expected NAME=VALUE. Received: {text!r}")
        try:
            values[name] = json.loads(value)
        except ValueError:
            values[name] = {"True": True, "False": False, "None": None}.get(
                value, value
            )
    return values
