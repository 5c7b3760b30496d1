"""Gradients by depth over the training steps of one run, as plain data."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_gradattn._compat.keras import callback_model
from keras_gradattn.gradients.depth_groups import inner_model
from keras_gradattn.gradients.gradient_norms import GradientNorms
from keras_gradattn.training._depth import Depth, depth_of, is_kernel

_WINDOW = 500


class GradientHistory(GradientNorms):
    """`GradientNorms` that keeps windows of steps, and survives an interruption.

    A window is an epoch, or 500 steps of a longer one. Of each it keeps the mean
    gradient norm and RMS by depth, and the kernels that were dead: whose gradient was
    exactly zero in every step of the window. What is frozen in a window is left out.

    Args:
        depth: Groups of the weights. Default: those of the model, when the first epoch
            ends.
    """

    def __init__(self, depth: Depth | None = None) -> None:
        # By variable, so that single dead layers are seen; depth is summed up here.
        super().__init__(groups="variable")
        self._depth = depth
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
        if not len(rows):
            return
        variables = inner_model(callback_model(self)).trainable_variables
        if self._depth is None:
            self._depth = depth_of(callback_model(self))
        # An epoch has one phase, and a phase one column a variable, in order.
        names = self.record.phases[int(self.record.phase[rows[-1]])].groups
        trained = [self.record.groups.index(name) for name in names]
        of_group = self._columns(variables)
        kernels = np.array([is_kernel(v) for v in variables])
        sizes = np.array([np.prod(v.shape, dtype=int) for v in variables])
        for group, columns in of_group.items():
            self._kernels.setdefault(group, int(kernels[columns].sum()))
        self._kernels = {g: self._kernels[g] for g in self._in_order(self._kernels)}
        # Optimizers begin anew with each phase of a training.
        before = self._windows[-1]["step"] if self._windows else 0
        before -= int(self.record.step[rows[0]]) if self._windows else 0
        for start in range(0, len(rows), _WINDOW):
            window = rows[start : start + _WINDOW]
            norms = self.record.norm[np.ix_(window, trained)]
            dead = (norms == 0).all(axis=0) & kernels
            by_group = {
                group: np.sqrt(np.square(norms[:, columns]).sum(axis=1))
                for group, columns in of_group.items()
            }
            self._windows.append(
                {
                    "step": before + int(self.record.step[window[-1]]) + 1,
                    "epoch": epoch + 1,
                    "norm": {g: _number(n.mean()) for g, n in by_group.items()},
                    "rms": {
                        g: _number((n / np.sqrt(sizes[of_group[g]].sum())).mean())
                        for g, n in by_group.items()
                    },
                    "dead": {g: int(dead[c].sum()) for g, c in of_group.items()},
                    "dead_kernels": [
                        name
                        for name, is_dead in zip(names, dead, strict=True)
                        if is_dead
                    ],
                }
            )

    def _columns(self, variables: list[Any]) -> dict[str, list[int]]:
        """Columns of each depth group that is trained now."""
        assert self._depth is not None
        columns: dict[str, list[int]] = {}
        for column, variable in enumerate(variables):
            columns.setdefault(self._depth.group_of[id(variable)], []).append(column)
        return {group: columns[group] for group in self._in_order(columns)}

    def _in_order(self, groups: Mapping[str, Any]) -> list[str]:
        assert self._depth is not None
        return [group for group in self._depth.names if group in groups]


def _number(value: Any) -> float | None:
    # JSON has no NaN; a diverged run still has a result to write.
    return float(value) if np.isfinite(value) else None
