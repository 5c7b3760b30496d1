"""A record summed up into the columns of a picture."""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from keras_gradattn.gradients.gradient_record import GradientRecord

Numbers = np.ndarray[Any, np.dtype[Any]]


@dataclasses.dataclass(frozen=True)
class Columns:
    """Rows of a record, neighbours put together.

    Attributes:
        edges: (columns + 1,) running steps at which the columns begin and end.
        first: (columns,) index of each column's first row.
        level: (columns, groups) geometric mean of the numbers that are finite and
            above zero, or plain mean of the finite ones; NaN where there is none.
        measured: (columns, groups) rows in which the group was measured.
        zero: (columns, groups) rows among them that are exactly zero.
        nonfinite: (columns, groups) rows among them that are NaN or infinite.
    """

    edges: Numbers
    first: Numbers
    level: Numbers
    measured: Numbers
    zero: Numbers
    nonfinite: Numbers

    @property
    def zero_share(self) -> Numbers:
        """(columns, groups) share of the measured rows that are exactly zero."""
        return self.zero / np.maximum(self.measured, 1)

    @property
    def nonfinite_share(self) -> Numbers:
        """(columns, groups) share of the measured rows that are not finite."""
        return self.nonfinite / np.maximum(self.measured, 1)


@dataclasses.dataclass(frozen=True)
class Phase:
    """Where a `fit` or a new optimizer begins, and what to write there."""

    running_step: int
    label: str


def columns_of(
    values: Numbers,
    running_step: Numbers,
    *,
    measured: Numbers,
    stride: int,
    most: int,
    geometric: bool = True,
) -> Columns:
    """Put neighbouring rows together until at most `most` columns are left.

    Args:
        values: (rows, groups) numbers of at least zero, or not finite.
        running_step: (rows,) steps that never go back.
        measured: (rows, groups) False where there is no number.
        stride: Steps from one row to the next, for the width of the last one.
        most: Columns wanted at most.
        geometric: Whether `level` is a geometric mean, or a plain one.

    Returns:
        The columns; each row is in one of them.
    """
    rows = len(values)
    cuts = np.unique(np.linspace(0, rows, min(rows, most) + 1).astype(int))
    first = cuts[:-1]
    finite = np.isfinite(values)
    usable = measured & finite
    if geometric:
        usable &= values > 0
        parts = np.log(values, out=np.zeros(values.shape), where=usable)
    else:
        parts = np.where(usable, values, 0.0)
    count = np.add.reduceat(usable, first, axis=0, dtype=int)
    total = np.add.reduceat(parts, first, axis=0)
    mean = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return Columns(
        edges=np.append(running_step[first], running_step[-1] + stride),
        first=first,
        level=np.exp(mean) if geometric else mean,
        measured=np.add.reduceat(measured, first, axis=0, dtype=int),
        zero=np.add.reduceat(measured & (values == 0), first, axis=0, dtype=int),
        nonfinite=np.add.reduceat(measured & ~finite, first, axis=0, dtype=int),
    )


def norm_columns(record: "GradientRecord", most: int) -> Columns:
    """Columns of `record.norm`."""
    return columns_of(
        record.norm,
        running_step(record),
        measured=measured(record),
        stride=record.kept_every,
        most=most,
    )


def measured(record: "GradientRecord") -> Numbers:
    """(rows, groups) whether the group has a gradient in that row."""
    known = getattr(record, "measured", None)
    if known is None:
        return np.ones(record.norm.shape, dtype=bool)
    return np.asarray(known, dtype=bool)


def running_step(record: "GradientRecord") -> Numbers:
    """(rows,) steps that go on counting where a new optimizer starts from 0."""
    known = getattr(record, "running_step", None)
    return run_on(record.step, record.kept_every) if known is None else known


def run_on(step: Numbers, stride: int) -> Numbers:
    """Steps counted on where they start again."""
    if not len(step):
        return step
    ahead = np.diff(step)
    return step[0] + np.append(0, np.cumsum(np.where(ahead > 0, ahead, stride)))


def phases(record: "GradientRecord") -> list[Phase]:
    """Beginnings of all `fit` calls and phases after the first, none for a single one.

    The first is told too where others follow.
    """
    steps, fit = running_step(record), record.fit
    told = getattr(record, "phases", ())
    number = np.asarray(record.phase) if told else fit
    new = (np.diff(fit) != 0) | (np.diff(number) != 0)
    begins = np.append(0, 1 + np.flatnonzero(new))
    if len(begins) < 2:
        return []
    return [
        Phase(
            int(steps[row]),
            f"fit {fit[row]}"
            + (_told(told[int(number[row])]) if told and _is_new(number, row) else ""),
        )
        for row in begins.tolist()
    ]


def _is_new(number: Numbers, row: int) -> bool:
    return row == 0 or bool(number[row] != number[row - 1])


def _told(phase: Any) -> str:
    rate = phase.learning_rate
    return f": {phase.optimizer}" + ("" if rate is None else f" {rate:.3g}")
