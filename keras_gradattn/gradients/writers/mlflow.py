"""Rows as metrics of an MLflow run."""

import re
import time
from typing import TYPE_CHECKING, Any

from keras_gradattn.gradients.writers.writer import Row, StepWriter, library

if TYPE_CHECKING:
    from keras_gradattn.gradients.gradient_record import GradientRecord

# MLflow takes no more in one call.
_MOST = 1000


class MLflowWriter(StepWriter):
    """Logs one metric a training step, measure and group to MLflow.

    The active run is used. Where none is, a run is created, and ended with `fit`; a
    further `fit` goes on in it.

    MLflow allows few characters in names, and its file store makes folders of slashes:
    a slash within a group's name becomes a dot, other characters an underscore.

    Args:
        run_id: The run to log to; by default the active one, or a new one.
        experiment: Name of the experiment of a new run, made where it is missing.
        tracking_uri: Where runs are kept; by default MLflow's own setting.
        prefix: First part of every name.
        every: Only rows whose step is a multiple of this are written.

    Raises:
        ImportError: In `open`, where `mlflow` is not installed.

    Example:

    ```python
    from keras_gradattn.gradients.writers import MLflowWriter

    writer = MLflowWriter(experiment="depth", tracking_uri="sqlite:///mlflow.db")
    norms = keras_gradattn.GradientNorms(writers=[writer])
    model.fit(x, y, callbacks=[norms])
    # mlflow ui --backend-store-uri sqlite:///mlflow.db
    ```
    """

    def __init__(
        self,
        run_id: str | None = None,
        *,
        experiment: str = "gradients",
        tracking_uri: str | None = None,
        prefix: str = "gradients",
        every: int = 1,
    ):
        super().__init__(prefix=prefix, every=every)
        self.run_id = run_id
        self.experiment = experiment
        self.tracking_uri = tracking_uri
        self._own = False
        self._client: Any = None
        self._metric: Any = None
        self._names: dict[str, str] = {}

    def _copy(self, number: int) -> "MLflowWriter":
        return MLflowWriter(
            None if self._own else self.run_id,
            experiment=self.experiment,
            tracking_uri=self.tracking_uri,
            prefix=self.prefix,
            every=self.every,
        )

    def _start(self, record: "GradientRecord") -> None:
        mlflow = library("mlflow", "mlflow", "Writing to MLflow")
        self._metric = library("mlflow.entities", "mlflow", "Writing to MLflow").Metric
        self._client = mlflow.MlflowClient(tracking_uri=self.tracking_uri)
        if self.run_id is None and (active := mlflow.active_run()) is not None:
            self.run_id = active.info.run_id
        if self.run_id is None:
            known = self._client.get_experiment_by_name(self.experiment)
            experiment = (
                self._client.create_experiment(self.experiment)
                if known is None
                else known.experiment_id
            )
            run = self._client.create_run(experiment, run_name=record.name)
            self.run_id, self._own = run.info.run_id, True
        elif self._own:
            self._client.update_run(self.run_id, status="RUNNING")

    def _put(self, rows: list[Row]) -> None:
        now = int(1000 * time.time())
        metrics = [
            self._metric(self._name(name), number, now, row.running_step)
            for row in rows
            for name, number in row.values.items()
        ]
        for start in range(0, len(metrics), _MOST):
            self._client.log_batch(self.run_id, metrics[start : start + _MOST])

    def _stop(self) -> None:
        if self._own:
            self._client.set_terminated(self.run_id)
        self._client = self._metric = None

    def _name(self, name: str) -> str:
        """A name that MLflow takes, another one for each of ours."""
        if name not in self._names:
            measure, _, group = name.removeprefix(f"{self.prefix}/").partition("/")
            group = group.replace("/", ".")
            full = "/".join(part for part in (self.prefix, measure, group) if part)
            allowed = re.sub(r"[^\w\-./ :]", "_", full)
            taken, number = set(self._names.values()), 1
            unique = allowed
            while unique in taken:
                number += 1
                unique = f"{allowed}_{number}"
            self._names[name] = unique
        return self._names[name]
