"""Layer outputs of one batch, looked at from time to time during a training.

Why by a pass of its own, and not inside of the compiled step: on JAX what a forward
pass has computed leaves the step in variables of the model or as gradients of them, and
a model that is handed to `fit` has no variable to spare. `with_output_taps` adds some
to a model around it, which a callback cannot put in the model's place. A pass of its
own also takes the same batch each time, in inference mode: whether BatchNorm's
statistics have drifted shows in no training step.
"""

from typing import Any

import numpy as np

from keras_gradattn.diagnosis.probe import Probe
from keras_gradattn.diagnosis.seen import LayersSeen

# Steps until the next look: at least so many, and a part of those done. A look costs
# about one step, so that all looks together cost a few hundredths at most.
_FEWEST_STEPS = 40
_PART = 0.25
_KEPT = ("dead_share", "saturated_share", "shift", "spread")


class LayerHistory:
    """Looks at layer outputs in inference mode, every state left as it was.

    Args:
        probe: Model and batch.
    """

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self._rows: list[tuple[int, float, float, dict[str, list[float]]]] = []
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
            known = self._probe.y is not None
            loss = self._probe.loss_after(outputs) if known else np.nan
        except (ValueError, TypeError):
            loss = np.nan
        self._names = tuple(one.layer.name for one in layers)
        self._hidden = [one.gives < 0 for one in layers]
        table = {key: [one.statistics[key] for one in layers] for key in _KEPT}
        self._rows.append((step, loss, penalty, table))

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
            loss=np.array([row[1] for row in rows], float),
            penalty=np.array([row[2] for row in rows], float),
            **tables,
        )
