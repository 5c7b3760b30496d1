"""Rows in a Weights & Biases run."""

import os
from typing import TYPE_CHECKING, Any

from keras_gradattn.gradients.writers.writer import Row, StepWriter, library

if TYPE_CHECKING:
    from keras_gradattn.gradients.gradient_record import GradientRecord


class WandbWriter(StepWriter):
    """Logs one row a training step to Weights & Biases.

    The run that is active is used. Where none is, a run is started; it stays open over
    several `fit` calls and ends with `finish` or with the process.

    The curves have their own step, `<prefix>/step`: other calls of `wandb.log` neither
    shift it nor are shifted.

    Args:
        run: The run to log to; by default the active one, or a new one.
        project: Project of a new run.
        mode: `"online"`, `"offline"` or `"disabled"` for a new run; by default what
            `WANDB_MODE` says.
        directory: Folder of a new run's files, the working directory by default.
        prefix: First part of every name.
        every: Only rows whose step is a multiple of this are written.

    Raises:
        ImportError: In `open`, where `wandb` is not installed.

    Example:

    ```python
    from keras_gradattn.gradients.writers import WandbWriter

    writer = WandbWriter(project="depth", mode="offline")
    norms = keras_gradattn.GradientNorms(writers=[writer])
    model.fit(x, y, callbacks=[norms])
    writer.finish()  # then, when online: wandb sync wandb/offline-run-*
    ```
    """

    def __init__(
        self,
        run: Any = None,
        *,
        project: str | None = None,
        mode: str | None = None,
        directory: str | os.PathLike[str] | None = None,
        prefix: str = "gradients",
        every: int = 1,
    ):
        super().__init__(prefix=prefix, every=every)
        self.project = project
        self.mode = mode
        self.directory = directory
        self._run = run
        self._own = False
        self._wandb: Any = None

    def _copy(self, number: int) -> "WandbWriter":
        return WandbWriter(
            None if self._own else self._run,
            project=self.project,
            mode=self.mode,
            directory=self.directory,
            prefix=self.prefix,
            every=self.every,
        )

    def finish(self) -> None:
        """End the run that this writer started; another's run is left alone."""
        self.close()
        if self._own:
            self._run.finish()
            self._run, self._own = None, False

    def _start(self, record: "GradientRecord") -> None:
        self._wandb = library("wandb", "wandb", "Writing to Weights & Biases")
        if self._run is None:
            self._run = self._wandb.run
        if self._run is None:
            self._run = self._wandb.init(
                project=self.project,
                mode=self.mode,
                dir=self.directory,
                name=record.name,
                # Not the process's active run: a second writer starts its own.
                reinit="create_new",
            )
            self._own = True
        step = f"{self.prefix}/step"
        self._run.define_metric(step, hidden=True)
        self._run.define_metric(f"{self.prefix}/*", step_metric=step)

    def _put(self, rows: list[Row]) -> None:
        for row in rows:
            self._run.log(
                {
                    f"{self.prefix}/step": row.running_step,
                    f"{self.prefix}/fit": row.fit,
                    f"{self.prefix}/epoch": row.epoch,
                    **row.values,
                    **{
                        name: self._wandb.Histogram(np_histogram=tuple(histogram))
                        for name, histogram in row.histograms.items()
                    },
                }
            )

    def _stop(self) -> None:
        """Nothing: wandb saves as it logs, and a later `fit` goes on in this run."""
