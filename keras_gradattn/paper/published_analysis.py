"""The published gradient analysis, as it was published.

Ghoshal & Buckchash (2026) hook every convolution, linear and encoder layer and take,
for batches of the test set in training mode, statistics of the loss gradient with
respect to the layer's output. What their figures cannot say is in the report, beside
figures that can.
"""

import dataclasses
import os
import re
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np

from keras_gradattn._compat.keras import flatten_layers
from keras_gradattn.gradients.gradient_flow import GradientFlow, analyze_gradient_flow
from keras_gradattn.gradients.output_taps import unique_names
from keras_gradattn.gradients.report import table
from keras_gradattn.gradients.thresholds import EXPLODING, VANISHING
from keras_gradattn.paper.published_plot import plot_published
from keras_gradattn.paper.pytorch_checkpoints import is_published, published_modules

THRESHOLDS = (
    (1e-8, 10.0),
    (1e-7, 10.0),
    (1e-6, 10.0),
    (1e-5, 10.0),
    (1e-4, 10.0),
    (1e-3, 10.0),
    (1e-6, 1.0),
    (1e-6, 0.1),
    (1e-3, 0.1),
)

# Hooks that the released code registers and that cannot fire: attention's output
# projection is called functionally (V1, V2); the first feed-forward layer's output is
# overwritten by an in-place ReLU (V3). They count in its health score's denominator.
_SILENT_HOOKS = (
    (r"(transformer_encoder\.layers\.\d+)", "{}.self_attn.out_proj"),
    (r"(transformer_layers\.\d+)\.self_attn\.w_q", "{}.linear1"),
)

_HOOKED = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
    keras.layers.Dense,
    keras.layers.EinsumDense,
)


@dataclasses.dataclass(frozen=True)
class PublishedAnalysis:
    """Statistics and rules of the published gradient analysis.

    Attributes:
        name: Name of the model.
        layers: Measured layers in the released order of registration.
        silent: Layers that are registered but cannot be measured.
        norms: (batches, layers) L2 norm of the output gradient, whole batch.
        mean_abs: (batches, layers) mean absolute gradient.
        std: (batches, layers) standard deviation (n - 1).
        max_abs: (batches, layers) largest absolute gradient.
        flow: The same measurement by depth, for the corrected figures.

    Example:

    ```python
    analysis = keras_gradattn.published_analysis(model, (x_test, y_test), batches=1)
    print(analysis.report())
    ```
    """

    name: str
    layers: tuple[str, ...]
    silent: tuple[str, ...]
    norms: np.ndarray
    mean_abs: np.ndarray
    std: np.ndarray
    max_abs: np.ndarray
    flow: GradientFlow

    @property
    def mean_norm(self) -> np.ndarray:
        """(layers,) mean norm over the batches."""
        return self.norms.mean(axis=0)

    @property
    def registered(self) -> int:
        """Number of hooks, silent ones included."""
        return len(self.layers) + len(self.silent)

    def vanishing(self, threshold: float = VANISHING) -> list[str]:
        """Layers with a mean norm below the threshold.

        Args:
            threshold: L2 norm of a whole batch. Defaults to the published 1e-6.

        Returns:
            Their names.
        """
        return [
            layer
            for layer, norm in zip(self.layers, self.mean_norm, strict=True)
            if norm < threshold
        ]

    def exploding(self, threshold: float = EXPLODING) -> list[str]:
        """Layers with a mean norm above the threshold.

        Args:
            threshold: L2 norm of a whole batch. Defaults to the published 10.

        Returns:
            Their names.
        """
        return [
            layer
            for layer, norm in zip(self.layers, self.mean_norm, strict=True)
            if norm > threshold
        ]

    def health(
        self, vanishing: float = VANISHING, exploding: float = EXPLODING
    ) -> float:
        """Share of registered layers with a norm strictly between the thresholds.

        Args:
            vanishing: The lower one. Defaults to the published 1e-6.
            exploding: The upper one. Defaults to the published 10.

        Returns:
            The share, 0 to 1: the published health score.
        """
        between = (self.mean_norm > vanishing) & (self.mean_norm < exploding)
        return float(between.sum() / self.registered)

    @property
    def decay_rate(self) -> float:
        """Mean of norm[i] / norm[i + 1] in registration order, zeros skipped."""
        above, below = self.mean_norm[:-1], self.mean_norm[1:]
        usable = below != 0
        if not usable.any():
            return float("nan")
        return float(np.mean(above[usable] / below[usable]))

    @property
    def bottlenecks(self) -> list[str]:
        """Layers with a norm below the mean minus two standard deviations."""
        threshold = self.mean_norm.mean() - 2 * self.mean_norm.std()
        return [
            layer
            for layer, norm in zip(self.layers, self.mean_norm, strict=True)
            if norm < threshold
        ]

    def threshold_table(
        self, pairs: Sequence[tuple[float, float]] = THRESHOLDS
    ) -> list[dict[str, Any]]:
        """How the score depends on its thresholds.

        Args:
            pairs: `(vanishing, exploding)` thresholds.

        Returns:
            Per pair the numbers of flagged layers, the published score and the one
            over layers that can receive a gradient.

        Raises:
            ValueError: If a pair is not in ascending order.
        """
        for low, high in pairs:
            if not 0 <= low < high:
                raise ValueError(
                    "Thresholds must be pairs (vanishing, exploding) with "
                    f"0 <= vanishing < exploding. Received: {(low, high)}"
                )
        return [
            {
                "vanishing": low,
                "exploding": high,
                "vanishing_layers": len(self.vanishing(low)),
                "exploding_layers": len(self.exploding(high)),
                "health": self.health(low, high),
                "corrected_health": self.health(low, high)
                * self.registered
                / len(self.layers),
            }
            for low, high in pairs
        ]

    def to_dict(self) -> dict[str, Any]:
        """The published figures and the corrected ones, as plain numbers."""
        return {
            "name": self.name,
            "registered": self.registered,
            "layers_with_gradient": len(self.layers),
            "health_percent": 100 * self.health(),
            "layers_flagged_vanishing": len(self.vanishing()),
            "layers_flagged_exploding": len(self.exploding()),
            "average_gradient_norm": float(self.mean_norm.mean()),
            "average_decay_rate": self.decay_rate,
            "bottlenecks": self.bottlenecks,
            "corrected_health_percent": 100 * self.flow.health(),
            "corrected_decay_per_depth": self.flow.decay_per_depth(),
            "dead": [
                layer
                for layer, dead in zip(self.flow.layers, self.flow.dead, strict=True)
                if dead
            ],
        }

    def report(self) -> str:
        """The published report, where it misleads, and the corrected figures."""
        rows = [
            [layer, *(f"{v:.3g}" for v in values)]
            for layer, *values in zip(
                self.layers,
                self.mean_norm,
                self.norms.std(axis=0),
                self.mean_abs.mean(axis=0),
                self.std.mean(axis=0),
                self.max_abs.mean(axis=0),
                strict=True,
            )
        ]
        figures = self.to_dict()
        dead = figures["dead"]
        lines = [
            f"Published gradient analysis of {self.name!r}, {len(self.norms)} batches",
            "",
            *table(["layer", "norm", "+-", "mean |g|", "std", "max |g|"], rows),
            "",
            f"Health score: {self.health():.2%} of {self.registered} layers",
            f"Vanishing (< {VANISHING:g}): {', '.join(self.vanishing()) or 'none'}",
            f"Exploding (> {EXPLODING:g}): {', '.join(self.exploding()) or 'none'}",
            f"Decay rate: {self.decay_rate:.3g}",
            f"Bottlenecks (< mean - 2 std): {', '.join(self.bottlenecks) or 'none'}",
            "",
            "Sensitivity of the score to its thresholds",
            *table(
                ["vanishing", "exploding", "flagged low", "flagged high", "health",
                 "corrected"],
                [
                    [f"{r['vanishing']:g}", f"{r['exploding']:g}",
                     str(r["vanishing_layers"]), str(r["exploding_layers"]),
                     f"{100 * r['health']:.2f}%", f"{100 * r['corrected_health']:.2f}%"]
                    for r in self.threshold_table()
                ],
            ),
            "",
            "Where this misleads",
            f"* The score's denominator holds {len(self.silent)} layers whose hook can "
            f"never fire, so it cannot exceed "
            f"{len(self.layers) / self.registered:.2%}; over "
            "layers that can receive a gradient it is "
            f"{figures['corrected_health_percent']:.2f}%.",
            "* Whole-batch norms shrink with the batch and grow with the map, so "
            "layers of different size cannot be compared; |a||g| per sample can "
            f"(input {self.flow.mean('product')[0]:.3g}, output "
            f"{self.flow.mean('product')[-1]:.3g}).",
            "* The decay rate divides the shallower layer by the deeper one and is "
            "ruled by its largest term; the geometric mean per depth towards the "
            "input is "
            f"{figures['corrected_decay_per_depth']:.4g} (1 keeps the gradient).",
            "* The bottleneck threshold here is "
            f"{self.mean_norm.mean() - 2 * self.mean_norm.std():.3g}"
            + (
                ": below zero, where no norm can be."
                if self.mean_norm.mean() < 2 * self.mean_norm.std()
                else ", which is above zero only because norms differ little."
            ),
            f"* The largest mean norm is {self.mean_norm.max():.3g}, against a "
            f"threshold of {EXPLODING:g} for exploding.",
            "* A layer below the vanishing threshold may be dead (exactly zero) or "
            f"attenuated: here {len(dead)} dead"
            + (f" ({', '.join(dead)})" if dead else "")
            + f", {len(set(self.vanishing())) - len(dead)} attenuated.",
        ]  # fmt: skip
        return "\n".join(lines)

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """The published four panels (needs matplotlib).

        Args:
            path: Where to save the picture, or `None`.

        Returns:
            The `matplotlib.figure.Figure`.
        """
        return plot_published(self, path)


def published_analysis(
    model: keras.Model,
    data: object,
    loss: object = None,
    *,
    batches: int = 20,
    batch_size: int = 128,
    name: str | None = None,
) -> PublishedAnalysis:
    """Run the published gradient analysis on any Keras model.

    A network of this package is measured at the layers that the released code measures,
    in the order of that code. Any other model is measured at every convolution and
    dense layer. If a layer is called twice in a pass, its first call counts. Unlike in
    the released code, BatchNorm statistics stay as they were.

    Args:
        model: A built Keras model.
        data: Test data, as `analyze_gradient_flow` takes them.
        loss: Name, function or `keras.losses.Loss`. Defaults to the one that the model
            was compiled with.
        batches: How many batches. Defaults to the published 20.
        batch_size: Samples in a batch, if `data` are arrays. Defaults to 128.
        name: Name in reports and pictures. Defaults to the model's.

    Returns:
        A `PublishedAnalysis`.

    Raises:
        ValueError: As `analyze_gradient_flow`.

    Example:

    ```python
    analysis = published_analysis(model, (x_test, y_test))
    print(analysis.report())
    analysis.plot("published.png")
    ```

    Source: Ghoshal & Buckchash (2026), gradient analysis of the released notebooks.
    """
    modules = hooked_modules(model)
    flow = analyze_gradient_flow(
        model, data, loss, batches=batches, batch_size=batch_size,
        layers=list({id(m): m for m in modules.values()}.values()), name=name,
    )  # fmt: skip
    own_names = unique_names(model)
    position = {layer: i for i, layer in enumerate(flow.layers)}
    columns = [position[own_names[id(module)]] for module in modules.values()]
    return PublishedAnalysis(
        name=flow.name,
        layers=tuple(modules),
        silent=_silent(modules),
        norms=flow.gradient["norm"][:, columns],
        mean_abs=flow.gradient["mean_abs"][:, columns],
        std=flow.gradient["std"][:, columns],
        max_abs=flow.gradient["max_abs"][:, columns],
        flow=flow,
    )


def published_figures(model: keras.Model, batches: Iterable[Any]) -> dict[str, Any]:
    """The published analysis of a trained network, as plain data.

    Args:
        model: A compiled network.
        batches: Batches of the test set.

    Returns:
        `norms` (module: mean norm), `registered` and `measured` modules, how many are
        `vanishing`, `exploding` and `exactly_zero`, `health_percent`, `mean_norm`.
    """
    analysis = published_analysis(model, batches)
    norms = analysis.mean_norm
    return {
        "norms": dict(zip(analysis.layers, norms.tolist(), strict=True)),
        "registered": analysis.registered,
        "measured": len(analysis.layers),
        "vanishing": len(analysis.vanishing()),
        "exploding": len(analysis.exploding()),
        "exactly_zero": int((norms == 0).sum()),
        "health_percent": 100 * analysis.health(),
        "mean_norm": float(norms.mean()),
    }


def hooked_modules(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """Layers that the published analysis measures, in its order, by name."""
    if is_published(model):
        return published_modules(model)
    names = unique_names(model)
    modules = {
        names[id(layer)]: layer
        for layer in flatten_layers(model, include_self=False)
        if isinstance(layer, _HOOKED)
    }
    if not modules:
        raise ValueError(
            "The published analysis measures convolutions and dense layers, and the "
            f"model has none. Received: model={model.name!r}"
        )
    return modules


def _silent(modules: Iterable[str]) -> tuple[str, ...]:
    return tuple(
        silent.format(match.group(1))
        for name in modules
        for pattern, silent in _SILENT_HOOKS
        if (match := re.fullmatch(pattern, name))
    )
