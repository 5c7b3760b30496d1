"""What a writer is, and what all of ours share: names, steps, opening and closing."""

import abc
import importlib
import itertools
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    from keras_gradattn.gradients.gradient_record import GradientRecord

Numbers = np.ndarray[Any, np.dtype[Any]]

# Whole numbers that say where a row belongs. They are not drawn as curves.
PLACES = ("fit", "epoch")


@runtime_checkable
class Writer(Protocol):
    """Takes rows of a record to another tool while training runs.

    `GradientNorms(writers=[...])` calls `open` when `fit` begins, `write` whenever
    rows were read from the device, and `close` when `fit` ends. Any object with these
    three methods is a writer. Where several processes train together, this happens in
    the first one. A copy of the `GradientNorms` has a deep copy of each writer.

    Example:

    ```python
    class Printer:
        def open(self, record):
            self.groups = record.groups

        def write(self, steps, values):
            print(steps[-1], dict(zip(self.groups, values["norm"][-1])))

        def close(self):
            pass


    norms = keras_gradattn.GradientNorms(writers=[Printer()])
    model.fit(x, y, callbacks=[norms])
    ```
    """

    def open(self, record: "GradientRecord") -> None:
        """Get ready for rows of a record; does nothing where it is open already.

        Args:
            record: What is being recorded. Its `groups` name the columns.
        """

    def write(self, steps: Numbers, values: Mapping[str, Numbers]) -> None:
        """Take the rows just read.

        Args:
            steps: (rows,) the optimizer's iteration before each step's update.
            values: Per measure an array of shape `(rows,)`, `(rows, groups)` or, for
                `"histogram"`, `(rows, groups, bins)`. `"fit"` and `"epoch"` say where
                the rows belong. Masked entries were not measured; NaN and infinity
                are what the gradient was.
        """

    def close(self) -> None:
        """Leave everything written so far readable. May be called twice."""


class Histogram(NamedTuple):
    """Counts of gradient elements between finite edges."""

    counts: Numbers
    edges: Numbers


class Row(NamedTuple):
    """One training step.

    Attributes:
        step: The optimizer's iteration.
        running_step: The same, but counted on where a new optimizer starts from 0.
        fit: Running number of the `fit` call, 0 where it was not told.
        epoch: Epoch of that call, 0 where it was not told.
        values: Name to number, measured ones only.
        histograms: Name to histogram.
    """

    step: int
    running_step: int
    fit: int
    epoch: int
    values: dict[str, float]
    histograms: dict[str, Histogram]


class StepWriter(abc.ABC):
    """A writer that puts down one row after another.

    Args:
        prefix: First part of every name: `<prefix>/<measure>/<group>`.
        every: Only rows whose step is a multiple of this are written.

    Raises:
        ValueError: If `every` is not a positive whole number.
    """

    def __init__(self, *, prefix: str = "gradients", every: int = 1):
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise ValueError(
                "`every` must be a whole number of at least 1. "
                f"Received: every={every!r}"
            )
        self.prefix = prefix
        self.every = every
        self._copies = itertools.count(1)
        self._record: GradientRecord | None = None
        self._offset = 0
        self._last: int | None = None

    def open(self, record: "GradientRecord") -> None:
        """Get ready for rows of `record`; does nothing where it is open already."""
        if self._record is None:
            self._start(record)
        self._record = record

    def write(self, steps: Numbers, values: Mapping[str, Numbers]) -> None:
        """Take the rows just read. See `Writer.write`.

        Raises:
            ValueError: Before `open`, or where a measure has another number of rows.
        """
        if self._record is None:
            raise ValueError(
                "A writer must be opened before it is written to. "
                f"Received: {type(self).__name__}.write before open"
            )
        for measure, numbers in values.items():
            if len(numbers) != len(steps):
                raise ValueError(
                    "Every measure must have one entry a step. Received: "
                    f"{len(numbers)} of {measure!r} for {len(steps)} steps"
                )
        if rows := list(self._rows(self._record, np.asarray(steps), values)):
            self._put(rows)

    def close(self) -> None:
        """Leave everything written so far readable. May be called twice."""
        if self._record is not None:
            self._record = None
            self._stop()

    def __deepcopy__(self, memo: dict[int, Any]) -> "StepWriter":
        """A closed writer of the same settings that writes elsewhere.

        A tuner copies callbacks for each trial, and trials must not overwrite each
        other's rows.
        """
        return self._copy(next(self._copies))

    @abc.abstractmethod
    def _copy(self, number: int) -> "StepWriter":
        """A writer like this one for copy `number`, counted from 1."""

    @abc.abstractmethod
    def _start(self, record: "GradientRecord") -> None:
        """Open what is written to."""

    @abc.abstractmethod
    def _put(self, rows: list[Row]) -> None:
        """Write rows, oldest first."""

    @abc.abstractmethod
    def _stop(self) -> None:
        """Flush and close what `_start` opened."""

    def _rows(
        self, record: "GradientRecord", steps: Numbers, values: Mapping[str, Numbers]
    ) -> Iterator[Row]:
        running = self._run_on(steps)
        zeros = np.zeros(len(steps), dtype=int)
        fits, epochs = (values.get(place, zeros) for place in PLACES)
        for i in np.flatnonzero(steps % self.every == 0):
            yield Row(
                int(steps[i]),
                int(running[i]),
                int(fits[i]),
                int(epochs[i]),
                dict(self._scalars(record, values, int(i))),
                dict(self._histograms(record, values, int(i))),
            )

    def _run_on(self, steps: Numbers) -> Numbers:
        """Steps that never go back: tools drop a falling step or draw a tangle."""
        running = np.empty(len(steps), dtype="int64")
        for i, step in enumerate(steps.tolist()):
            if self._last is not None and step + self._offset <= self._last:
                self._offset = self._last + 1 - step
            self._last = running[i] = step + self._offset
        return running

    def _scalars(
        self, record: "GradientRecord", values: Mapping[str, Numbers], row: int
    ) -> Iterator[tuple[str, float]]:
        for measure, numbers in values.items():
            if measure in PLACES or numbers.ndim > 2:
                continue
            measured = ~np.atleast_1d(np.ma.getmaskarray(numbers[row]))
            entries = np.atleast_1d(np.ma.getdata(numbers[row])).tolist()
            names = [f"{self.prefix}/{measure}"]
            if numbers.ndim == 2:
                names = [f"{self.prefix}/{measure}/{g}" for g in record.groups]
            for name, number, known in zip(names, entries, measured, strict=True):
                if known:
                    yield name, float(number)

    def _histograms(
        self, record: "GradientRecord", values: Mapping[str, Numbers], row: int
    ) -> Iterator[tuple[str, Histogram]]:
        edges = getattr(record, "histogram_edges", ())
        if not len(edges):
            return
        # The last bin is open; tools draw bins of finite width.
        edges = np.array(edges, dtype="float64")
        edges[-1] = min(edges[-1], 2 * edges[-2])
        for measure, numbers in values.items():
            if numbers.ndim != 3:
                continue
            counts = np.ma.getdata(numbers[row]).astype("float64")
            hidden = np.ma.getmaskarray(numbers[row]).all(axis=-1)
            for i in np.flatnonzero(~hidden):
                name = f"{self.prefix}/{measure}/{record.groups[i]}"
                yield name, Histogram(counts[i], edges)


def library(name: str, extra: str, purpose: str) -> ModuleType:
    """Import an optional library, or say which extra brings it.

    Raises:
        ImportError: Where it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"{purpose} needs {name.partition('.')[0]}: "
            f"pip install 'keras-gradattn[{extra}]'."
        ) from error
