"""Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, numbers to the right; empty without rows.

    Args:
        header: Names of the columns.
        rows: Cells as text.
    """
    lines = [" | ".join(row) for row in rows]
    if not lines:
        return ""
    rule = " | ".join(["---"] + ["---:"] * (len(header) - 1))
    return "\n".join(f"| {line} |" for line in (" | ".join(header), rule, *lines))
