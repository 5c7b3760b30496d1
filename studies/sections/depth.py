"""How networks of several depths train."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_gradattn.training.comparison import group_by_seed
from studies import table
from studies.reading import (
    Experiment,
    best_validation,
    dataset_title,
    dead_kernels,
    is_of_depth_study,
    layers,
    of,
    options_of,
    over_seeds,
    recipe_title,
    top1,
    training_accuracy,
    trunk_title,
)
from studies.rounding import percent

PICTURE = "depth.png"
# Colours by family, the same in every panel.
_COLORS = {
    "plain": "C7",
    "residual": "C0",
    "published": "C3",
    "pathways, equal": "C8",
    "pathways, static": "C1",
    "pathways, attention": "C2",
}


def _evenness(runs: list[Experiment]) -> str:
    """Gradients' RMS of the stem by that of the last stage, first and last window."""
    rms = [e["gradients"]["training"]["rms"] for e in runs]
    return " → ".join(_ratio(rms, window) for window in (0, -1))


def _ratio(rms_by_run: list[dict[str, list[float]]], window: int) -> str:
    ratios = [
        rms["stem"][window] / rms["stage4"][window]
        for rms in rms_by_run
        # A diverged run has no number, a dead stage none to divide by.
        if rms["stem"][window] is not None and rms["stage4"][window]
    ]
    return f"{statistics.geometric_mean(ratios):.2g}" if ratios else ""


_COLUMNS: table.Columns = {
    "layers, trunk": lambda runs: f"{layers(runs[0])}, {trunk_title(runs[0])}",
    "parameters": lambda runs: f"{runs[0]['parameters']:,}",
    "training accuracy %": lambda runs: over_seeds(training_accuracy(runs), 1),
    "best validation %": lambda runs: over_seeds(best_validation(runs)),
    "test accuracy %": lambda runs: over_seeds(top1(runs)),
    "stem / stage 4, first → last epoch": _evenness,
    "dead kernels": lambda runs: str(max(map(dead_kernels, runs))),
}


def text(experiments: Sequence[Experiment]) -> str:
    """Accuracies and gradients of runs on part of the images at depths of their own."""
    chosen = _chosen(experiments)
    if not chosen:
        return ""
    first = chosen[0]
    filters = options_of(first).get("stage_filters", "as published")
    return table.section(
        "How depth trains",
        f"{dataset_title(first)}, {of(first, 'limit'):,} images a split, filters "
        f"{filters}, recipe {recipe_title(first)}, at most {of(first, 'max_epochs')} "
        "epochs; all short. *Plain* is the residual network without its shortcuts, "
        "*published* the same trunk with the head of GradAttn V2. *Stem / stage 4* is "
        "the ratio of the gradients' RMS over the kernels of stem and last stage: 1 "
        "is even (over seeds the geometric mean). The picture has every seed.",
        table.tabulate(_COLUMNS, group_by_seed(chosen)),
        f"![Curves and gradients by depth](figures/{PICTURE})",
    )


def draw(experiments: Sequence[Experiment], folder: Path) -> None:
    """Validation curves and gradients through the trunk, a column for each depth."""
    chosen = _chosen(experiments)
    if not chosen:
        return
    from matplotlib.figure import Figure

    depths = sorted({layers(e) for e in chosen})
    figure = Figure(figsize=(4 * len(depths), 7.5), layout="constrained")
    panels = figure.subplots(2, len(depths), squeeze=False, sharey="row")
    for column, depth in enumerate(depths):
        curves, gradients = panels[0][column], panels[1][column]
        curves.set_title(f"{depth} layers")
        curves.set_xlabel("epoch")
        gradients.set_xlabel("convolution of the trunk, from shallow to deep")
        gradients.set_yscale("log")
        for e in chosen:
            if layers(e) == depth:
                _draw_run(e, curves, gradients)
    panels[0][0].set_ylabel("validation accuracy, %")
    panels[1][0].set_ylabel("RMS of |g| at its output, trained network")
    lines = {line.get_label(): line for axes in panels[0] for line in axes.get_lines()}
    figure.legend(
        lines.values(),
        lines.keys(),
        loc="outside upper center",
        ncols=len(lines),
        fontsize="small",
    )
    figure.savefig(folder / PICTURE, dpi=120)


def _draw_run(experiment: Experiment, curves: Any, gradients: Any) -> None:
    title, history = trunk_title(experiment), experiment["history"]
    accuracies = list(map(float, percent(history["val_accuracy"])))
    curves.plot(history["epoch"], accuracies, _COLORS[title], label=title)
    measured = experiment["gradients"]["test"]["layers"]
    rms = [
        value
        for layer, value in zip(measured["layer"], measured["rms"], strict=True)
        # Those of the trunk, which all have; shortcuts and alignments aside.
        # Dead layers have no place on a logarithmic axis; the table tells.
        if _is_of_trunk(layer) and value
    ]
    gradients.plot(range(1, len(rms) + 1), rms, _COLORS[title])


def _chosen(experiments: Sequence[Experiment]) -> list[Experiment]:
    chosen = [
        e for e in experiments if is_of_depth_study(e) and trunk_title(e) in _COLORS
    ]
    order = list(_COLORS)
    return sorted(chosen, key=lambda e: (layers(e), order.index(trunk_title(e))))


def _is_of_trunk(layer: str) -> bool:
    # An alignment is called `stage2_from_stem_convolution`.
    return layer == "stem_convolution" or layer.endswith(
        ("_convolution1", "_convolution2")
    )
