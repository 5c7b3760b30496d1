"""Entries of an epoch's logs."""

import os
import warnings
from typing import Any

import keras
import numpy as np


class LogEntries:
    """Three numbers an epoch, under names that nobody else uses.

    Args:
        prefix: Name of the norm over all variables, and beginning of the others.
        wanted: Whether entries are made at all.
    """

    def __init__(self, prefix: str, wanted: bool) -> None:
        self._names = (prefix, f"{prefix}_smallest_group", f"{prefix}_largest_group")
        self._wanted = wanted
        self._entries: dict[str, float] = {}
        self._given: dict[str, float] = {}
        self._told = False
        self._shifted: str | None = None

    def begin(self, callbacks: list[Any]) -> None:
        """Look at the callbacks of a `fit` that begins."""
        self._entries, self._told = {}, False
        self._shifted = self._file_without_columns(callbacks) if self._wanted else None
        if self._shifted is not None:
            warnings.warn(
                "`CSVLogger(append=True)` goes on with a file that has no column "
                f"{self._names[0]!r}: its columns would shift, and so the logs get no "
                "entries. Give it a new file, or `GradientNorms(logs=False)`. "
                f"Received: filename={self._shifted!r}",
                RuntimeWarning,
                stacklevel=3,
            )

    def _file_without_columns(self, callbacks: Any) -> Any:
        for callback in callbacks:
            if not isinstance(callback, keras.callbacks.CSVLogger):
                continue
            name = callback.filename
            if not (callback.append and os.path.exists(name)):
                continue
            with open(name, encoding="utf-8") as file:
                header = file.readline().strip()
            if header and self._names[0] not in header.split(callback.sep):
                return os.fspath(name)
        return None

    def forget(self) -> None:
        """A new epoch begins."""
        self._entries, self._given = {}, {}

    def take(self, summary: dict[Any, Any]) -> None:
        """An epoch's summary."""
        means = summary["mean"][np.isfinite(summary["mean"])]
        if not len(means):
            means = summary["mean"]
        values = (summary["global_mean"], np.min(means), np.max(means))
        self._entries = dict(zip(self._names, map(float, values), strict=True))

    def entries(self, logs: dict[Any, Any]) -> dict[str, float]:
        """What to add to these logs; nothing of a name that they have already."""
        if not self._wanted or self._shifted is not None:
            return {}
        taken = [k for k in self._entries if k in logs and k not in self._given]
        if taken and not self._told:
            self._told = True
            warnings.warn(
                "The model's own logs stay as they are: it has entries of the names "
                "that `GradientNorms` uses. Choose others with `log_prefix`. "
                f"Received: {taken}",
                RuntimeWarning,
                stacklevel=3,
            )
        new = {k: v for k, v in self._entries.items() if k not in taken}
        self._given.update(new)
        return new
