"""Weight norms by depth over training steps, for the decay question."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_gradattn.training._depth import Depth, depth_of, is_kernel


class WeightNorms(keras.callbacks.Callback):
    """Records, per depth group, the L2 norm of all its kernels.

    Args:
        every: Steps between two records inside an epoch; `None` records at the end
            of each epoch only. Reading the weights of a JAX model costs a state
            synchronisation, so not every step.
        depth: Groups of the weights. Default: those of the model, when training
            begins.
    """

    def __init__(self, every: int | None = None, depth: Depth | None = None):
        super().__init__()
        self._every = every
        self._depth = depth
        self._step = 0
        self._steps: list[int] = []
        self._norms: dict[str, list[float]] = {}

    def state(self) -> dict[str, Any]:
        """The record so far, as plain data."""
        return {"steps": list(self._steps), "norms": dict(self._norms)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from an earlier `state()`."""
        self._steps = list(state["steps"])
        self._norms = {group: list(v) for group, v in state["norms"].items()}
        self._step = self._steps[-1] if self._steps else 0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        if not self._steps:
            self._record()

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        self._step += 1
        if self._every and self._step % self._every == 0:
            self._record()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self._steps[-1] != self._step:
            self._record()

    def _record(self) -> None:
        if self._depth is None:
            self._depth = depth_of(self.model)
        squares: dict[str, float] = {}
        for variable in self.model.variables:
            group = self._depth.group_of.get(id(variable))
            # What is frozen for a while has a norm all the same.
            if group is not None and is_kernel(variable):
                value = np.asarray(keras.ops.convert_to_numpy(variable), "float64")
                squares[group] = squares.get(group, 0.0) + float(np.square(value).sum())
        self._steps.append(self._step)
        for group in self._depth.names:
            if group in squares:
                self._norms.setdefault(group, []).append(squares[group] ** 0.5)
