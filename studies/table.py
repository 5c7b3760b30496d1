"""Tables of a report: columns as data, a row for each group of runs."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from keras_gradattn.training import tables
from studies.reading import Experiment

# A reader takes in no more at once.
MOST_COLUMNS = 7

Runs = list[Experiment]
Columns = Mapping[str, Callable[[Runs], str]]


def tabulate(columns: Columns, groups: Iterable[Runs]) -> str:
    """A Markdown table.

    Args:
        columns: Title of each column -> what it says of a group of runs.
        groups: One row each.
    """
    rows = [[cell(runs) for cell in columns.values()] for runs in groups]
    return markdown(list(columns), rows)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table of ready cells.

    Raises:
        ValueError: If there are more columns than a reader takes in.
    """
    if len(header) > MOST_COLUMNS:
        raise ValueError(
            f"A table has at most {MOST_COLUMNS} columns. Received: {list(header)}"
        )
    return tables.markdown(header, rows)


def section(title: str, *parts: str) -> str:
    """A section of a page: its title and its paragraphs, empty ones left out."""
    return "\n\n".join([f"## {title}", *filter(None, parts)])


def each(runs: Iterable[Experiment]) -> list[Runs]:
    """A group for every run."""
    return [[run] for run in runs]
