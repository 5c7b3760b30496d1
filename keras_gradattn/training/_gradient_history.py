"""Gradients by depth over the training steps of one run, as plain data."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_gradattn._compat.keras import callback_model
from keras_gradattn.gradients.depth_groups import inner_model
from keras_gradattn.gradients.gradient_norms import GradientNorms

_WINDOW = 500


class GradientHistory(GradientNorms):
    """`GradientNorms` that keeps windows of steps, and survives an interruption.

    A window is an epoch, or 500 steps of a longer one. Of each it keeps the mean
    gradient norm and RMS by depth, and the kernels that were dead: whose gradient was
    exactly zero in every step of the window.
    """

    def __init__(self) -> None:
        # By variable, so that single dead layers are seen; depth is summed up here.
        super().__init__(groups="variable")
        self._windows: list[dict[str, Any]] = []
        self._kernels: dict[str, int] = {}

    def state(self) -> dict[str, Any]:
        """The windows so far, as plain data.

        `kernels` counts the kernels of each depth group; each window has the `step`
        and `epoch` (from 1) it ends with, `norm` and `rms` by group, `dead` by group
        and `dead_kernels` by name.
        """
        return {"kernels": dict(self._kernels), "windows": list(self._windows)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from an earlier `state()`."""
        self._kernels = dict(state["kernels"])
        self._windows = list(state["windows"])

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        super().on_epoch_end(epoch, logs)
        if self.record is None:
            return
        rows = np.flatnonzero(self.record.epoch == epoch)
        groups, kernels, sizes = self._columns()
        self._kernels = {g: int(kernels[c].sum()) for g, c in groups.items()}
        for start in range(0, len(rows), _WINDOW):
            window = rows[start : start + _WINDOW]
            norms = self.record.norm[window]
            dead = (norms == 0).all(axis=0) & kernels
            by_group = {
                group: np.sqrt(np.square(norms[:, columns]).sum(axis=1))
                for group, columns in groups.items()
            }
            self._windows.append(
                {
                    "step": int(self.record.step[window[-1]]) + 1,
                    "epoch": epoch + 1,
                    "norm": {g: _number(n.mean()) for g, n in by_group.items()},
                    "rms": {
                        g: _number((n / np.sqrt(sizes[groups[g]].sum())).mean())
                        for g, n in by_group.items()
                    },
                    "dead": {g: int(dead[c].sum()) for g, c in groups.items()},
                    "dead_kernels": [
                        name
                        for name, is_dead in zip(self.record.groups, dead, strict=True)
                        if is_dead
                    ],
                }
            )

    def _columns(self) -> tuple[dict[str, list[int]], np.ndarray, np.ndarray]:
        """Columns of each depth group, whether each is a kernel, and its size."""
        # Columns are the trainable variables in order; paths may repeat.
        network = inner_model(callback_model(self))
        variables = network.trainable_variables
        column_of = {id(variable): i for i, variable in enumerate(variables)}
        depth_groups = network.depth_groups()
        groups: dict[str, list[int]] = {
            group: [] for group in dict.fromkeys(depth_groups.values())
        }
        for layer in network.layers:
            columns = [column_of[id(v)] for v in layer.trainable_variables]
            if columns and layer.name in depth_groups:
                groups[depth_groups[layer.name]] += columns
        kernels = np.array([len(v.shape) > 1 for v in variables])
        sizes = np.array([np.prod(v.shape, dtype=int) for v in variables])
        return groups, kernels, sizes


def _number(value: Any) -> float | None:
    # JSON has no NaN; a diverged run still has a result to write.
    return float(value) if np.isfinite(value) else None
