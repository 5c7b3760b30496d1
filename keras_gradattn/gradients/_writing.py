"""Hands rows to writers (TensorBoard, W&B, MLflow, CSV) as they are read."""

import warnings
from typing import Any

import numpy as np


class Writing:
    """The writers of one recorder.

    Args:
        writers: Writers or their names, or one of these.
    """

    def __init__(self, writers: Any) -> None:
        single = isinstance(writers, str) or hasattr(writers, "write")
        writers = (writers,) if single else tuple(writers)
        if writers:
            from keras_gradattn.gradients.writers import as_writer

            writers = tuple(map(as_writer, writers))
        self._writers = list(writers)
        self._open: list[Any] = []
        self._details = 0

    def open(self, record: Any) -> None:
        """Before the first rows of a `fit`."""
        if not self._writers:
            return
        self._details = len(record.detail["step"])
        self._rows = len(record)
        for writer in self._writers:
            writer.open(record)
            if writer not in self._open:
                self._open.append(writer)

    def write(self, record: Any, added: int) -> None:
        """The rows that the record has just been given."""
        if not self._open:
            return
        # Thinning may have dropped rows that were there before.
        first = min(self._rows, len(record))
        self._rows = len(record)
        steps, values = self._values(record, first)
        if not len(steps):
            return
        for writer in list(self._open):
            try:
                writer.write(steps, values)
            except Exception as error:
                self._open.remove(writer)
                warnings.warn(
                    f"{type(writer).__name__} could not write and is left out from "
                    f"here on; training goes on. Received: {error!r}",
                    RuntimeWarning,
                    stacklevel=2,
                )

    def _values(self, record: Any, first: Any) -> Any:
        chosen = slice(first, None)
        steps = record.step[chosen]
        measured = record.measured[chosen]
        values = {
            "fit": record.fit[chosen],
            "epoch": record.epoch[chosen],
            "global_norm": record.global_norm[chosen],
            "norm": np.ma.MaskedArray(record.norm[chosen], ~measured),
        }
        detail = record.detail
        place = {step: i for i, step in enumerate(detail["running_step"])}
        rows = [place.get(step, -1) for step in record.running_step[chosen]]
        hit = np.array(rows, dtype=int) >= 0
        for key in (
            "weight_norm",
            "gradient_to_weight",
            "update_to_weight",
            "zero_share",
        ):
            table = np.full(measured.shape, np.nan)
            table[hit] = detail[key][np.array(rows, dtype=int)[hit]]
            values[key] = np.ma.MaskedArray(table, np.isnan(table))
        for layer, statistics in record.layer_outputs.items():
            for statistic, column in statistics.items():
                values[f"layer_outputs/{layer}/{statistic}"] = column[chosen]
        return steps, values

    def close(self) -> None:
        """At the end of each `fit`."""
        writers, self._open = self._open, []
        for writer in writers:
            writer.close()
