"""Has a model train by its recorded step, for one `fit`, and by its plain one after."""

import functools
from collections.abc import Callable
from typing import Any

import keras

from keras_gradattn._compat import keras as keras_compat
from keras_gradattn._compat.running_fit import called_by_fit, fits_running
from keras_gradattn.gradients._recorded_step import (
    NOTHING,
    Channel,
    RecordedStep,
    Settings,
    recorded_step,
)
from keras_gradattn.gradients._ring import Rows

_ATTRIBUTE = "gradient_norms_installation"


class Installation:
    """The part that one recorder takes in the training of a model.

    Args:
        model: Compiled model, checked by `refuse_unsupported`.
        optimizer: The optimizer whose gradients are recorded.
        settings: What is compiled into the step.
        check_every: Every how many steps `on_rows` is called at the latest, or
            `None` for only when the ring is full.
        on_rows: Called with new `Rows` when they were read.
        epoch_logs: Called once the epoch's steps are done, with the logs so far, for
            entries of its logs.
    """

    why_lost = (
        "the model applies gradients more than once per training step. Raise "
        "`capacity`."
    )

    def __init__(
        self,
        model: keras.Model,
        optimizer: Any,
        settings: Settings,
        *,
        check_every: int | None,
        on_rows: Callable[[Rows], None],
        epoch_logs: Callable[[dict[str, Any]], dict[str, float]],
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.settings = settings
        self.channel: Any = None
        self._check_every = check_every
        self._on_rows = on_rows
        self.epoch_logs = epoch_logs
        self._pending = 0
        self._site = _Site.of(model)
        self._site.add(self)

    @property
    def active(self) -> bool:
        """Whether the training that this was made for goes on."""
        return self._site.active and self in self._site.members

    def listen(self, channel: Channel) -> None:
        """Take what this channel measures."""
        if self.channel is not channel:
            self.channel = channel
            channel.calls = 0
            # Rows of an earlier training that nobody has read are nobody's.
            channel.read()
        channel.listener = self._after_step

    def _after_step(self) -> None:
        self._pending += self.model.steps_per_execution or 1
        room = self.channel.settings.capacity
        if self.channel.ring is not None:
            room = self.channel.ring.capacity
        # Room for the steps of one more call, twice for two updates a step.
        limit = max(room // max(self._rows_a_step(), 1), 1)
        limit -= (self.model.steps_per_execution or 1) - 1
        if self._check_every is not None:
            limit = min(limit, self._check_every)
        if self._pending >= limit:
            self.read()

    def _rows_a_step(self) -> Any:
        ring = self.channel.ring
        return len(ring.kinds) if ring is not None else 1

    def read(self) -> None:
        """Hand rows written since the last call to `on_rows`."""
        self._pending = 0
        if self.channel is None:
            return
        rows = self.channel.read()
        if rows is not None and len(rows.number):
            self._on_rows(rows)

    def remove(self) -> None:
        """Read what is left; the model trains as if never recorded."""
        if not self.active:
            return
        try:
            self.read()
        finally:
            self._site.discard(self)

    def remove_if_over(self) -> None:
        """Remove after a `fit` that ended without telling its callbacks."""
        if self.active and self._site.is_over():
            self.remove()


class _Site:
    """What is exchanged on a model while recorders take part in its training."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.members: list[Installation] = []
        self.active = True
        self.step: RecordedStep | None = None
        self._evaluating = False
        # A training that calls the callbacks by hand has no end that can be seen.
        self._in_fit = fits_running(model) > 0
        self._patched: list[tuple[object, str, object]] = []

    @classmethod
    def of(cls, model: Any) -> Any:
        site = model.__dict__.get(_ATTRIBUTE)
        if site is not None and site.is_over():
            for member in list(site.members):
                member.remove()
            site = None
        return site if site is not None and site.active else cls(model)

    def is_over(self) -> Any:
        return self._in_fit and not fits_running(self.model)

    def add(self, installation: Any) -> None:
        if any(one.optimizer is installation.optimizer for one in self.members):
            raise ValueError(
                "Another `GradientNorms` records this model already. Use one per "
                "`fit` and optimizer; `groups=` chooses how finely it resolves."
            )
        self.members.append(installation)
        try:
            if not self._patched:
                self._patch()
            self._take_recorded_function()
        except BaseException:
            self.discard(installation)
            raise

    def _patch(self) -> None:
        self._set(self.model, _ATTRIBUTE, self)
        self._add_epoch_logs()
        self._set(
            self.model,
            "make_train_function",
            self._made(self.model.make_train_function),
        )

    def _set(self, owner: Any, name: Any, value: Any) -> None:
        # Through `__dict__`: Keras' and PyTorch's `__setattr__` would track it.
        self._patched.append((owner, name, owner.__dict__.get(name, NOTHING)))
        owner.__dict__[name] = value

    def _plain(self) -> Any:
        function = self.model.train_function
        return function.plain if isinstance(function, RecordedStep) else function

    def _take_recorded_function(self) -> None:
        """Put the recorded function in the plain one's place."""
        own = self.model.__dict__.pop("make_train_function", NOTHING)
        try:
            self.model.train_function = self._plain()
            self.model.make_train_function()
            self._follow_a_new_optimizer()
            step = recorded_step(
                self.model, [(one.optimizer, one.settings) for one in self.members]
            )
        finally:
            if own is not NOTHING:
                self.model.__dict__["make_train_function"] = own
        for one, channel in zip(self.members, step.channels, strict=True):
            one.listen(channel)
        self.step = step
        self.model.train_function = step

    def _follow_a_new_optimizer(self) -> None:
        """Where a callback compiles the model anew."""
        for one in self.members:
            if one.optimizer is self._compiled_with:
                one.optimizer = self.model.optimizer
        self._compiled_with = self.model.optimizer

    _compiled_with = NOTHING

    def _made(self, original: Any) -> Any:
        """`make_train_function` in a training that is recorded."""

        @functools.wraps(original)
        def make(force: Any = False) -> Any:
            if self._left_over():
                for one in list(self.members):
                    one.remove()
                return self.model.make_train_function(force=force)
            if force or self.model.train_function is None:
                for one in self.members:
                    one.read()
                self.model.train_function = None
                self._take_recorded_function()
            return None

        return make

    def _left_over(self) -> Any:
        """Whether the caller begins a training after one that failed."""
        running = fits_running(self.model)
        if self._in_fit:
            # A `fit` that is being begun asks for its function too, through `make`.
            return running == 0 or (
                running == 1 and called_by_fit(self.model, between=1)
            )
        return running > 0

    def _add_epoch_logs(self) -> None:
        # One dictionary goes round all callbacks at an epoch's end, so entries made
        # there reach later callbacks only. `fit` asks the model for the dictionary's
        # contents first; so does `evaluate`, whose logs are not the epoch's.
        results = keras_compat.epoch_logs(self.model)
        evaluate = self.model.evaluate

        @functools.wraps(results)
        def results_and_norms(logs: Any) -> Any:
            found = results(logs)
            if self._evaluating or not fits_running(self.model):
                return found
            for one in self.members:
                found = {**found, **one.epoch_logs(found)}
            return found

        @functools.wraps(evaluate)
        def marked(*args: Any, **kwargs: Any) -> Any:
            self._evaluating = True
            try:
                return evaluate(*args, **kwargs)
            finally:
                self._evaluating = False

        self._set(self.model, keras_compat.EPOCH_LOGS, results_and_norms)
        self._set(self.model, "evaluate", marked)

    def discard(self, installation: Any) -> None:
        self.members.remove(installation)
        if installation.channel is not None:
            installation.channel.listener = None
        if self.members:
            return
        self.active = False
        for owner, name, before in reversed(self._patched):
            if before is NOTHING:
                owner.__dict__.pop(name, None)
            else:
                owner.__dict__[name] = before
        self._patched.clear()
        if isinstance(self.model.train_function, RecordedStep):
            self.model.train_function = self.model.train_function.plain
