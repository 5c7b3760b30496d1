"""What a misspelt name was meant to be."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def suggestion(name: str, known: Iterable[str], rather: Iterable[str] = ()) -> str:
    """`" Did you mean 'cifar10'?"`, or nothing where no name is near.

    Args:
        name: The misspelt name.
        known: All names.
        rather: Names that come first where they are very near.
    """
    word = str(name).lower()
    near = difflib.get_close_matches(word, rather, n=1, cutoff=0.7)
    near = near or difflib.get_close_matches(word, known, n=1, cutoff=0.4)
    return f" Did you mean {near[0]!r}?" if near else ""
