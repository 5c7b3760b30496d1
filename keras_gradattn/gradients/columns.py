"""A record summed up into the columns of a picture."""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from keras_gradattn.gradients._phases import Phase
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
class Begin:
    """Where a `fit` or a phase begins, and what to write there."""

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


def norm_columns(record: "GradientRecord", most: int, key: str = "norm") -> Columns:
    """Columns of `record.norm`, or of `record.rms` for `key="rms"`."""
    return columns_of(
        getattr(record, key),
        record.running_step,
        measured=record.measured,
        stride=record.kept_every,
        most=most,
    )


def begins(record: "GradientRecord") -> list[Begin]:
    """Where fits and phases begin, none for a single one."""
    fit, phase = record.fit, record.phase
    new = (np.diff(fit) != 0) | (np.diff(phase) != 0)
    rows = np.append(0, 1 + np.flatnonzero(new))
    if len(rows) < 2:
        return []
    steps = record.running_step
    return [
        Begin(
            int(steps[row]),
            f"fit {fit[row]}"
            + (_told(record.phases[phase[row]]) if _is_new(phase, row) else ""),
        )
        for row in rows.tolist()
    ]


def _is_new(phase: Numbers, row: int) -> bool:
    return row == 0 or bool(phase[row] != phase[row - 1])


def _told(phase: "Phase") -> str:
    rate = phase.learning_rate
    told = phase.optimizer + ("" if rate is None else f" {rate:.3g}")
    return told and f": {told}"
