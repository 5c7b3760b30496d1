"""Tables of figures."""

from collections.abc import Iterable, Sequence

from keras_gradattn.training.tables import markdown


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, numbers to the right; empty without rows.

    Args:
        header: Names of the columns.
        rows: Cells as text.
    """
    rows = list(rows)
    return markdown(header, rows, numbers=True) if rows else ""
