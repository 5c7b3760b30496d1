"""Gradients of a training loop that somebody wrote by hand."""

import contextlib
import dataclasses
import functools
import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_gradattn._compat import keras as keras_compat
from keras_gradattn.gradients._recorded_step import (
    Settings,
    build_optimizer,
    gradient_variables,
    outside_of_graphs,
    replicated_strategy,
    unwrap,
)
from keras_gradattn.gradients._ring import Ring, Rows, torch_eagerly
from keras_gradattn.gradients._weight_updates import WeightUpdates


class Watch:
    """Measures what an optimizer is given while a `with` block is open.

    Made by `GradientNorms.watching`.

    Args:
        model: A built model; its trainable variables are measured.
        optimizer: A Keras or PyTorch optimizer, or `None` where `step` is called.
        settings: What is measured.
        check_every: Every how many steps rows are read, where the host sees steps.
        on_rows: Called with new `Rows` when they were read.
        end_epoch: Called by `end_epoch`.
    """

    why_lost = (
        "nothing is read while a compiled loop runs. Call `watch.end_epoch()` more "
        "often, or raise `capacity`."
    )

    def __init__(
        self,
        model: keras.Model,
        optimizer: Any,
        settings: Settings,
        *,
        check_every: int | None,
        on_rows: Callable[[Rows], None],
        end_epoch: Callable[[], dict[str, float]],
    ) -> None:
        self.model = model
        self.outer = optimizer
        self.optimizer = unwrap(optimizer)
        self.active = False
        # The recorded step of a compiled model, for `train_on_batch`.
        self.also: Any = None
        self.channel = self  # what an `Installation` has beside itself
        self._settings = settings
        self._read_every = min(check_every or settings.capacity, settings.capacity // 2)
        self._on_rows = on_rows
        self._end_epoch = end_epoch
        self._pending = 0
        self._steps = 0
        # Whether a step that was measured by hand waits for its update.
        self._begun = False
        self._numbered = 0
        self._step = self._measure_by_hand
        if keras.backend.backend() == "torch":
            self._step = torch_eagerly(self._measure_by_hand)
        self._hooks = contextlib.ExitStack()
        self._sent: list[np.ndarray] = []
        accumulated = getattr(self.optimizer, "gradient_accumulation_steps", None)
        self.updates = WeightUpdates(accumulated or 1)
        variables = gradient_variables(model, settings.chooses)
        more = settings.more
        with outside_of_graphs():
            self.ring = Ring(
                variables,
                capacity=settings.capacity,
                barrier=keras.backend.backend() == "jax",
                strategy=replicated_strategy(model),
                more=more(variables, model, self.optimizer) if more else (),
                sink=self._send if keras.backend.backend() == "jax" else None,
                detail_every=settings.detail_every,
            )

    # What a loop calls.

    def step(
        self,
        gradients: Any = None,
        *,
        iteration: Any = None,
        scale: Any = None,
    ) -> None:
        """Measure the gradients of one update, from inside the step if it is compiled.

        Args:
            gradients: One per trainable variable of the model, in its order (on JAX
                also any structure of them). On PyTorch those of the parameters by
                default.
            iteration: Updates before this one; counted by default. Counting inside a
                compiled JAX step asks the host, which a number of your own spares.
            scale: What the gradients were multiplied by, to be divided out.

        Raises:
            ValueError: If their number is not that of the variables.
        """
        self._step(gradients, iteration, scale)

    def _measure_by_hand(self, gradients: Any, iteration: Any, scale: Any) -> None:
        variables = gradient_variables(self.model)
        if gradients is None:
            if keras.backend.backend() != "torch":
                raise ValueError(
                    "`step` needs the gradients: only PyTorch keeps them with the "
                    "weights. Received: gradients=None"
                )
            gradients = [v.value.grad for v in variables]
        if keras.backend.backend() == "jax":
            gradients = keras.tree.flatten(gradients)
        gradients = list(gradients)
        if len(gradients) != len(variables):
            raise ValueError(
                "`step` takes one gradient per trainable variable of the model. "
                f"Received: {len(gradients)} gradients for {len(variables)} variables"
            )
        on_the_host = self._on_the_host()
        if on_the_host:
            self._finish()
        if iteration is None:
            iteration = self._number()
        self._measure(gradients, variables, iteration, scale)
        self._begun = on_the_host

    def end_epoch(self) -> dict[str, float]:
        """Read what was measured and begin the next epoch.

        Returns:
            What `fit` would add to the epoch's logs.
        """
        self._finish()
        return self._end_epoch()

    # Between the loop and the recorder.

    def open(self) -> "Watch":
        """Watch the optimizer from here on."""
        self.active = True
        if self.optimizer is None:
            return self
        if hasattr(self.optimizer, "register_step_pre_hook"):
            self._watch_torch()
        elif hasattr(self.optimizer, "apply"):
            self._watch_keras()
        elif not hasattr(self.optimizer, "update"):  # optax is given to `step`
            raise ValueError(
                "`watching` follows Keras' optimizers and `torch.optim`'s. Leave the "
                "optimizer out and call `watch.step(gradients)` in the step. "
                f"Received: optimizer={type(self.optimizer).__name__}"
            )
        return self

    def _watch_torch(self) -> None:
        before = self.optimizer.register_step_pre_hook(self._before)
        after = self.optimizer.register_step_post_hook(lambda *_: self._after())
        self._hooks.callback(before.remove)
        self._hooks.callback(after.remove)

    def _before(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if any(map(callable, (*args[1:], kwargs.get("closure")))):
            raise ValueError(
                "An optimizer that is given a closure computes its gradients after "
                "`watching` reads them. Call `watching` without the optimizer, and "
                "`watch.step()` at the end of the closure. "
                f"Received: {type(optimizer).__name__}.step(closure)"
            )
        given = {id(p) for group in optimizer.param_groups for p in group["params"]}
        variables = [v for v in gradient_variables(self.model) if id(v.value) in given]
        gradients = [v.value.grad for v in variables]
        self._measure(gradients, variables, self._steps, None)

    def _watch_keras(self) -> None:
        original = self.optimizer.apply

        @functools.wraps(original)
        def apply(
            grads: Any, trainable_variables: Any = None, *args: Any, **kwargs: Any
        ) -> Any:
            grads = list(grads)
            if trainable_variables is None:
                variables = keras_compat.trained_variables(self.optimizer)
            else:
                trainable_variables = variables = list(trainable_variables)
            if grads and self.active:
                if self._settings.more is not None:
                    build_optimizer(self.optimizer, variables)
                grads = self._measure(
                    grads,
                    variables,
                    keras_compat.update_count(self.optimizer).value,
                    getattr(self.optimizer, "loss_scale_factor", None),
                )
            result = original(grads, trainable_variables, *args, **kwargs)
            if grads and self.active and self._on_the_host():
                self._after()
            return result

        apply.__dict__["unwatched"] = original
        before = self.optimizer.__dict__.get("apply")
        self.optimizer.__dict__["apply"] = apply

        def restore() -> None:
            if before is None:
                self.optimizer.__dict__.pop("apply", None)
            else:
                self.optimizer.__dict__["apply"] = before

        self._hooks.callback(restore)

    def _measure(
        self, gradients: Any, variables: Any, iteration: Any, scale: Any
    ) -> Any:
        if self._on_the_host():
            wanted = self._steps % self._settings.detail_every == 0
            self.ring.want_details(wanted)
            if wanted:
                self.updates.before(
                    self.ring.variables,
                    [v.value for v in self.ring.variables],
                    self.ring.rows_written(),
                )
        return self.ring.record(gradients, variables, iteration, scale)

    def _finish(self) -> None:
        """Count a step that was measured by hand, once its update is done."""
        if self._begun:
            self._begun = False
            self._after()

    def _after(self) -> None:
        if self.updates.waiting:
            self.updates.after(
                self.ring.variables,
                [v.value for v in self.ring.variables],
                self.ring.rows_written(),
            )
        else:
            self.updates.after([], [], 0)
        self._steps += 1
        self._pending += 1
        if self._pending >= self._read_every:
            self.read()

    def _on_the_host(self) -> Any:
        """Whether steps run one by one, so that the host sees each."""
        match keras.backend.backend():
            case "tensorflow":
                import tensorflow as tf

                return tf.executing_eagerly()
            case "torch":
                return True
        return False

    def _number(self) -> Any:
        """How many steps came before, also inside a compiled step."""
        if self._on_the_host():
            return self._steps
        if keras.backend.backend() == "tensorflow":
            return self.ring.count.value
        import jax
        from jax.experimental import io_callback

        # A step whose results are somebody else's keeps no counter of its own.
        described: Any = jax.ShapeDtypeStruct
        return io_callback(self._counted, described((), "int32"))

    def _counted(self) -> np.ndarray:
        number = self._numbered
        self._numbered += self.active
        return np.asarray(number, "int32")

    def _send(self, row: Any) -> None:
        import jax

        # The only way out of a step whose results are somebody else's.
        jax.debug.callback(self._received, row)

    def _received(self, row: Any) -> None:
        if self.active:
            self._sent.append(np.array(row))

    def read(self) -> None:
        """Hand rows written since the last call to the recorder."""
        self._pending = 0
        if self.also is not None:
            self.also.read()
        if keras.backend.backend() == "jax":
            import jax

            wait: Any = jax.effects_barrier
            wait()
            sent, self._sent = self._sent, []
            rows = self.ring.rows_of(np.array(sent), self._steps)
            self._steps += len(sent)
        else:
            rows = self.ring.read()
            weights, updates = self.updates.read(self.ring, rows.number)
            rows = dataclasses.replace(rows, weight_norms=weights, update_norms=updates)
        if len(rows.number):
            self._on_rows(rows)

    def remove(self) -> None:
        """Read what is left and let go of the optimizer."""
        if not self.active:
            return
        try:
            self._finish()
            self.read()
        finally:
            self.active = False
            self._hooks.close()

    def remove_if_over(self) -> None:
        """A `with` block has an end of its own."""


def complain_about_silence(watch: Watch, rows: int) -> None:
    """Say why a loop gave no rows, and what to write.

    Args:
        watch: The watch whose block ends.
        rows: Rows that it gave.
    """
    if rows:
        return
    seen = "no optimizer" if watch.optimizer is None else type(watch.optimizer).__name__
    advice = {
        "torch": "call `watch.step()` between `loss.backward()` and the update",
        "tensorflow": "call `watch.step(gradients)` where the tape has given them",
        "jax": "call `watch.step(gradients)` inside the compiled step",
    }[keras.backend.backend()]
    compiled = (
        ""
        if keras.backend.backend() == "torch"
        else " A step that was compiled before the block began is not seen: make it "
        "inside."
    )
    warnings.warn(
        f"No gradient was recorded: {seen} was watched, and nothing was applied with "
        f"it inside the block.{compiled} Or {advice}.",
        RuntimeWarning,
        stacklevel=3,
    )
