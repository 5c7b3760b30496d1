"""`GradientNorms`: gradient norms of the real training steps, inside `model.fit`."""

import os
import warnings

import keras
import numpy as np

from keras_gradattn.gradients import _installation
from keras_gradattn.gradients._ring import Rows
from keras_gradattn.gradients.depth_groups import GroupsArgument, group_variables
from keras_gradattn.gradients.gradient_record import GradientRecord

_REACTIONS = ("warn", "stop", "ignore")


class GradientNorms(keras.callbacks.Callback):
    """Records gradient norms of every training step, grouped by depth.

    The norms are taken inside the compiled training step from the gradients that the
    optimizer is given: no second pass, before clipping and weight decay, unscaled
    under loss scaling. Training ends in the same weights with and without it (on
    TensorFlow with XLA and on JAX an optimization barrier sees to that).

    The epoch's logs gain `gradient_norm` (mean over the epoch's steps of the norm
    over all variables), `gradient_norm_smallest_group` and
    `gradient_norm_largest_group`: the history, the progress bar, `CSVLogger`,
    `TensorBoard` and `EarlyStopping` see them wherever they stand in `callbacks`.

    Args:
        groups: `"depth"` (the model's own depth groups, otherwise its top-level
            layers), `"variable"`, a mapping from variable path or layer name to
            group, or a function from variable to group name.
        every: Keep rows whose step is a multiple of this. Epoch summaries and the
            guard see every step. Defaults to 1.
        detail_every: Every how many steps the costlier columns (ratio to the
            updated weights' norm, share of exact zeros) are measured. Defaults to 50.
        on_nonfinite: `"warn"`, `"stop"` (ends training) or `"ignore"` where a
            gradient is NaN or infinite. Under dynamic loss scaling such steps are
            skipped by the optimizer and leave no row.
        check_every: Every how many steps the guard looks. Defaults to 50.
        capacity: Rows of the buffer on the device; read whenever it is full.
        max_rows: Rows kept on the host. Beyond it every second one is dropped.
        name: Name in reports and pictures, the model's by default.

    Attributes:
        record: The `GradientRecord`, `None` before training.

    Raises:
        ValueError: For arguments out of range; in `fit`, where the combination of
            model, optimizer and distribution cannot be recorded correctly.

    With gradient accumulation each row is one micro-batch. A further `fit` call
    continues the record. `step` is the optimizer's iteration before the update, so
    resumed training continues the count.

    Example:

    ```python
    norms = keras_gradattn.GradientNorms()
    model.fit(x, y, epochs=5, callbacks=[norms])
    print(norms.report())
    norms.plot("gradients.png")
    norms.to_dataframe()
    ```
    """

    def __init__(
        self,
        groups: GroupsArgument = "depth",
        *,
        every: int = 1,
        detail_every: int = 50,
        on_nonfinite: str = "warn",
        check_every: int = 50,
        capacity: int = 512,
        max_rows: int = 50_000,
        name: str | None = None,
    ):
        super().__init__()
        for argument, value in (
            ("every", every),
            ("detail_every", detail_every),
            ("check_every", check_every),
            ("capacity", capacity),
            ("max_rows", max_rows),
        ):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(
                    f"`{argument}` must be an integer of at least 1. "
                    f"Received: {argument}={value!r}"
                )
        if on_nonfinite not in _REACTIONS:
            raise ValueError(
                f"`on_nonfinite` must be one of {_REACTIONS}. "
                f"Received: on_nonfinite={on_nonfinite!r}"
            )
        self.groups = groups
        self.every = every
        self.detail_every = detail_every
        self.on_nonfinite = on_nonfinite
        self.check_every = check_every
        self.capacity = capacity
        self.max_rows = max_rows
        self.name = name
        self.record: GradientRecord | None = None
        self._installation = None
        self._fit = -1
        self._epoch = 0
        self._rows_in_fit = 0
        self._guard_fired = False
        self._epoch_logs: dict[str, float] = {}

    # Hooks of `fit`. `self._model` instead of `self.model`: on JAX the property
    # copies the whole training state back at every access.

    def on_train_begin(self, logs: dict | None = None) -> None:
        self._remove()
        model = self._model
        _installation.refuse_unsupported(model)
        if model.built:
            self._prepare_record(model)
        self._fit += 1
        self._rows_in_fit = 0
        self._guard_fired = False
        self._installation = _installation.Installation(
            model,
            capacity=self.capacity,
            detail_every=self.detail_every,
            check_every=None if self.on_nonfinite == "ignore" else self.check_every,
            on_rows=self._take,
            epoch_logs=self._close_epoch,
        )

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._epoch = epoch
        self._epoch_logs = {}

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if self._installation is None:
            return
        entries = self._close_epoch()
        if not entries:
            self._complain_about_silence()
        elif logs is not None:
            logs.update(entries)

    def _close_epoch(self) -> dict[str, float]:
        """Summarise the epoch on the first call; its entries for the logs."""
        self._installation.read()
        summary = self.record.close_epoch() if self.record else None
        if summary is not None:
            self._epoch_logs = {"gradient_norm": float(summary["global_mean"])}
            if len(self.record.groups):
                means = summary["mean"]
                self._epoch_logs["gradient_norm_smallest_group"] = float(np.min(means))
                self._epoch_logs["gradient_norm_largest_group"] = float(np.max(means))
        return self._epoch_logs

    def on_train_end(self, logs: dict | None = None) -> None:
        self._remove()

    def _remove(self):
        if self._installation is not None:
            installation, self._installation = self._installation, None
            installation.remove()
        if self.record is not None:
            self.record.close_epoch()

    def _prepare_record(self, model):
        variables = _installation._gradient_variables(model)
        grouping = group_variables(model, variables, self.groups)
        taps = [
            (tap.layer, tap.group, tap.statistics)
            for tap in (
                variable.gradient_tap
                for variable in _installation._tap_variables(model)
            )
        ]
        if self.record is None:
            self.record = GradientRecord(
                grouping,
                [int(np.prod(variable.shape)) for variable in variables],
                taps=taps,
                every=self.every,
                max_rows=self.max_rows,
                name=self.name or model.name,
                backend=keras.backend.backend(),
            )
        elif (self.record.grouping, self.record.taps) != (
            grouping,
            tuple((n, g, tuple(s)) for n, g, s in taps),
        ):
            raise ValueError(
                "This `GradientNorms` already holds the record of a model with other "
                "trainable variables or groups. Use a new one, and "
                "`compare_gradients` to see both. "
                f"Received: model={model.name!r} after {self.record.name!r}"
            )

    def _take(self, rows: Rows):
        ring = self._installation.ring if self._installation else None
        if self.record is None:
            self._prepare_record(self._model)
        self._rows_in_fit += len(rows.number)
        self.record.add(rows, self._fit, self._epoch)
        if ring is not None:
            self.record.without_gradient = tuple(
                self.record.grouping.paths[i] for i in sorted(ring.without_gradient)
            )
        if rows.lost:
            warnings.warn(
                f"{rows.lost} steps were overwritten before they could be read: the "
                "model applies gradients more than once per training step. Raise "
                f"`capacity`. Received: capacity={self.capacity}",
                RuntimeWarning,
                stacklevel=2,
            )
        self._guard(rows)

    def _guard(self, rows):
        if self.on_nonfinite == "ignore" or self._guard_fired:
            return
        bad_rows = ~np.all(np.isfinite(rows.norms), axis=1)
        if not bad_rows.any():
            return
        self._guard_fired = True
        first = int(np.argmax(bad_rows))
        bad = ~np.isfinite(rows.norms[first])
        grouping = self.record.grouping
        # The backward pass meets the groups from the loss downwards.
        column = int(np.flatnonzero(bad)[-1])
        groups = sorted({m for m in np.array(grouping.members)[bad] if m >= 0})
        where = f"variable {grouping.paths[column]!r}"
        others = ""
        if groups:
            where = f"group {grouping.names[groups[-1]]!r}"
            if len(groups) > 1:
                others = f", and in {len(groups) - 1} groups below it"
        message = (
            f"Non-finite gradient at step {int(rows.iteration[first])} "
            f"(epoch {self._epoch}), first in {where}{others}."
        )
        if self.on_nonfinite == "stop":
            self._model.stop_training = True
            message += " Training is stopped."
        warnings.warn(message, RuntimeWarning, stacklevel=2)

    def _complain_about_silence(self):
        if self._rows_in_fit == 0:
            warnings.warn(
                "No gradient was recorded: the model's `train_step` does not call "
                "`model.optimizer.apply`, or every step was skipped by loss scaling.",
                RuntimeWarning,
                stacklevel=2,
            )

    # Reading.

    def _recorded(self) -> GradientRecord:
        if self.record is None:
            raise ValueError(
                "Nothing is recorded yet: pass this callback to `model.fit` first."
            )
        if self._installation is not None and self._installation.active is False:
            self._remove()
        return self.record

    def to_dict(self) -> dict:
        """Everything recorded, as plain lists. See `GradientRecord.to_dict`."""
        return self._recorded().to_dict()

    def to_dataframe(self, what: str = "groups"):
        """A tidy `pandas.DataFrame`. See `GradientRecord.to_dataframe`."""
        return self._recorded().to_dataframe(what)

    def report(self) -> str:
        """What was seen, in words and one table."""
        return self._recorded().report()

    def plot(self, path: str | os.PathLike | None = None, kind: str = "heatmap"):
        """Picture of the norms. See `GradientRecord.plot`."""
        return self._recorded().plot(path, kind=kind)

    def save(self, path: str | os.PathLike) -> None:
        """Write the record as one `.npz` file."""
        self._recorded().save(path)

    @staticmethod
    def load(path: str | os.PathLike) -> GradientRecord:
        """Read a saved record: the same `report`, `plot` and tables."""
        return GradientRecord.load(path)
