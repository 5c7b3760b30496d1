"""Rows as lines of a CSV file."""

import csv
import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from keras_gradattn.gradients.writers.writer import Row, StepWriter

if TYPE_CHECKING:
    from keras_gradattn.gradients.gradient_record import GradientRecord

_FIRST = ("fit", "epoch", "step")


class CSVWriter(StepWriter):
    """Writes one line a training step, one column a measure and group.

    A cell is empty where nothing was measured; `nan` and `inf` are what the gradient
    was. Columns are found by their names: a measure or group that comes later gets a
    column of its own, and earlier lines get empty cells there.

    Args:
        path: The file.
        append: Continue an existing file instead of replacing it. A line that was cut
            short by a crash is dropped. A step that was trained twice stands there
            twice; the later line counts.
        prefix: First part of every column's name.
        every: Only rows whose step is a multiple of this are written.

    Raises:
        ValueError: Where the file to append to was not written by this class.

    Example:

    ```python
    from keras_gradattn.gradients.writers import CSVWriter

    norms = keras_gradattn.GradientNorms(writers=[CSVWriter("gradients.csv")])
    model.fit(x, y, callbacks=[norms])
    table = pandas.read_csv("gradients.csv")
    ```
    """

    def __init__(
        self,
        path: str | os.PathLike[str] = "gradients.csv",
        *,
        append: bool = False,
        prefix: str = "gradients",
        every: int = 1,
    ):
        super().__init__(prefix=prefix, every=every)
        self.path = Path(path)
        self.append = append
        self._started = False
        self._columns: list[str] = []
        self._file: TextIO | None = None

    def _copy(self, number: int) -> "CSVWriter":
        return CSVWriter(
            self.path.with_stem(f"{self.path.stem}-{number}"),
            append=self.append,
            prefix=self.prefix,
            every=self.every,
        )

    def _start(self, record: "GradientRecord") -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # A second `fit` continues what the first one wrote.
        append = self.append or self._started
        if append and self.path.exists() and self.path.stat().st_size:
            lines = self._whole_lines()
            self._columns = lines[0]
            self._replace(lines)
        else:
            self._columns = list(_FIRST)
            self._replace([self._columns])
        self._started = True

    def _put(self, rows: list[Row]) -> None:
        known = set(self._columns)
        new = dict.fromkeys(n for row in rows for n in row.values if n not in known)
        if new:
            self._add_columns(list(new))
        assert self._file is not None
        lines = csv.writer(self._file)
        for row in rows:
            cells: dict[str, object] = {
                **dict(zip(_FIRST, (row.fit, row.epoch, row.step), strict=True)),
                **row.values,
            }
            lines.writerow([cells.get(column, "") for column in self._columns])
        self._file.flush()

    def _stop(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _whole_lines(self) -> list[list[str]]:
        # A crash may have cut the last line anywhere, inside of a number too: only
        # what ends in a line break is whole.
        whole = self.path.read_text(encoding="utf-8").rpartition("\n")
        lines = list(csv.reader(io.StringIO(whole[0] + whole[1], newline="")))
        if not lines or tuple(lines[0][: len(_FIRST)]) != _FIRST:
            raise ValueError(
                "`append=True` continues files that begin with the columns "
                f"{', '.join(_FIRST)}. Received: path={os.fspath(self.path)!r}"
            )
        return [line for line in lines if len(line) == len(lines[0])]

    def _add_columns(self, names: list[str]) -> None:
        """Give the lines so far an empty cell in each new column."""
        self._stop()
        header, *lines = self._whole_lines()
        self._columns = [*header, *names]
        empty = [""] * len(names)
        self._replace([self._columns, *([*line, *empty] for line in lines)])

    def _replace(self, lines: Iterable[list[str]]) -> None:
        # Beside it first: an interruption leaves one file or the other.
        beside = self.path.with_name(f"{self.path.name}.new")
        with open(beside, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(lines)
        os.replace(beside, self.path)
        self._file = open(self.path, "a", newline="", encoding="utf-8")  # noqa: SIM115
