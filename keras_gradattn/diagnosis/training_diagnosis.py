"""`TrainingDiagnosis`: names what is wrong while `model.fit` runs."""

import dataclasses
import os
import warnings
from typing import Any

import keras
import numpy as np

from keras_gradattn._compat import keras as keras_compat
from keras_gradattn._compat.running_fit import fit_arguments
from keras_gradattn.diagnosis.baseline import (
    constant_loss,
    guessing_loss,
    majority_share,
)
from keras_gradattn.diagnosis.check import examined, in_one_line
from keras_gradattn.diagnosis.finding import Finding, Findings
from keras_gradattn.diagnosis.head import OF_NUMBERS
from keras_gradattn.diagnosis.layer_history import LayerHistory
from keras_gradattn.diagnosis.optimizer_facts import (
    adapts,
    clipping,
    decays,
    loss_scale,
)
from keras_gradattn.diagnosis.seen import LayersSeen, Seen
from keras_gradattn.diagnosis.subject import Data, Subject, data_of, is_arrays
from keras_gradattn.diagnosis.symptoms_seen import not_judged, symptoms
from keras_gradattn.gradients._recorded_step import unwrap
from keras_gradattn.gradients.gradient_norms import GradientNorms
from keras_gradattn.gradients.gradient_record import GradientRecord

_REACTIONS = ("warn", "stop", "ignore")


class TrainingDiagnosis(keras.callbacks.Callback):
    """Watches a training and names what is wrong with it.

    Before the first step it does what `check` does. During training it reads what
    `GradientNorms` measures inside the compiled step, the loss of each batch and the
    logs of each epoch. At the end of some epochs it runs one batch through the network
    to look at layer outputs. Training ends in the same weights with and without it.

    Odd gradients alone are a note at most. They become a warning or a fault only if the
    loss shows that training got nowhere.

    Args:
        on_finding: What to do when something is found: `"warn"` (the default: once for
            each warning and fault), `"stop"` (also end training at a fault) or
            `"ignore"` (only keep `findings`).
        reference: A healthy run to compare with: a `GradientRecord`, or the file that
            `GradientNorms.save` wrote. Defaults to `None`.
        every: Every how many steps weights and updates are measured. Defaults to 20.
        data: `(x, y)` or `(x, y, sample_weight)` to check, and to look at layer outputs
            with. Defaults to the arrays that `fit` was given. If `fit` was given
            batches from a data set, these are not read twice: give arrays here, or the
            data, the loss and layer outputs are not judged.
        check: Whether to do what `check` does before the first step. Defaults to
            `True`.

    Attributes:
        findings: What was found so far. The first is the one to look at first.
        record: The `GradientRecord`, `None` before training.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    ```python
    doctor = keras_gradattn.TrainingDiagnosis()
    model.fit(x, y, validation_split=0.2, callbacks=[doctor])
    print(doctor.report())
    ```
    """

    # Batch logs may come from a thread of Keras: they are only noted.
    async_safe = True

    def __init__(
        self,
        on_finding: str = "warn",
        *,
        reference: GradientRecord | str | os.PathLike[str] | None = None,
        every: int = 20,
        data: Any = None,
        check: bool = True,
    ) -> None:
        super().__init__()
        if on_finding not in _REACTIONS:
            raise ValueError(
                f"`on_finding` must be one of {_REACTIONS}. "
                f"Received: on_finding={on_finding!r}"
            )
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise ValueError(
                f"`every` must be an integer of at least 1. Received: every={every!r}"
            )
        if data is not None and not (isinstance(data, (tuple, list)) and len(data) > 1):
            raise ValueError(
                "`data` must be a pair of inputs and labels. "
                f"Received: {type(data).__name__}"
            )
        self.on_finding = on_finding
        self.every = every
        self._data = data
        self._check = check
        if reference is not None and not isinstance(reference, GradientRecord):
            reference = GradientRecord.load(reference)
        self._reference = reference
        self._checked_model: Any = None
        # Steps of earlier trainings of the same model.
        self._begin = 0
        self._trouble = self._trouble_seen = False
        self._forget()

    def _forget(self) -> None:
        """Begin anew: what one model did says nothing about another."""
        self._own_norms = GradientNorms(
            detail_every=self.every, on_nonfinite="ignore", logs=False
        )
        self._norms: GradientNorms | None = None
        self._before = Findings()
        self._during: list[Finding] = []
        self._not_seen: list[str] = []
        self._not_judged: list[str] = []
        self._told: set[str] = set()
        self._history: LayerHistory | None = None
        self._guess: float | None = None
        self._majority: float | None = None
        self._numbers = False
        self._weighted = False
        # Running mean of the loss after each batch of the epoch, by number.
        self._means: dict[int, float] = {}
        self._loss: list[float] = []
        self._epoch_end: list[int] = []
        self._logs: list[dict[str, float]] = []
        self._scales: list[float] = []

    @property
    def findings(self) -> Findings:
        """What was found so far. The first is the one to look at first."""
        not_seen = [*self._before.not_seen, *self._not_seen, *self._not_judged]
        return Findings([*self._before, *self._during], not_seen)

    @property
    def record(self) -> GradientRecord | None:
        """What was recorded of the gradients, `None` before training."""
        return None if self._norms is None else self._norms.record

    def report(self) -> str:
        """The findings in words: what, where, since when, and what to write."""
        return self.findings.report()

    def to_html(
        self, path: str | os.PathLike[str], *, title: str = "Diagnosis"
    ) -> None:
        """Write one page with the findings and their curves.

        Args:
            path: File to write.
            title: Heading of the page.
        """
        self.findings.to_html(path, title=title)

    # Hooks of `fit`.

    @property
    def _trained_model(self) -> Any:
        return getattr(keras_compat.callback_model(self), "module", self._model)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        model = self._trained_model
        arguments = fit_arguments(model)
        if self._checked_model is not model:
            self._forget()
            self._checked_model = model
        self._trouble = self._trouble_seen = False
        self._means = {}
        self._begin = len(self._loss)
        if self._weighs(arguments):
            # What no answer to the plain loss is compared with.
            self._weighted, self._guess = True, None
        if not self._loss:
            self._look_before(model, arguments)
        self._record_gradients(model, arguments)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._means = {}
        if self._norms is self._own_norms:
            self._own_norms.on_epoch_begin(epoch, logs)

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        loss = None if logs is None else logs.get("loss")
        if loss is None:
            return
        self._means[batch] = float(loss)
        if not np.isfinite(self._means[batch]) and not self._trouble:
            self._trouble = True
            if self.on_finding == "stop":
                self._trained_model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self._norms is self._own_norms:
            self._own_norms.on_epoch_end(epoch, logs)
        self._loss += batch_losses(self._means)
        self._means = {}
        self._epoch_end.append(len(self._loss))
        self._logs.append({k: float(v) for k, v in (logs or {}).items() if _plain(v)})
        scale = loss_scale(self._trained_model.optimizer)
        if scale is not None:
            self._scales.append(scale)
        begins = self._trouble and not self._trouble_seen
        self._trouble_seen = self._trouble
        if self._history is not None and (begins or self._history.due(len(self._loss))):
            self._look_at_layers()
        self._judge()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        if self._norms is self._own_norms:
            self._own_norms.on_train_end(logs)
        if self._history is not None:
            self._look_at_layers()
        self._judge(last=True)

    # Before.

    def _look_before(self, model: Any, arguments: dict[str, Any]) -> None:
        self._history = None
        subject = self._subject(model, arguments)
        if self._check:
            self._before = examined(subject)
            self._tell(self._before)
        if subject.data is None:
            return
        try:
            heads = subject.heads
            if subject.probe is not None:
                self._history = LayerHistory(subject.probe)
                self._look_at_layers()
        except Exception as error:
            self._not_seen.append(_not_run(error))
            return
        if len(heads) == 1:
            if not self._weighted:
                self._guess = guessing_loss(heads[0])
                if self._guess is None and subject.probe is not None:
                    self._guess = constant_loss(subject.probe, heads[0])
            self._majority = majority_share(heads[0])
            self._numbers = heads[0].loss in OF_NUMBERS

    def _weighs(self, arguments: dict[str, Any]) -> bool:
        """Whether classes or samples are weighted, as far as it shows."""
        batch = getattr(arguments.get("x"), "element_spec", None)
        of_batches = isinstance(batch, tuple) and len(batch) > 2
        given = [arguments.get("class_weight"), arguments.get("sample_weight")]
        given += list(() if self._data is None else self._data[2:])
        return of_batches or any(one is not None for one in given)

    def _subject(self, model: Any, arguments: dict[str, Any]) -> Subject:
        data = validation = None
        try:
            data = self._training_data(arguments)
        except (ValueError, TypeError) as error:
            self._not_seen.append(f"Data, loss and layer outputs: {error}")
        try:
            validation = self._validation_data(arguments)
        except (ValueError, TypeError) as error:
            self._not_seen.append(f"Validation data: {error}")
        return Subject(
            model,
            data,
            validation,
            arguments.get("batch_size") or 32,
            rate_is_set_later=any(
                isinstance(one, keras.callbacks.LearningRateScheduler)
                for one in _callbacks(arguments)
            ),
        )

    def _training_data(self, arguments: dict[str, Any]) -> Data:
        if self._data is not None:
            return data_of(*self._data[:2])
        x, y = arguments.get("x"), arguments.get("y")
        judges = (
            "`TrainingDiagnosis(data=(x, y))` with some of its samples judges them."
        )
        if x is None:
            raise ValueError(f"`fit` was not seen at work; {judges}")
        if not is_arrays(x):
            raise ValueError(
                "`fit` takes batches from a data set, which is not read twice; "
                f"{judges}"
            )
        if y is None:
            self._not_seen.append(
                "Loss and labels: `fit` was given inputs alone; "
                "`TrainingDiagnosis(data=(x, y))` judges them."
            )
        shuffle = arguments.get("shuffle")
        return data_of(x, y, in_order=None if shuffle is None else not shuffle)

    def _validation_data(self, arguments: dict[str, Any]) -> Data | None:
        given = arguments.get("validation_data")
        if isinstance(given, (tuple, list)) and len(given) >= 2:
            return data_of(given[0], given[1])
        if given is not None and self._check:
            self._not_seen.append(
                "Leakage: validation data come from a data set, which is not read "
                "twice; their rows were not compared with training rows."
            )
        return None

    def _record_gradients(self, model: Any, arguments: dict[str, Any]) -> None:
        others = [o for o in _callbacks(arguments) if isinstance(o, GradientNorms)]
        if others:
            # A model is recorded once: whoever records it is read.
            self._norms = others[0]
            return
        self._norms = self._own_norms
        self._own_norms.set_model(keras_compat.callback_model(self))
        self._own_norms.set_params(self.params)
        try:
            self._own_norms.on_train_begin()
        except ValueError as error:
            self._norms = None
            self._not_seen.append(f"Gradients: {error}")

    # During.

    def _look_at_layers(self) -> None:
        assert self._history is not None
        try:
            self._history.look(len(self._loss))
        except Exception as error:
            # Training goes on without what cannot be seen.
            self._not_seen.append(_not_run(error))
            self._history = None

    def _judge(self, last: bool = False) -> None:
        seen = self.seen()
        self._during = symptoms(seen, self._reference)
        if last:
            # Of all that was seen: a second `fit` may show what the first did not.
            self._not_judged = not_judged(seen)
        # Before the end a stall may still resolve: only what is certain is told.
        self._tell(
            Findings(self._during)
            if last
            else Findings(f for f in self._during if f.severity == "fault")
        )

    def _tell(self, findings: Findings) -> None:
        if self.on_finding == "ignore":
            return
        for finding in findings.at_least("warning"):
            last = finding.last_step
            # What an earlier training of the model had, and this one has not, is over.
            goes_on = last is None or last >= self._begin
            if self.on_finding == "stop" and finding.severity == "fault" and goes_on:
                self._trained_model.stop_training = True
            if finding.name in self._told:
                continue
            self._told.add(finding.name)
            change = f" Try: {finding.changes[0]}" if finding.changes else ""
            warnings.warn(
                f"{finding.name}: {finding.message}{change}",
                RuntimeWarning,
                stacklevel=2,
            )

    def seen(self) -> Seen:
        """What was seen so far, as the rules take it."""
        model = self._trained_model
        optimizer = unwrap(model.optimizer)
        names = dict.fromkeys(name for logs in self._logs for name in logs)
        return Seen(
            loss=np.array(self._loss, float),
            epoch_end=np.array(self._epoch_end, int),
            logs={
                name: np.array([logs.get(name, np.nan) for logs in self._logs])
                for name in names
            },
            guess=self._guess,
            majority=self._majority,
            numbers=self._numbers,
            weighted=self._weighted,
            layers=self._layers_seen(),
            clip=clipping(optimizer),
            adaptive=adapts(optimizer),
            decays=decays(model, optimizer),
            loss_scale=np.array(self._scales, float),
            rate=_rate(optimizer),
            optimizer=type(optimizer).__name__,
            **_of_record(self.record),
        )

    def _layers_seen(self) -> LayersSeen:
        if self._history is None:
            return LayersSeen()
        layers = self._history.seen()
        # The loss of a batch is not weighted, and that of training is.
        return (
            dataclasses.replace(layers, loss=np.zeros(0)) if self._weighted else layers
        )


def batch_losses(means: dict[int, float]) -> list[float]:
    """Loss of each batch from the running means that `fit` hands out.

    The mean after batch k is the mean of the first k losses, so a loss is the
    difference of two sums. Where several steps are executed at once their mean stands
    for each.

    Args:
        means: From the number of the epoch's batch to the mean after it.
    """
    losses: list[float] = []
    total, done = 0.0, 0
    for batch in sorted(means):
        count = batch + 1 - done
        after = means[batch] * (batch + 1)
        losses += [(after - total) / count] * count
        total, done = after, batch + 1
    return losses


def _callbacks(arguments: dict[str, Any]) -> list[Any]:
    """The other callbacks of a `fit`, and this one."""
    return list(getattr(arguments.get("callbacks"), "callbacks", None) or ())


def _not_run(error: Exception) -> str:
    return f"Layer outputs: a batch could not be run ({in_one_line(error)})."


def _of_record(record: GradientRecord | None) -> dict[str, Any]:
    if record is None or not len(record):
        return {}
    detail = record.detail
    begin = int(record.running_step[0])
    return {
        "groups": record.groups,
        "step": record.running_step - begin,
        "norm": record.norm,
        "nonfinite": ~record.finite,
        "sizes": record.group_sizes,
        "detail_step": detail["running_step"] - begin,
        "weight_norm": detail["weight_norm"],
        "update_norm": detail["update_norm"],
        "gradient_norm": detail["norm"],
    }


def _plain(value: Any) -> bool:
    return np.ndim(value) == 0 and np.asarray(value).dtype.kind in "biuf"


def _rate(optimizer: Any) -> float | None:
    try:
        return float(keras.ops.convert_to_numpy(optimizer.learning_rate))
    except (AttributeError, TypeError, ValueError, RuntimeError):
        return None
