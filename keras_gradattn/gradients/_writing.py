"""Hands rows to writers (TensorBoard, W&B, MLflow, CSV) as they are read."""

import contextlib
import warnings
from typing import Any

import numpy as np

from keras_gradattn.gradients._phases import tap_columns

# What tells whether a detail was measured.
_BASES = {
    "weight_norm": "weight_norm",
    "gradient_to_weight": "weight_norm",
    "update_to_weight": "update_norm",
    "zero_share": "zero_share",
}


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
        self.writers = list(writers)
        self._open: list[Any] = []
        self._failed: list[Any] = []

    def open(self, record: Any) -> None:
        """Before the first rows of a `fit`, and of a phase within it."""
        try:
            for writer in self.writers:
                if writer in self._failed:
                    continue
                writer.open(record)
                if writer not in self._open:
                    self._open.append(writer)
        except BaseException:
            self.close()
            raise

    def write(self, record: Any, arrived: Any) -> None:
        """The rows that the record has just been given.

        Args:
            record: What they were given to.
            arrived: Their columns, as `GradientRecord._add` returns them. Of the
                record itself rows may be gone already, thinned out.
        """
        if not self._open or not len(arrived["step"]):
            return
        values = _values(record, arrived)
        for writer in list(self._open):
            try:
                writer.write(arrived["step"], values)
            except Exception as error:
                self._open.remove(writer)
                self._failed.append(writer)
                # So that the next training opens it anew.
                with contextlib.suppress(Exception):
                    writer.close()
                warnings.warn(
                    f"{type(writer).__name__} could not write and is left out of the "
                    f"rest of this training; training goes on. Received: {error!r}",
                    RuntimeWarning,
                    stacklevel=2,
                )

    def close(self) -> None:
        """At the end of each `fit`."""
        writers, self._open, self._failed = self._open, [], []
        for writer in writers:
            try:
                writer.close()
            except Exception as error:
                warnings.warn(
                    f"{type(writer).__name__} could not be closed: what it wrote last "
                    f"may be missing. Received: {error!r}",
                    RuntimeWarning,
                    stacklevel=2,
                )


def _values(record: Any, arrived: Any) -> Any:
    """Per measure what `Writer.write` takes."""
    measured = arrived["measured"]
    values = {
        "fit": arrived["fit"],
        "epoch": arrived["epoch"],
        "global_norm": arrived["global_norm"],
        "norm": np.ma.MaskedArray(arrived["norm"], ~measured),
    }
    with np.errstate(divide="ignore", invalid="ignore"):
        columns = {
            "weight_norm": arrived["weight_norm"],
            "gradient_to_weight": arrived["norm"] / arrived["weight_norm"],
            "update_to_weight": arrived["update_norm"] / arrived["weight_norm"],
            "zero_share": arrived["zero_share"],
        }
    asked = measured & arrived["detail"][:, None]
    for key, column in columns.items():
        # A gradient may be NaN; where another basis is, it was not measured.
        basis = arrived[_BASES[key]]
        values[key] = np.ma.MaskedArray(column, ~asked | np.isnan(basis))
    histogram = arrived["histogram"]
    if histogram.shape[-1]:
        mask = np.broadcast_to(~asked[..., None], histogram.shape).copy()
        values["histogram"] = np.ma.MaskedArray(histogram, mask)
    places = tap_columns(record.taps)
    for layer, statistic in tap_columns(record.phases[-1].taps):
        column = arrived["taps"][:, places.index((layer, statistic))]
        values[f"layer_outputs/{layer}/{statistic}"] = column
    return values
