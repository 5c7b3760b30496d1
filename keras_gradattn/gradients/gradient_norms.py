"""`GradientNorms`: gradient norms of the real training steps, inside `model.fit`."""

import contextlib
import copy
import os
import warnings
import weakref
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np

from keras_gradattn._compat.running_fit import fit_callbacks
from keras_gradattn.gradients import _installation
from keras_gradattn.gradients._logs import LogEntries
from keras_gradattn.gradients._more_measures import EDGES, MoreMeasures, parts_of
from keras_gradattn.gradients._processes import is_first_process
from keras_gradattn.gradients._recorded_step import (
    Settings,
    gradient_variables,
)
from keras_gradattn.gradients._ring import Rows
from keras_gradattn.gradients._selection import Names, selection
from keras_gradattn.gradients._support import (
    chosen_optimizer,
    optimizers_of,
    refuse_unsupported,
)
from keras_gradattn.gradients._watch import Watch, complain_about_silence
from keras_gradattn.gradients._writing import Writing
from keras_gradattn.gradients.depth_groups import GroupsArgument, group_variables
from keras_gradattn.gradients.gradient_record import GradientRecord

_REACTIONS = ("warn", "stop", "ignore")


class GradientNorms(keras.callbacks.Callback):
    """Records gradient norms of every training step, grouped by depth.

    The norms are taken inside the compiled training step, from the gradients that the
    optimizer is given. So there is no second backward pass. The gradients are those
    before clipping and weight decay. If the loss is scaled, the scale is divided out.

    Training ends in the same weights with and without the recorder. (On JAX, and on
    TensorFlow with XLA, an optimization barrier sees to that.) The step that records
    is compiled once after each `compile`. A further `fit`, with or without the
    recorder, compiles nothing anew.

    Each epoch's logs gain three entries, which every other callback sees:

    * `gradient_norm`: norm over all variables, mean over the epoch's steps.
    * `gradient_norm_smallest_group`: the smallest mean norm of a group.
    * `gradient_norm_largest_group`: the largest.

    If the model itself logs an entry of one of these names, that one stays.

    Args:
        groups: How to group variables. `"depth"` (the default) takes the model's own
            depth groups. If it has none, each layer is a group, in the order of
            computation. `"variable"` makes a group of each variable. You can also give
            a mapping from variable paths or layer names to groups, or a function from
            a variable to the name of its group.
        level: How many levels of nested layers `"depth"` opens; 1 is the top-level
            layers alone. By default nested models are opened, and so are layers that
            hold more than 20 others.
        include: Measure only these variables: patterns of variable paths or layer
            names (`"encoder/*"`, `"*kernel"`), or variables. Defaults to all.
        exclude: Leave these variables out, named in the same way.
        every: Keep a row for each step whose number is a multiple of this. Epoch
            summaries and the search for NaN see every step. Defaults to 1.
        detail_every: Every how many steps to measure the costlier columns: norms of
            weights and of their updates, shares of exact zeros, and histograms. In
            these steps a second copy of the measured weights is held. If
            `steps_per_execution` is above 1, weights and updates are not measured.
            Defaults to 50.
        histograms: Whether to count, in the same steps, how many elements of each
            group's gradient lie between which powers of two. A bin spans two of them,
            so a factor of four, from 2^-40 to 2^16. Defaults to `False`.
        noise_scale: Whether to measure what `GradientRecord.noise_scale` needs:
            gradients of two batch sizes. They exist if the optimizer accumulates
            gradients, or if a TensorFlow strategy has several replicas. If they do not,
            a warning says so. Defaults to `False`.
        on_nonfinite: What to do when a gradient is NaN or infinite: `"warn"` (the
            default), `"stop"` (also ends training) or `"ignore"`. Under dynamic loss
            scaling the optimizer skips such steps, and they leave no row.
        check_every: Every how many steps to look for NaN. Defaults to 50.
        capacity: Rows of the buffer on the device, which is read when it is full.
            Defaults to 512.
        max_rows: Rows kept on the host. When there are more, every second one is
            dropped. Defaults to 50,000.
        logs: Whether the epoch's logs gain entries. Defaults to `True`.
        log_prefix: Name of the first entry, and how the names of the other two begin.
            Defaults to `"gradient_norm"`.
        optimizer: Which optimizer to record if a model has several, as a GAN has: the
            name of an attribute of the model, or the optimizer itself. Defaults to
            `model.optimizer`. Use one recorder for each. Not on JAX.
        writers: Where to send every row as it is read: `"tensorboard"`, `"wandb"`,
            `"mlflow"`, `"csv"`, several of them, or writers of your own. Of several
            processes the first one writes. Defaults to none.
        name: Name in reports and pictures. Defaults to the model's.

    Attributes:
        record: The `GradientRecord`, `None` before training.
        copies: The copies that were made of this callback, for example one for each
            trial of KerasTuner. Each holds a record of its own, and has copies of the
            writers, which write elsewhere.

    Raises:
        ValueError: If an argument is out of range. In `fit`: if the combination of
            model, optimizer and distribution cannot be recorded correctly.

    A further call of `fit` continues the record. If layers were frozen or unfrozen in
    between, or the optimizer or its learning rate is another, a new phase of the record
    begins. `step` is the optimizer's iteration before the update, so resumed training
    continues the count. With gradient accumulation each row is one micro-batch.

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
        level: int | None = None,
        include: Names = None,
        exclude: Names = None,
        every: int = 1,
        detail_every: int = 50,
        histograms: bool = False,
        noise_scale: bool = False,
        on_nonfinite: str = "warn",
        check_every: int = 50,
        capacity: int = 512,
        max_rows: int = 50_000,
        logs: bool = True,
        log_prefix: str = "gradient_norm",
        optimizer: Any = None,
        writers: Iterable[Any] | str = (),
        name: str | None = None,
    ) -> None:
        super().__init__()
        for argument, value in (
            ("level", 1 if level is None else level),
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
        if not isinstance(log_prefix, str) or not log_prefix:
            raise ValueError(
                "`log_prefix` must be a name; `logs=False` adds no entries. "
                f"Received: log_prefix={log_prefix!r}"
            )
        self._arguments = {
            k: v for k, v in locals().items() if k not in ("self", "__class__")
        }
        for key in ("argument", "value"):
            self._arguments.pop(key)
        self.groups = groups
        self.level = level
        self.every = every
        self.detail_every = detail_every
        self.histograms = histograms
        self.noise_scale = noise_scale
        self.on_nonfinite = on_nonfinite
        self.check_every = check_every
        self.capacity = capacity
        self.max_rows = max_rows
        self.optimizer = optimizer
        self.name = name
        self._record: Any = None
        self.copies: list[GradientNorms] = []
        self._selection = selection(include, exclude)
        self._logs = LogEntries(log_prefix, logs)
        self._writing = Writing(writers)
        # An `Installation` in `fit`, a `Watch` in a loop of one's own.
        self._installation: Any = None
        self._trained: tuple[Any, ...] | None = None
        self._known_model: Any = None
        self._fit = -1
        self._epoch = 0
        self._rows_in_fit = 0
        self._guard_fired = False
        self._told_of_one_batch_size = False

    @property
    def record(self) -> GradientRecord | None:
        """What was recorded, `None` before training."""
        return self._record

    def __copy__(self) -> "GradientNorms":
        """A recorder of the same kind, with nothing recorded."""
        return self.__deepcopy__({})

    def __deepcopy__(self, memo: dict[Any, Any]) -> "GradientNorms":
        # Tuners copy callbacks for each trial: a model or record of another one must
        # not come along, nor what its writers write to.
        writers = copy.deepcopy(self._writing.writers, memo)
        made = memo[id(self)] = type(self)(**{**self._arguments, "writers": writers})
        self.copies.append(made)
        return made

    # Hooks of `fit`. `self._model` instead of `self.model`: on JAX the property
    # copies the whole training state back at every access.

    def on_train_begin(self, logs: dict[Any, Any] | None = None) -> None:
        self._remove()
        model = self._trained_model
        optimizer = chosen_optimizer(model, self.optimizer)
        refuse_unsupported(model, optimizer)
        if model.built:
            own = optimizer is model.optimizer
            self._check(model, gradient_variables(model), own)
        self._fit += 1
        self._rows_in_fit = 0
        self._guard_fired = False
        self._logs.begin(fit_callbacks(model))
        self._installation = _installation.Installation(
            model,
            optimizer,
            self._settings(),
            check_every=None if self.on_nonfinite == "ignore" else self.check_every,
            on_rows=self._take,
            epoch_logs=self._close_epoch,
        )
        if self._installation.channel.ring is not None:
            try:
                self._prepare_record()
            except BaseException:
                self._installation.remove()
                self._installation = None
                raise

    @contextlib.contextmanager
    def watching(self, model: keras.Model, optimizer: Any = None) -> Iterator[Watch]:
        """Record a training loop of your own while a `with` block is open.

        Inside the block every gradient is measured that is given to an optimizer of
        Keras or of `torch.optim`. This works inside a `tf.function` or `jax.jit` too,
        if it is first called in the block. If the model is compiled, its
        `train_on_batch` is recorded as well. For other optimizers, such as those of
        optax, call `watch.step(gradients)` inside the step.

        Updates of the weights are measured only if the host sees each step. In a
        compiled loop it does not.

        A compiled TensorFlow step holds `capacity` rows, until `end_epoch` of the watch
        or the end of the block reads them. Call `end_epoch` at least that often.

        Args:
            model: A built model, whose trainable variables are measured.
            optimizer: What the loop updates them with. Defaults to `model.optimizer`
                if the model is compiled.

        Yields:
            A watch. Its `step(gradients)` is for loops whose optimizer cannot be
            followed. Its `end_epoch()` reads what was recorded, and begins the next
            epoch.

        Raises:
            ValueError: If the model is not built or has nothing to train, or the
                optimizer is of no known kind.

        Example:

        ```python
        norms = GradientNorms()
        with norms.watching(model, optimizer) as watch:
            for x, y in batches:
                optimizer.zero_grad()
                loss_function(model(x), y).backward()
                optimizer.step()
        print(norms.report())
        ```

        If there are several optimizers, give each a recorder and a block of its own:
        `with first.watching(generator, g), second.watching(critic, c): ...`
        """
        if not model.built or not gradient_variables(model):
            raise ValueError(
                "`watching` needs a built model with trainable weights: call it on a "
                f"batch first. Received: model={model.name!r}"
            )
        self._remove()
        self._model = model
        self._check(model, gradient_variables(model), True)
        self._fit += 1
        self._epoch = self._rows_in_fit = 0
        self._guard_fired = False
        compiled = optimizer is None and getattr(model, "compiled", False)
        watch = Watch(
            model,
            model.optimizer if compiled else optimizer,
            self._settings(),
            check_every=self.check_every,
            on_rows=self._take,
            end_epoch=self._end_watched_epoch,
        )
        self._installation = watch
        batches = _train_on_batch(self, watch) if compiled else contextlib.nullcontext()
        try:
            self._prepare_record()
            with batches:
                yield watch.open()
        except BaseException:
            # The last step may have been measured, and not have come to its update.
            watch.updates.drop()
            raise
        finally:
            self._installation = watch
            self._remove()
        complain_about_silence(watch, self._rows_in_fit)

    def _end_watched_epoch(self) -> Any:
        entries = self._close_epoch({})
        self._epoch += 1
        self._logs.forget()
        return entries

    def _settings(self) -> Any:
        more = MoreMeasures(self.histograms, self.noise_scale, self.groups, self.level)
        return Settings(
            self.capacity, self.detail_every, self._selection, more.or_none()
        )

    @property
    def _trained_model(self) -> Any:
        # PyTorch's data-parallel wrapper holds the model.
        return getattr(self._model, "module", self._model)

    def _check(self, model: Any, variables: Any, own: Any) -> None:
        if self._selection is not None and own:
            self._selection.check(variables)
            variables = [v for v in variables if self._selection(v)]
        if variables and own:
            group_variables(model, variables, self.groups, level=self.level)
            self._refuse_another_model(model)

    def _refuse_another_model(self, model: Any) -> None:
        known = self._known_model() if self._known_model is not None else None
        if self._record is None or known is None or known is model:
            return
        before = {id(v) for v in known.variables}
        if not any(id(v) in before for v in model.variables):
            raise ValueError(
                "This `GradientNorms` already holds the record of another model, "
                "which shares no weights with this one. Use a new one, and "
                "`compare_gradients` to see both. "
                f"Received: model={model.name!r} after {self._record.name!r}"
            )

    def on_epoch_begin(self, epoch: int, logs: dict[Any, Any] | None = None) -> None:
        if self._installation is not None:
            self._installation.read()
        self._epoch = epoch
        self._logs.forget()

    def on_epoch_end(self, epoch: int, logs: dict[Any, Any] | None = None) -> None:
        if self._installation is None:
            return
        entries = self._close_epoch({} if logs is None else logs)
        if not self._rows_in_fit:
            self._complain_about_silence()
        elif logs is not None:
            logs.update(entries)

    def _close_epoch(self, logs: Any) -> Any:
        """Summarise the epoch on the first call; its entries for the logs."""
        self._installation.read()
        summary = self._record._close_epoch() if self._record else None
        if summary is not None:
            self._logs.take(summary)
        return self._logs.entries(logs)

    def on_train_end(self, logs: dict[Any, Any] | None = None) -> None:
        self._remove()

    def _remove(self) -> None:
        if self._installation is not None:
            installation = self._installation
            try:
                installation.remove()
            finally:
                self._installation = None
                self._writing.close()
                if self._trained is not None:
                    # What a schedule or callback made of the rate begins no phase.
                    self._trained = (self._trained[0], _rate(installation.optimizer))
        if self._record is not None:
            self._record._close_epoch()

    def _prepare_record(self) -> None:
        """Begin a record, or a phase of it, where something has changed."""
        installation = self._installation
        model, channel = self._trained_model, installation.channel
        variables = channel.ring.variables
        if not variables:
            raise ValueError(
                "`GradientNorms` found no trainable weights to measure. "
                f"Received: model={model.name!r}"
            )
        grouping = group_variables(model, variables, self.groups, level=self.level)
        sizes = tuple(int(np.prod(variable.shape)) for variable in variables)
        taps = tuple(
            (tap.layer, tap.group, tuple(tap.statistics))
            for tap in (v.gradient_tap for v in channel.ring.tap_variables)
        )
        if self._record is None:
            self._record = GradientRecord(
                grouping,
                sizes,
                taps=taps,
                every=self.every,
                max_rows=self.max_rows,
                name=self.name or model.name,
                backend=keras.backend.backend(),
                histogram_edges=EDGES.tolist() if self.histograms else (),
            )
        self._record.accumulation = parts_of(model, channel.optimizer)
        self._complain_about_one_batch_size(channel.optimizer)
        self._known_model = weakref.ref(model)
        identity = (grouping, sizes, taps, id(channel.outer))
        rate = _rate(channel.outer)
        if self._trained is None or self._trained != (identity, rate):
            self._record._begin_phase(
                grouping,
                sizes,
                taps=taps,
                fit=self._fit,
                step=_iterations(channel.optimizer),
                optimizer=_kind(channel.optimizer),
                learning_rate=rate,
            )
        self._trained = (identity, rate)
        self._ring_of_record = channel.ring
        if is_first_process(model):
            self._writing.open(self._record)

    _ring_of_record: Any = None

    def _take_from(self, installation: Any, rows: Any) -> None:
        watch, self._installation = self._installation, installation
        try:
            self._take(rows)
        finally:
            self._installation = watch

    def _take(self, rows: Rows) -> None:
        ring = self._installation.channel.ring
        if ring is not self._ring_of_record or self._record is None:
            self._prepare_record()
        self._rows_in_fit += len(rows.number)
        arrived = self._record._add(rows, self._fit, self._epoch)
        paths = self._record.phases[-1].paths
        asked = set().union(*(about for about, _ in ring.kinds))
        self._record._note_reach(
            [paths[i] for i in asked], [paths[i] for i in ring.without_gradient]
        )
        self._writing.write(self._record, arrived)
        if rows.lost:
            warnings.warn(
                f"{rows.lost} steps were overwritten before they could be read: "
                f"{self._installation.why_lost} Received: capacity={self.capacity}",
                RuntimeWarning,
                stacklevel=2,
            )
        self._guard(rows)

    def _guard(self, rows: Any) -> None:
        if self.on_nonfinite == "ignore" or self._guard_fired:
            return
        bad_rows = ~np.all(np.isfinite(rows.norms), axis=1)
        if not bad_rows.any():
            return
        self._guard_fired = True
        first = int(np.argmax(bad_rows))
        bad = ~np.isfinite(rows.norms[first])
        paths = self._record.phases[-1].paths
        grouping = self._record.grouping
        member = dict(zip(grouping.paths, grouping.members, strict=True))
        # The backward pass meets the groups from the loss downwards.
        column = int(np.flatnonzero(bad)[-1])
        members = {member[paths[i]] for i in np.flatnonzero(bad)}
        groups = sorted(m for m in members if m >= 0)
        where = f"variable {paths[column]!r}"
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
            self._trained_model.stop_training = True
            message += " Training is stopped."
        warnings.warn(message, RuntimeWarning, stacklevel=2)

    def _complain_about_one_batch_size(self, optimizer: Any) -> None:
        told, several = self._told_of_one_batch_size, self._record.accumulation > 1
        if not self.noise_scale or told or several:
            return
        self._told_of_one_batch_size = True
        warnings.warn(
            "The record will have no `noise_scale`: it needs gradients of two batch "
            "sizes, and the training has one. A Keras optimizer that accumulates has "
            "two: `gradient_accumulation_steps=2`. "
            f"Received: noise_scale=True, optimizer={_kind(optimizer) or None}",
            RuntimeWarning,
            stacklevel=2,
        )

    def _complain_about_silence(self) -> None:
        model = self._trained_model
        others = [
            name
            for name, optimizer in optimizers_of(model).items()
            if optimizer is not self._installation.optimizer
        ]
        hint = " A loop of your own is recorded with `watching`."
        if others and keras.backend.backend() == "jax":
            hint = (
                f" The model has other optimizers, such as {others[0]!r}: call "
                "`watch.step(gradients)` in its `train_step`, and `fit` inside "
                "`with GradientNorms().watching(part_of_the_model) as watch`."
            )
        elif others:
            hint = (
                " The model has other optimizers: name one, for example "
                f"`GradientNorms(optimizer={others[0]!r})`."
            )
        name = self.optimizer if isinstance(self.optimizer, str) else "optimizer"
        warnings.warn(
            "No gradient was recorded: the model's `train_step` does not call "
            f"`model.{name}.apply`, or every step was skipped by loss scaling.{hint}",
            RuntimeWarning,
            stacklevel=2,
        )

    # Reading.

    def _recorded(self) -> GradientRecord:
        if self._installation is not None:
            # After an interrupted `fit`, which tells its callbacks nothing.
            self._installation.remove_if_over()
            if self._installation.active:
                self._installation.read()
            else:
                self._remove()
        if self._record is None:
            raise ValueError(
                "Nothing is recorded yet: pass this callback to `model.fit` first."
            )
        return self._record

    def to_dict(self) -> dict[str, Any]:
        """Everything recorded, as plain lists. See `GradientRecord.to_dict`.

        Returns:
            A dictionary, ready for JSON but for NaN.
        """
        return self._recorded().to_dict()

    def to_dataframe(self, what: str = "groups") -> Any:
        """A tidy `pandas.DataFrame`. See `GradientRecord.to_dataframe`.

        Args:
            what: `"groups"` (the default), `"epochs"` or `"layer_outputs"`.

        Returns:
            The frame.
        """
        return self._recorded().to_dataframe(what)

    def report(self) -> str:
        """What was seen, in words and one table.

        Returns:
            Text of several lines.
        """
        return self._recorded().report()

    def plot(
        self, path: str | os.PathLike[str] | None = None, kind: str = "heatmap"
    ) -> Any:
        """Picture of the norms. See `GradientRecord.plot`.

        Args:
            path: Where to save the picture, or `None` (the default).
            kind: `"heatmap"` (the default) or `"lines"`.

        Returns:
            The `matplotlib.figure.Figure`.
        """
        return self._recorded().plot(path, kind=kind)

    def to_html(
        self, path: str | os.PathLike[str], *, title: str | None = None
    ) -> None:
        """Write one self-contained page. See `GradientRecord.to_html`.

        Args:
            path: Where to write it.
            title: The page's title, the record's name by default.
        """
        self._recorded().to_html(path, title=title)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the record as one `.npz` file.

        Args:
            path: Where to write it.
        """
        self._recorded().save(path)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> GradientRecord:
        """Read a saved record: the same `report`, `plot` and tables.

        Args:
            path: A file that `save` wrote.

        Returns:
            A `GradientRecord`.
        """
        return GradientRecord.load(path)


@contextlib.contextmanager
def _train_on_batch(norms: Any, watch: Any) -> Iterator[Any]:
    """Also records the compiled step of a model that is watched."""
    model = watch.model
    refuse_unsupported(model, model.optimizer)
    installation = _installation.Installation(
        model,
        model.optimizer,
        norms._settings(),
        check_every=norms.check_every,
        on_rows=lambda rows: norms._take_from(installation, rows),
        epoch_logs=lambda logs: {},
    )
    watch.also = installation
    try:
        yield
    finally:
        installation.remove()


def _kind(optimizer: Any) -> str:
    """Class name, empty where `watch.step` is told of the gradients."""
    return "" if optimizer is None else type(optimizer).__name__


def _rate(optimizer: Any) -> float | None:
    """The learning rate, where one number is set and can be read."""
    try:
        rate = optimizer.learning_rate
        return float(keras.ops.convert_to_numpy(rate))
    except (AttributeError, TypeError, ValueError, RuntimeError):
        return None


def _iterations(optimizer: Any) -> int:
    try:
        return int(keras.ops.convert_to_numpy(optimizer.iterations))
    except (AttributeError, TypeError, ValueError, RuntimeError):
        return 0
