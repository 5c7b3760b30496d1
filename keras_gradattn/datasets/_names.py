"""What a misspelt name was meant to be."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def suggestion(name: str, known: Iterable[str]) -> str:
    """`" Did you mean 'cifar10'?"`, or nothing where no name is near."""
    near = difflib.get_close_matches(str(name).lower(), known, n=1, cutoff=0.4)
    return f" Did you mean {near[0]!r}?" if near else ""
