"""A model's train function beside one that also writes gradient norms.

Both are kept: a `fit` with the recorder takes the one, a `fit` without it the other,
and neither is compiled a second time. What has to be exchanged in the optimizer is
exchanged only while the recorded function runs, so that callbacks, files and whoever
interrupts the training meet objects as they were.
"""

import contextlib
import dataclasses
import functools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from keras_gradattn._compat import keras as keras_compat
from keras_gradattn._compat import tensorflow as tensorflow_compat
from keras_gradattn.gradients._ring import Ring, Rows
from keras_gradattn.gradients._weight_updates import WeightUpdates, jax_copy

_CACHE = "gradient_norms_recorded_steps"
NOTHING = object()


@dataclasses.dataclass(frozen=True)
class Settings:
    """What of a recorder is compiled into the step.

    Attributes:
        capacity: Rows of the ring.
        detail_every: Every how many steps the costlier columns are measured.
        chooses: From path and variable to whether it is measured; `None` for all.
        more: From measured variables, model and optimizer to further measures of the
            ring; `None` for none.
    """

    capacity: int
    detail_every: int
    chooses: Callable[..., Any] | None = None
    more: Callable[..., Any] | None = None


def unwrap(optimizer: Any) -> Any:
    """The optimizer that receives unscaled gradients.

    `LossScaleOptimizer` divides by its scale before it calls the inner optimizer,
    and does not call it at all where the step is skipped.
    """
    while isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = optimizer.inner_optimizer
    return optimizer


def tap_variables(model: keras.Model) -> list[Any]:
    """Variables whose gradient is a vector of layer-output statistics."""
    return [v for v in model.trainable_variables if hasattr(v, "gradient_tap")]


def gradient_variables(
    model: keras.Model, chooses: Callable[..., Any] | None = None
) -> list[Any]:
    """Variables with a gradient to measure, in the order of the model."""
    return [
        v
        for v in model.trainable_variables
        if not getattr(v, "overwrite_with_gradient", False)
        and (chooses is None or chooses(v))
    ]


def replicated_strategy(model: keras.Model) -> Any:
    """The TensorFlow strategy that trains on several replicas, or `None`."""
    if keras.backend.backend() != "tensorflow":
        return None
    strategy = model.distribute_strategy
    return strategy if strategy.num_replicas_in_sync > 1 else None


class Channel:
    """One optimizer, and the ring that its gradients are measured into.

    Args:
        model: The compiled model.
        optimizer: The model's optimizer, or another one that its step uses.
        settings: What is compiled in.
    """

    def __init__(self, model: keras.Model, optimizer: Any, settings: Settings) -> None:
        self.model = model
        self.outer = optimizer
        self.optimizer = unwrap(optimizer)
        self.settings = settings
        # Made with the first step where the model is not built before.
        self.ring: Any = None
        self.calls = 0
        self._wanted = False
        self._scales: dict[int, object] = {}
        self._entered = 0
        self._exchanged = contextlib.ExitStack()
        self._apply: tuple[Any, ...] | None = None
        # Told after each call while a recorder listens; nothing is measured otherwise.
        self.listener: Callable[[], None] | None = None
        accumulated = getattr(self.optimizer, "gradient_accumulation_steps", None)
        self.updates = WeightUpdates(accumulated or 1)
        jax = keras.backend.backend() == "jax"
        if jax or replicated_strategy(model) is not None:
            self.prepare()

    def prepare(self) -> None:
        """Make the ring of a model that is built to its end."""
        if self.ring is None:
            self._make_ring(gradient_variables(self.model, self.settings.chooses))

    def _make_ring(self, variables: Any) -> None:
        more = self.settings.more
        self.ring = Ring(
            variables,
            tap_variables(self.model) if self.outer is self.model.optimizer else [],
            capacity=max(
                self.settings.capacity, 2 * (self.model.steps_per_execution or 1)
            ),
            barrier=bool(self.model.jit_compile) and not self.model.run_eagerly,
            strategy=replicated_strategy(self.model),
            more=more(variables, self.model, self.optimizer) if more else (),
        )
        self.ring.want_details(self._wanted)

    def _ring_for(self, variables: Any) -> Any:
        """Made where the first step is traced: there the model is built to its end."""
        if self.ring is None:
            measured = gradient_variables(self.model, self.settings.chooses)
            own = self.outer is self.model.optimizer
            known = {id(v) for v in self.model.trainable_variables}
            named = [v for v in variables if isinstance(v, keras.Variable)]
            if not own:
                applied = set(map(id, named))
                measured = [v for v in measured if id(v) in applied]
            measured += [
                v
                for v in named
                if id(v) not in known
                and not getattr(v, "overwrite_with_gradient", False)
                and (self.settings.chooses is None or self.settings.chooses(v))
            ]
            with outside_of_graphs():
                self._make_ring(measured)
        return self.ring

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """While open, the optimizer's `apply` measures what it is given."""
        # Replicas of a TensorFlow strategy trace in threads that take turns: the first
        # one opens for all, the last one closes.
        if self._entered == 0:
            self._exchange()
        self._entered += 1
        try:
            yield
        finally:
            self._entered -= 1
            if self._entered == 0:
                self._exchanged.close()

    def _exchange(self) -> None:
        with contextlib.ExitStack() as stack:
            stack.enter_context(
                exchanged(self.optimizer, "apply", self._measured_apply())
            )
            if keras.backend.backend() == "jax":
                stack.enter_context(self._ring_in_the_state())
                if self.ring.tap_variables and self.outer is not self.optimizer:
                    noted = self._noting_scales(self.outer.stateless_apply)
                    stack.enter_context(exchanged(self.outer, "stateless_apply", noted))
            self._exchanged = stack.pop_all()

    @contextlib.contextmanager
    def _ring_in_the_state(self) -> Iterator[Any]:
        # JAX' step is pure: only the optimizer's variables come in and go out of it
        # next to the model's own.
        for variable in self.ring.state:
            keras_compat.track_variable(self.optimizer, variable)
        try:
            yield
        finally:
            for variable in self.ring.state:
                keras_compat.untrack_variable(self.optimizer, variable)

    def _measured_apply(self) -> Any:
        # The same function at every step, or PyTorch's compiler would begin anew.
        own = self.optimizer.__dict__.get("apply")
        if self._apply is None or self._apply[0] is not own:
            apply = self.optimizer.apply
            # What a `with` block watches is measured once.
            apply = getattr(apply, "unwatched", apply)
            self._apply = (own, self._measured(apply))
        return self._apply[1]

    def _measured(self, original: Any) -> Any:
        @functools.wraps(original)
        def apply(
            grads: Any, trainable_variables: Any = None, *args: Any, **kwargs: Any
        ) -> Any:
            grads = list(grads)
            if trainable_variables is None:
                variables = keras_compat.trained_variables(self.optimizer)
            else:
                trainable_variables = variables = list(trainable_variables)
            if grads and self.settings.more is not None:
                build_optimizer(self.optimizer, variables)
            if grads:
                grads = self._ring_for(variables).record(
                    grads,
                    variables,
                    keras_compat.update_count(self.optimizer).value,
                    getattr(self.optimizer, "loss_scale_factor", None),
                    self._tap_scales(),
                )
            return original(grads, trainable_variables, *args, **kwargs)

        return apply

    def _noting_scales(self, original: Any) -> Any:
        # The inner optimizer's scope no longer knows the wrapper's scale.
        @functools.wraps(original)
        def stateless_apply(optimizer_variables: Any, *args: Any, **kwargs: Any) -> Any:
            by_identity = dict(
                zip(map(id, self.outer.variables), optimizer_variables, strict=True)
            )
            optimizer = self.outer
            while optimizer is not self.optimizer:
                scale = by_identity[id(optimizer.dynamic_scale)]
                self._scales[id(optimizer)] = scale
                optimizer = optimizer.inner_optimizer
            try:
                return original(optimizer_variables, *args, **kwargs)
            finally:
                self._scales.clear()

        return stateless_apply

    def _tap_scales(self) -> Any:
        """What each tap's statistics are to be divided by; shares by nothing."""
        if not self.ring.tap_variables:
            return None
        scale: Any = getattr(self.optimizer, "loss_scale_factor", None)
        scale = 1.0 if scale is None else scale
        divided: Any = 1.0
        optimizer = self.outer
        while optimizer is not self.optimizer:
            # Variables that are overwritten by their gradient are left scaled.
            dynamic = self._scales.get(id(optimizer))
            if dynamic is None:
                dynamic = keras.ops.convert_to_tensor(optimizer.dynamic_scale)
            if keras_compat.overwrite_rule(optimizer) is None:
                divided = divided * dynamic
            else:
                scale = scale * dynamic
            optimizer = optimizer.inner_optimizer
        ops = keras.ops
        return [
            ops.stack(
                [
                    ops.cast(
                        1.0 / divided if statistic == "zero_share" else scale, "float32"
                    )
                    for statistic in tap.gradient_tap.statistics
                ]
            )
            for tap in self.ring.tap_variables
        ]

    # Around a call of the step, on the host.

    def begin(self, arguments: tuple[Any, ...]) -> None:
        """Decide whether the coming step takes details, and keep old weights."""
        wanted = self._wanted = (
            self.listener is not None and self.calls % self.settings.detail_every == 0
        )
        self.calls += 1
        if self.ring is not None:
            self.ring.want_details(wanted)
        if wanted and self.model.steps_per_execution == 1:
            variables, values = self._weights(arguments[0])
            self.updates.before(variables, values, self._rows_written())

    def finish(self, result: Any) -> None:
        """Compare weights, and tell the listener."""
        if self.updates.waiting:
            state = result[1] if keras.backend.backend() == "jax" else None
            variables, values = self._weights(state)
            self.updates.after(variables, values, self._rows_written())
        else:
            self.updates.after([], [], 0)
        if self.listener is not None:
            self.listener()

    def _weights(self, state: Any) -> Any:
        if keras.backend.backend() == "jax":
            pairs = zip(self.model.trainable_variables, state[0], strict=True)
            values = {id(v): array for v, array in pairs}
            variables = self.ring.variables
            return variables, [values[id(v)] for v in variables]
        variables = self.ring.variables if self.ring else None
        if variables is None:
            variables = gradient_variables(self.model, self.settings.chooses)
        return variables, [v.value for v in variables]

    def _rows_written(self) -> Any:
        if self.ring is None:
            return 0
        return self.ring.rows_written()

    def failed(self) -> None:
        """After an exception inside the step."""
        self.updates.drop()
        if keras.backend.backend() != "jax" or self.ring.arrays is None:
            return
        if any(array.is_deleted() for array in self.ring.arrays):
            self.ring.restart()
            warnings.warn(
                "Training failed inside a compiled step, which took the ring of "
                "gradient norms along: steps since it was last read are missing from "
                "the record.",
                RuntimeWarning,
                stacklevel=2,
            )

    def read(self) -> Rows | None:
        """Rows written since the last call."""
        if self.ring is None:
            return None
        rows = self.ring.read()
        weights, updates = self.updates.read(self.ring, rows.number)
        return dataclasses.replace(rows, weight_norms=weights, update_norms=updates)


def _prepare(
    model: keras.Model, channels: list[Channel], arguments: tuple[Any, ...]
) -> None:
    """Make every variable of a usual step before TensorFlow traces it.

    A step that makes variables is traced twice, and tracing is most of the wait.
    """
    if (
        keras.backend.backend() != "tensorflow"
        or not model.built
        or model.run_eagerly
        or not _traces_train_step(model)
        or not type(model).train_step.__module__.startswith("keras.")
    ):
        return
    batch = tensorflow_compat.described_batch(arguments[0])
    if batch is not None:
        keras_compat.make_training_state(model, batch)
        for channel in channels:
            if channel.outer is model.optimizer:
                channel.prepare()


class RecordedStep:
    """The train function that writes norms; called in place of the plain one.

    Args:
        model: A compiled model that has its plain train function.
        channels: One per recorded optimizer.
    """

    def __init__(self, model: keras.Model, channels: list[Channel]) -> None:
        self.model = model
        self.channels = channels
        self.plain = model.train_function
        # A compiled step is Python only while it is traced: there the optimizers are
        # opened, and the steps after it cost nothing more.
        self._opens_itself = _traces_train_step(model)
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._open())
            if self._opens_itself:
                step = self._opened(model.train_step)
                stack.enter_context(exchanged(model, "train_step", step))
            model.make_train_function(force=True)
        self._inner, model.train_function = model.train_function, self.plain
        self._where: tuple[int, list[int]] = (-1, [])
        self._called = False

    def _opened(self, train_step: Any) -> Any:
        @functools.wraps(train_step)
        def opened(*args: Any, **kwargs: Any) -> Any:
            with self._open():
                return train_step(*args, **kwargs)

        return opened

    @contextlib.contextmanager
    def _open(self) -> Iterator[Any]:
        with contextlib.ExitStack() as stack:
            for channel in self.channels:
                stack.enter_context(channel.open())
            yield

    def __call__(self, *arguments: Any) -> Any:
        if not self._called:
            self._called = True
            _prepare(self.model, self.channels, arguments)
        for channel in self.channels:
            channel.begin(arguments)
        try:
            with contextlib.nullcontext() if self._opens_itself else self._open():
                if keras.backend.backend() == "jax":
                    result = self._pure(*arguments)
                else:
                    result = self._inner(*arguments)
        except StopIteration:  # the data's regular end
            raise
        except BaseException:
            for channel in self.channels:
                channel.failed()
            raise
        for channel in self.channels:
            channel.finish(result)
        return result

    def _pure(self, state: Any, iterator: Any) -> Any:
        """JAX' step, with the ring among the optimizer's variables."""
        (channel,) = self.channels
        ring = channel.ring
        optimizer_variables = list(state[2])
        where = self._positions(channel, len(optimizer_variables))
        arrays = list(ring.arrays or map(jax_copy, (v.value for v in ring.state)))
        arrays[2] = _placed_like(ring.wanted.value, ring.wants_details)
        added = sorted(zip(where, arrays, strict=True), key=_first)
        for position, array in added:
            optimizer_variables.insert(position, array)
        # Their buffers are the step's from here on.
        ring.arrays = tuple(arrays)
        state = (*state[:2], optimizer_variables, *state[3:])
        with keras_compat.with_shardings(self.model, added):
            logs, new = self._inner(state, iterator)
        optimizer_variables = list(new[2])
        ring.arrays = tuple(optimizer_variables[i] for i in where)
        for position in sorted(where, reverse=True):
            del optimizer_variables[position]
        return logs, (*new[:2], optimizer_variables, *new[3:])

    def _positions(self, channel: Any, number: Any) -> Any:
        """Where the ring stands among the optimizer's variables."""
        if self._where[0] != number:
            with channel.open():
                where = _positions(channel.outer.variables, channel.ring.state)
            self._where = (number, where)
        return self._where[1]


def _traces_train_step(model: Any) -> Any:
    """Whether the train function holds on to the `train_step` it was made with."""
    if keras.backend.backend() == "torch":
        return False
    if replicated_strategy(model) is not None:
        # Replicas trace the step by turns: one must not close what another has open.
        return False
    if getattr(keras.config, "is_nnx_enabled", lambda: False)():
        return False
    return type(model).make_train_function.__module__.startswith("keras.")


def _first(pair: Any) -> Any:
    return pair[0]


def _positions(variables: Any, wanted: Any) -> Any:
    where = []
    for one in wanted:
        hits = [i for i, v in enumerate(variables) if v is one]
        if not hits:
            raise ValueError(
                "The optimizer does not list variables that are added to it, and on "
                "JAX nothing else leaves a compiled step: its gradients cannot be "
                "recorded in `fit`."
            )
        where.append(hits[0])
    return where


def _placed_like(array: Any, value: Any) -> Any:
    """A new array at each step, since the step takes its buffer."""
    import jax

    value = np.asarray(value)
    if len(array.sharding.device_set) == 1:
        # Bound to its device, it would have the step compiled anew where the others
        # are not.
        return jax.numpy.asarray(value)
    # Without asking the other processes whether theirs is the same.
    return jax.make_array_from_callback((), array.sharding, lambda _: value)


def recorded_step(
    model: keras.Model, wanted: list[tuple[object, Settings]]
) -> RecordedStep:
    """The recorded step of a model as it is compiled now, made on the first call.

    Args:
        model: A compiled model whose `train_function` is the plain one.
        wanted: Optimizers and settings, one per channel.

    Returns:
        The same step as long as the model is not compiled anew.
    """
    # Whoever compiles anew, or makes the function by force, has another plain one.
    steps = [
        step
        for step in model.__dict__.get(_CACHE, [])
        if step.plain is model.train_function
    ]
    model.__dict__[_CACHE] = steps
    for step in steps:
        if len(step.channels) == len(wanted) and all(
            channel.outer is optimizer and channel.settings == settings
            for channel, (optimizer, settings) in zip(
                step.channels, wanted, strict=True
            )
        ):
            return step
    step = RecordedStep(model, [Channel(model, o, s) for o, s in wanted])
    steps.append(step)
    return step


def build_optimizer(optimizer: Any, variables: list[Any]) -> None:
    """Have an optimizer make what further measures may read of it."""
    if not optimizer.built:
        with outside_of_graphs(), keras.name_scope(optimizer.name):
            optimizer.build(variables)


@contextlib.contextmanager
def exchanged(owner: Any, name: str, value: Any) -> Iterator[None]:
    """While open, an attribute of one instance is another one."""
    # Through `__dict__`: Keras' and PyTorch's `__setattr__` would track it.
    before = owner.__dict__.get(name, NOTHING)
    owner.__dict__[name] = value
    try:
        yield
    finally:
        if before is NOTHING:
            owner.__dict__.pop(name, None)
        else:
            owner.__dict__[name] = before


@contextlib.contextmanager
def outside_of_graphs() -> Iterator[None]:
    """Variables made inside belong to no traced function."""
    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    with tf.init_scope():
        yield
