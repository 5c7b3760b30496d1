"""Puts the ring into a model's optimizer for one `fit`, and takes it out again."""

import contextlib
import functools
import warnings
from collections.abc import Callable

import keras

from keras_gradattn.gradients._ring import Ring, Rows

_NOTHING = object()


def unwrap(optimizer: object) -> object:
    """The optimizer that receives unscaled gradients.

    `LossScaleOptimizer` divides by its scale before it calls the inner optimizer,
    and does not call it at all where the step is skipped.
    """
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    return optimizer


def refuse_unsupported(model: keras.Model) -> None:
    """Raise where recorded numbers could not be trusted.

    Raises:
        ValueError: With the reason and what to do instead.
    """
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None or not hasattr(unwrap(optimizer), "apply"):
        raise ValueError(
            "`GradientNorms` reads what `model.optimizer` is given, and this model "
            "has no Keras optimizer: compile it with one. Models that drive several "
            "optimizers of their own need `keras.optimizers.MultiOptimizer`. "
            f"Received: model.optimizer={optimizer!r}"
        )
    if model.built and not _gradient_variables(model):
        raise ValueError(
            "`GradientNorms` needs trainable weights, and the model has none. "
            f"Received: model={model.name!r}"
        )
    if keras.backend.backend() == "tensorflow":
        _refuse_strategy(model)
    if keras.backend.backend() == "jax":
        import jax

        if jax.process_count() > 1:
            raise ValueError(
                "`GradientNorms` cannot read the recorded norms back when JAX runs "
                f"in several processes. Received: {jax.process_count()} processes"
            )


def _refuse_strategy(model: keras.Model) -> None:
    import tensorflow as tf

    strategy = model.distribute_strategy
    if strategy.num_replicas_in_sync == 1 and not isinstance(
        strategy, tf.distribute.ParameterServerStrategy
    ):
        return
    if type(strategy) is not tf.distribute.MirroredStrategy:
        raise ValueError(
            "`GradientNorms` sums the replicas' gradients under `MirroredStrategy` "
            "only; under other strategies the norms would be those of one replica. "
            f"Received: strategy={type(strategy).__name__}"
        )
    if _tap_variables(model):
        raise ValueError(
            "Layer-output gradients cannot be recorded under `MirroredStrategy`: "
            "each replica sees its own part of the batch, and norms of parts do not "
            "add up to the norm of the batch. Train the tapped model on one device, "
            "or measure it afterwards with `analyze_gradient_flow`."
        )
    if hasattr(model.optimizer, "inner_optimizer"):
        raise ValueError(
            "`GradientNorms` does not support loss scaling together with "
            "`MirroredStrategy`: whether a step is skipped is decided outside of the "
            "replicas. Use `mixed_bfloat16`, or one device. "
            f"Received: optimizer={type(model.optimizer).__name__}"
        )


def _gradient_variables(model: keras.Model) -> list:
    return [v for v in model.trainable_variables if not v.overwrite_with_gradient]


def _tap_variables(model: keras.Model) -> list:
    return [v for v in model.trainable_variables if hasattr(v, "gradient_tap")]


class Installation:
    """The ring of one `fit`, and every hook that it needs.

    Hooks are instance attributes over the class's methods, so taking them out leaves
    the objects as they were. `fit` does not tell callbacks when it fails; therefore
    the train function is watched for exceptions, and the next training of whatever
    kind (it asks for a train function first) takes a leftover installation out.

    Args:
        model: Compiled model, checked by `refuse_unsupported`.
        capacity: Rows of the ring.
        detail_every: Every how many rows the costlier columns are measured.
        check_every: Every how many steps `on_rows` is called at the latest, or
            `None` for only when the ring is full.
        on_rows: Called with new `Rows` when they were read.
        epoch_logs: Called once the epoch's steps are done, for entries of its logs.
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        capacity: int,
        detail_every: int,
        check_every: int | None,
        on_rows: Callable[[Rows], None],
        epoch_logs: Callable[[], dict[str, float]],
    ):
        self.model = model
        self.optimizer = unwrap(model.optimizer)
        self.ring: Ring | None = None
        self.active = False
        self._outer = model.optimizer
        self._capacity = max(capacity, 2 * model.steps_per_execution)
        self._detail_every = detail_every
        self._read_every = self._capacity - model.steps_per_execution
        if check_every is not None:
            self._read_every = min(self._read_every, check_every)
        self._on_rows = on_rows
        self._epoch_logs = epoch_logs
        self._evaluating = False
        self._pending = 0
        self._jax_state = None
        self._patched: list[tuple[object, str, object]] = []
        self._install()

    def _install(self):
        current = self.model.__dict__.get("gradient_norms_installation")
        if current is not None:
            raise ValueError(
                "Another `GradientNorms` records this model already. Use one per "
                "`fit`; `groups=` chooses how finely it resolves."
            )
        try:
            self.active = True
            self._set(self.model, "gradient_norms_installation", self)
            if self.model.built:
                self._build_ring()
            self._set(self.optimizer, "apply", self._apply(self.optimizer.apply))
            if _tap_variables(self.model) and self._outer is not self.optimizer:
                self._unscale_taps()
            self.model.make_train_function(force=True)
            self._set(
                self.model, "train_function", self._watched(self.model.train_function)
            )
            self._add_epoch_logs()
            self._set(
                self.model,
                "make_train_function",
                self._remove_before(self.model.make_train_function),
            )
        except BaseException:
            self.remove(read=False)
            raise

    def _set(self, owner, name, value):
        # Through `__dict__`: Keras' and PyTorch's `__setattr__` would track it.
        self._patched.append((owner, name, owner.__dict__.get(name, _NOTHING)))
        owner.__dict__[name] = value

    def _build_ring(self):
        self.ring = Ring(
            _gradient_variables(self.model),
            _tap_variables(self.model),
            capacity=self._capacity,
            detail_every=self._detail_every,
            barrier=bool(self.model.jit_compile) and not self.model.run_eagerly,
            strategy=_replicated_strategy(self.model),
        )
        if keras.backend.backend() == "jax":
            self._thread_through_optimizer()

    def _thread_through_optimizer(self):
        # JAX' step is pure: only the optimizer's variables come in and go out of it
        # next to the model's own. Files must not see two variables more than the
        # optimizer has, or loading them would drop the optimizer's state.
        if not self.optimizer.built:
            self.optimizer.build(self.model.trainable_variables)
        for variable in (self.ring.rows, self.ring.count):
            self.optimizer._track_variable(variable)
        variables = self._outer.variables
        self._state_index = [
            next(i for i, v in enumerate(variables) if v is wanted)
            for wanted in (self.ring.rows, self.ring.count)
        ]
        for owner in {id(o): o for o in (self.optimizer, self._outer)}.values():
            for name in ("save_own_variables", "load_own_variables"):
                self._set(owner, name, self._without_ring(getattr(owner, name)))

    def _without_ring(self, method):
        @functools.wraps(method)
        def hidden(store):
            with self._ring_hidden():
                return method(store)

        return hidden

    @contextlib.contextmanager
    def _ring_hidden(self):
        self._untrack_ring()
        try:
            yield
        finally:
            for variable in (self.ring.rows, self.ring.count):
                self.optimizer._track_variable(variable)

    def _untrack_ring(self):
        for variable in (self.ring.rows, self.ring.count):
            if any(v is variable for v in self.optimizer._variables):
                self.optimizer._untrack_variable(variable)

    def _unscale_taps(self):
        # `LossScaleOptimizer` leaves variables that are overwritten by their
        # gradient (float8 scales) as they are; a tap's value is a gradient norm and
        # must be divided by the scale like any gradient.
        is_overwritten = self._outer._overwrite_variable_with_gradient
        self._set(
            self._outer,
            "_overwrite_variable_with_gradient",
            lambda v: is_overwritten(v) and not hasattr(v, "gradient_tap"),
        )

    def _apply(self, original):
        @functools.wraps(original)
        def apply(grads, trainable_variables=None):
            grads = list(grads)
            if trainable_variables is None:
                variables = list(self.optimizer._trainable_variables)
            else:
                trainable_variables = variables = list(trainable_variables)
            if not grads:
                return original(grads, trainable_variables)
            if self.ring is None:
                self._build_ring_while_tracing()
            measured = self.ring.measure(
                grads,
                variables,
                self.optimizer._iterations.value,
                self.optimizer.loss_scale_factor,
            )
            result = original(measured.gradients, trainable_variables)
            self.ring.write(measured)
            return result

        return apply

    def _build_ring_while_tracing(self):
        # TensorFlow builds a subclassed model during the first step's tracing.
        import tensorflow as tf

        with tf.init_scope():
            self._build_ring()

    def _watched(self, train_function):
        per_call = self.model.steps_per_execution
        jax = keras.backend.backend() == "jax"

        @functools.wraps(train_function)
        def watched(*args):
            try:
                result = train_function(*args)
            except StopIteration:  # the data's regular end
                raise
            except BaseException:
                self._after_crash()
                raise
            if jax:
                optimizer_state = result[1][2]
                self._jax_state = tuple(optimizer_state[i] for i in self._state_index)
            self._pending += per_call
            if self._pending >= self._read_every:
                self.read()
            return result

        return watched

    def _after_crash(self):
        if keras.backend.backend() == "jax":
            # The trainer assigns its state by position after this; positions hold
            # only until the ring is taken out.
            self.model.jax_state_sync()
        self.remove()

    def _remove_before(self, make_train_function):
        @functools.wraps(make_train_function)
        def remove_then_make(force=False):
            self.remove()
            return self.model.make_train_function(force=force)

        return remove_then_make

    def _add_epoch_logs(self):
        # One dictionary goes round all callbacks at an epoch's end, so entries made
        # there reach later callbacks only. `fit` asks the model for the dictionary's
        # contents first; so does `evaluate`, whose logs are not the epoch's.
        results, evaluate = self.model._get_metrics_result_or_logs, self.model.evaluate

        @functools.wraps(results)
        def results_and_norms(logs):
            if self._evaluating:
                return results(logs)
            return {**results(logs), **self._epoch_logs()}

        @functools.wraps(evaluate)
        def marked(*args, **kwargs):
            self._evaluating = True
            try:
                return evaluate(*args, **kwargs)
            finally:
                self._evaluating = False

        self._set(self.model, "_get_metrics_result_or_logs", results_and_norms)
        self._set(self.model, "evaluate", marked)

    def read(self) -> None:
        """Hand rows written since the last call to `on_rows`."""
        self._pending = 0
        if self.ring is None:
            return
        state, self._jax_state = self._jax_state, None
        rows = self.ring.read(state)
        if len(rows.number):
            self._on_rows(rows)

    def remove(self, read: bool = True) -> None:
        """Take every hook out; afterwards the model trains as if never recorded."""
        if not self.active:
            return
        self.active = False
        try:
            if read:
                self._read_what_is_left()
        finally:
            for owner, name, before in reversed(self._patched):
                if before is _NOTHING:
                    owner.__dict__.pop(name, None)
                else:
                    owner.__dict__[name] = before
            self._patched.clear()
            if self.ring is not None and keras.backend.backend() == "jax":
                self._untrack_ring()
            # The compiled step still writes into the ring: have it made anew.
            self.model.train_function = None

    def _read_what_is_left(self):
        if keras.backend.backend() == "jax" and self.ring is not None:
            arrays = self._jax_state or (self.ring.rows._value, self.ring.count._value)
            if any(array is None or array.is_deleted() for array in arrays):
                self._jax_state = None
                if self._pending:
                    warnings.warn(
                        "Training failed inside a compiled step, which took the ring "
                        f"of gradient norms along: the last {self._pending} steps "
                        "before the failure are missing from the record.",
                        RuntimeWarning,
                        stacklevel=2,
                    )
                return
        self.read()


def _replicated_strategy(model: keras.Model) -> object:
    if keras.backend.backend() != "tensorflow":
        return None
    strategy = model.distribute_strategy
    return strategy if strategy.num_replicas_in_sync > 1 else None
