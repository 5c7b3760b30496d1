"""What was seen of a training, as plain arrays."""

import dataclasses
import functools

import numpy as np

from keras_gradattn.diagnosis.thresholds import threshold

Array = np.ndarray


def _empty(*shape: int) -> Array:
    return np.zeros(shape or (0,))


@dataclasses.dataclass(frozen=True)
class LayersSeen:
    """Layer outputs on one batch, at a few times of the training.

    Attributes:
        step: (times,) steps done before.
        names: Names of the layers, in the order of computation.
        hidden: (layers,) whether the layer is not an output.
        dead_share: (times, layers) units of a ReLU that are zero for the batch.
        saturated_share: (times, layers) elements of sigmoid or tanh at an end.
        shift: (times, layers) BatchNorm's distance from its own mean, in spreads.
        spread: (times, layers) BatchNorm's spread, to its own one.
        nonfinite_share: (times, layers) elements that are NaN or infinite.
        sound: (times,) whether all weights were finite.
        loss: (times,) loss in inference mode, without penalties; empty where unknown.
        penalty: (times,) penalties of layers, added to the loss in training.
    """

    step: Array = dataclasses.field(default_factory=_empty)
    names: tuple[str, ...] = ()
    hidden: Array = dataclasses.field(default_factory=_empty)
    dead_share: Array = dataclasses.field(default_factory=lambda: _empty(0, 0))
    saturated_share: Array = dataclasses.field(default_factory=lambda: _empty(0, 0))
    shift: Array = dataclasses.field(default_factory=lambda: _empty(0, 0))
    spread: Array = dataclasses.field(default_factory=lambda: _empty(0, 0))
    nonfinite_share: Array = dataclasses.field(default_factory=lambda: _empty(0, 0))
    sound: Array = dataclasses.field(default_factory=_empty)
    loss: Array = dataclasses.field(default_factory=_empty)
    penalty: Array = dataclasses.field(default_factory=_empty)


@dataclasses.dataclass(frozen=True)
class Seen:
    """Losses, logs, norms and layer outputs of a training.

    Attributes:
        loss: (steps,) loss of each batch, penalties included.
        epoch_end: (epochs,) steps done at the end of each epoch.
        logs: Per name (epochs,) values of the epochs' logs, NaN where missing.
        guess: Loss of the best answer that ignores the input, or `None`.
        majority: Share of the most frequent class, or `None`.
        numbers: Whether the task is a regression.
        weighted: Whether classes or samples weigh differently in `loss`.
        groups: Groups of weights, in the order of depth.
        step: (rows,) steps of the rows of `norm`.
        norm: (rows, groups) gradient norms, NaN where not measured.
        nonfinite: (rows, groups) whether a measured gradient was NaN or infinite.
        sizes: (groups,) elements.
        detail_step: (details,) steps of the rows of the next two.
        weight_norm: (details, groups) norms of weights.
        update_norm: (details, groups) norms of what the update changed.
        gradient_norm: (details, groups) gradient norms at these steps.
        layers: Layer outputs.
        clip: Kind (`"norm"`, `"global"` or `"value"`) and limit of clipping, or `None`.
        adaptive: Whether the optimizer divides gradients by their size.
        decays: Whether the optimizer or layers shrink weights.
        loss_scale: (epochs,) dynamic loss scale, empty without.
        rate: Learning rate at the end, or `None`.
        optimizer: Class name of the optimizer.
    """

    loss: Array = dataclasses.field(default_factory=_empty)
    epoch_end: Array = dataclasses.field(default_factory=_empty)
    logs: dict[str, Array] = dataclasses.field(default_factory=dict)
    guess: float | None = None
    majority: float | None = None
    numbers: bool = False
    weighted: bool = False
    groups: tuple[str, ...] = ()
    step: Array = dataclasses.field(default_factory=_empty)
    norm: Array = dataclasses.field(default_factory=lambda: _empty(0, 0))
    nonfinite: Array = dataclasses.field(default_factory=lambda: _empty(0, 0))
    sizes: Array = dataclasses.field(default_factory=_empty)
    detail_step: Array = dataclasses.field(default_factory=_empty)
    weight_norm: Array = dataclasses.field(default_factory=lambda: _empty(0, 0))
    update_norm: Array = dataclasses.field(default_factory=lambda: _empty(0, 0))
    gradient_norm: Array = dataclasses.field(default_factory=lambda: _empty(0, 0))
    layers: LayersSeen = dataclasses.field(default_factory=LayersSeen)
    clip: tuple[str, float] | None = None
    adaptive: bool = True
    decays: bool = False
    loss_scale: Array = dataclasses.field(default_factory=_empty)
    rate: float | None = None
    optimizer: str = ""

    @property
    def steps(self) -> int:
        """Steps that were seen."""
        return len(self.loss)

    @functools.cached_property
    def fit_loss(self) -> Array:
        """(steps,) loss of each batch, penalties taken away."""
        layers = self.layers
        known = np.isfinite(layers.penalty)
        if not known.any() or not np.any(layers.penalty[known]):
            return self.loss
        steps = np.arange(self.steps)
        return self.loss - np.interp(steps, layers.step[known], layers.penalty[known])

    @property
    def begin(self) -> float:
        """Loss at the beginning: mean of the first steps, a twentieth at most."""
        first = self.fit_loss[: int(np.clip(self.steps // 20, 1, 10))]
        return float(np.mean(first)) if len(first) else float("nan")

    @property
    def end(self) -> float:
        """Loss at the end: mean of the last two epochs or tenth, what is longer."""
        if not self.steps:
            return float("nan")
        epochs = [0, *self.epoch_end.astype(int).tolist()]
        # One epoch alone may be the good one of an oscillation.
        last = epochs[-1] - epochs[-3] if len(epochs) > 6 else 0
        return float(np.mean(self.fit_loss[-max(last, self.steps // 10, 1) :]))

    @functools.cached_property
    def reached(self) -> float:
        """The lower of the loss at the end and the one in inference mode."""
        probed = self.layers.loss
        if len(probed) and np.isfinite(probed[-1]) and np.isfinite(self.end):
            return float(min(self.end, probed[-1]))
        return self.end

    @property
    def gain(self) -> float | None:
        """Share of guessing's loss that was removed, `None` where unknown.

        Below 0 the network is worse than guessing, 1 is a perfect fit.
        """
        if self.guess is None or self.guess <= 0:
            return None
        if not np.isfinite(self.reached):
            return -np.inf
        return 1 - self.reached / self.guess

    @property
    def poor(self) -> bool:
        """Whether training reached next to nothing."""
        gain = self.gain
        if gain is not None:
            return gain < threshold("poor_gain")
        if not self.steps or not np.isfinite(self.end):
            return True
        return self.begin - self.end < threshold("poor_fall") * abs(self.begin)

    @functools.cached_property
    def curve(self) -> tuple[list[float], list[float]]:
        """Steps and losses to draw, some hundreds at most."""
        return drawn(np.arange(self.steps), self.fit_loss)

    @functools.cached_property
    def update_ratio(self) -> Array:
        """(details, groups) norm of an update to that of the weights."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.update_norm / self.weight_norm

    @functools.cached_property
    def total_norm(self) -> Array:
        """(rows,) gradient norm over all groups."""
        return np.sqrt(np.nansum(np.square(self.norm), axis=1))


def drawn(
    steps: Array, values: Array, most: int = 300
) -> tuple[list[float], list[float]]:
    """A line thinned out for a picture: means of neighbours."""
    count = len(values)
    if not count:
        return [], []
    cuts = np.unique(np.linspace(0, count, min(count, most) + 1).astype(int))[:-1]
    sums = np.add.reduceat(np.asarray(values, "float64"), cuts)
    sizes = np.diff(np.append(cuts, count))
    return np.asarray(steps)[cuts].astype(float).tolist(), (sums / sizes).tolist()
