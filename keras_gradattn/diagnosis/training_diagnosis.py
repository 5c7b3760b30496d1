"""`TrainingDiagnosis`: names what is wrong while `model.fit` runs."""

import os
from typing import Any

import keras

from keras_gradattn.diagnosis.finding import Findings


class TrainingDiagnosis(keras.callbacks.Callback):
    """Watches a training and names what is wrong with it.

    Args:
        on_finding: `"warn"`, `"stop"` (ends training at a fault) or `"ignore"`.
        reference: A healthy run to compare with: a `GradientRecord` or its file.
        every: Every how many steps weights and updates are measured. Defaults to 20.
        data: `(x, y)` to look at layer outputs with; what `fit` was given by default.

    Attributes:
        findings: What was found so far.
    """

    def __init__(
        self,
        on_finding: str = "warn",
        *,
        reference: Any = None,
        every: int = 20,
        data: Any = None,
    ) -> None:
        super().__init__()
        self._findings = Findings()

    @property
    def findings(self) -> Findings:
        """What was found so far, the one to look at first in front."""
        return self._findings

    def report(self) -> str:
        """The findings in words."""
        return self.findings.report()

    def to_html(
        self, path: str | os.PathLike[str], *, title: str = "Diagnosis"
    ) -> None:
        """Write one page with the findings and their curves."""
        self.findings.to_html(path, title=title)
