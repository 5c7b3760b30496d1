"""Layer outputs of one batch, looked at from time to time during a training.

Why by a pass of its own, and not inside of the compiled step: on JAX what a forward
pass has computed leaves the step in variables of the model or as gradients of them, and
a model that is handed to `fit` has no variable to spare. `with_output_taps` adds some
to a model around it, which a callback cannot put in the model's place. A pass of its
own also takes the same batch each time, in inference mode: whether BatchNorm's
statistics have drifted shows in no training step.
"""

from typing import Any

import keras
import numpy as np

from keras_gradattn.diagnosis.probe import Probe
from keras_gradattn.diagnosis.seen import LayersSeen

# Steps until the next look: at least so many, and a part of those done. A look costs
# about one step, so that all looks together cost a few hundredths at most.
_FEWEST_STEPS = 40
_PART = 0.25
_KEPT = ("dead_share", "saturated_share", "shift", "spread", "nonfinite_share")


class LayerHistory:
    """Looks at layer outputs in inference mode, every state left as it was.

    Args:
        probe: Model and batch.
    """

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self._loss_is_known = probe.y is not None
        self._rows: list[tuple[int, float, float, dict[str, list[float]], bool]] = []
        self._names: tuple[str, ...] = ()
        self._hidden: list[bool] = []

    def due(self, step: int) -> bool:
        """Whether it is time for a look."""
        if not self._rows:
            return True
        return step - self._rows[-1][0] >= max(_FEWEST_STEPS, _PART * step)

    def look(self, step: int) -> None:
        """Run the batch.

        Args:
            step: Steps done before.
        """
        if self._rows and self._rows[-1][0] == step:
            return
        outputs, _, layers, penalty = self._probe.forward()
        try:
            # Of these outputs: another forward pass would double what a look costs.
            loss = self._probe.loss_after(outputs) if self._loss_is_known else np.nan
        except (ValueError, TypeError):
            # NaN would be taken for what the network gives.
            self._loss_is_known, loss = False, np.nan
        self._names = tuple(one.layer.name for one in layers)
        self._hidden = [one.gives < 0 for one in layers]
        table = {key: [one.statistics[key] for one in layers] for key in _KEPT}
        sound = not any(share > 0 for share in table["nonfinite_share"])
        sound = sound or self._weights_are_finite()
        self._rows.append((step, loss, penalty, table, sound))

    def _weights_are_finite(self) -> bool:
        """Whether no state holds NaN: after one step with NaN all weights may."""
        values = (
            keras.ops.convert_to_numpy(keras.ops.cast(value, "float32"))
            for value in (*self._probe.values(), *self._probe.state())
        )
        return all(bool(np.all(np.isfinite(value))) for value in values)

    def seen(self) -> LayersSeen:
        """What was found so far."""
        rows = [row for row in self._rows if len(row[3]["shift"]) == len(self._names)]
        tables: dict[str, Any] = {
            key: np.array([row[3][key] for row in rows]).reshape(
                len(rows), len(self._names)
            )
            for key in _KEPT
        }
        return LayersSeen(
            step=np.array([row[0] for row in rows], int),
            names=self._names,
            hidden=np.array(self._hidden, bool),
            loss=np.array([row[1] for row in rows if self._loss_is_known], float),
            penalty=np.array([row[2] for row in rows], float),
            sound=np.array([row[4] for row in rows], bool),
            **tables,
        )
