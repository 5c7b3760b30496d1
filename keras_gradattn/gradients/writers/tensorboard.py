"""Rows as TensorBoard events."""

import os
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_gradattn.gradients.writers.writer import (
    Histogram,
    Row,
    StepWriter,
    library,
)

if TYPE_CHECKING:
    from keras_gradattn.gradients.gradient_record import GradientRecord


class TensorBoardWriter(StepWriter):
    """Writes one event a training step, on any backend and without TensorFlow.

    TensorBoard shows scalars `gradients/<measure>/<group>` and, where histograms are
    recorded, distributions of the same names.

    Args:
        log_dir: Folder of the event files. TensorBoard shows a folder as one run.
        prefix: First part of every name.
        every: Only rows whose step is a multiple of this are written.

    Raises:
        ImportError: In `open`, where `tensorboard` is not installed.

    Example:

    ```python
    from keras_gradattn.gradients.writers import TensorBoardWriter

    norms = keras_gradattn.GradientNorms(writers=[TensorBoardWriter("logs/gradients")])
    model.fit(x, y, callbacks=[norms, keras.callbacks.TensorBoard("logs")])
    # tensorboard --logdir logs
    ```
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str] = "logs/gradients",
        *,
        prefix: str = "gradients",
        every: int = 1,
    ):
        super().__init__(prefix=prefix, every=every)
        self.log_dir = os.fspath(log_dir)
        self._events: Any = None
        self._event: Any = None
        self._summary: Any = None

    def _copy(self, number: int) -> "TensorBoardWriter":
        folder = f"{self.log_dir.rstrip(os.sep)}-{number}"
        return TensorBoardWriter(folder, prefix=self.prefix, every=self.every)

    def _start(self, record: "GradientRecord") -> None:
        tools = [
            library(f"tensorboard.{module}", "tensorboard", "Writing TensorBoard files")
            for module in (
                "summary.writer.event_file_writer",
                "compat.proto.event_pb2",
                "compat.proto.summary_pb2",
            )
        ]
        files, self._event, self._summary = tools
        self._events = files.EventFileWriter(self.log_dir)

    def _put(self, rows: list[Row]) -> None:
        for row in rows:
            # One event with many values: a third of the cost of one event each.
            values = [
                self._summary.Summary.Value(tag=name, simple_value=number)
                for name, number in row.values.items()
            ]
            values += [
                self._summary.Summary.Value(tag=name, histo=self._histogram(counts))
                for name, counts in row.histograms.items()
            ]
            self._events.add_event(
                self._event.Event(
                    wall_time=time.time(),
                    step=row.running_step,
                    summary=self._summary.Summary(value=values),
                )
            )
        self._events.flush()

    def _stop(self) -> None:
        self._events.close()
        self._events = self._event = self._summary = None

    def _histogram(self, histogram: Histogram) -> Any:
        counts, edges = histogram
        middles = (edges[:-1] + edges[1:]) / 2
        filled = np.flatnonzero(counts)
        first, last = (filled[0], filled[-1]) if len(filled) else (0, 0)
        return self._summary.HistogramProto(
            min=edges[first],
            max=edges[last + 1],
            num=counts.sum(),
            sum=counts @ middles,
            sum_squares=counts @ middles**2,
            bucket_limit=edges[1:],
            bucket=counts,
        )
