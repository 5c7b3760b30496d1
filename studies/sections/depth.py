"""How networks of several depths train."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_gradattn.training.comparison import group_by_seed
from studies import pictures, table
from studies.reading import (
    Experiment,
    best_validation,
    dataset_title,
    dead_kernels,
    filters_in_words,
    is_of_depth_study,
    layers,
    of,
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
    "plain": pictures.GREY,
    "residual": pictures.COLOURS[0],
    "published": pictures.COLOURS[3],
    "pathways, equal": pictures.COLOURS[5],
    "pathways, static": pictures.COLOURS[1],
    "pathways, attention": pictures.COLOURS[2],
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
    filters = filters_in_words(first)
    return table.section(
        "How depth trains",
        "Deep networks without shortcuts train badly. Do pathways or GradAttn help?",
        f"The data are {of(first, 'limit'):,} images a split of "
        f"{dataset_title(first)}. The stages have {filters} filters. The recipe is "
        f"{recipe_title(first)}, with at most {of(first, 'max_epochs')} epochs. All "
        "runs are short.",
        "* *Plain* is the residual network without its shortcuts.\n"
        "* *Published* is the plain trunk with the head of GradAttn V2.\n"
        "* *Stem / stage 4* compares the RMS of the gradient at the first and at the "
        "last depth. 1 is even. Over seeds it is the geometric mean.",
        "The picture has every seed.",
        table.tabulate(_COLUMNS, group_by_seed(chosen)),
        f"![Curves and gradients by depth](figures/{PICTURE})",
    )


def draw(experiments: Sequence[Experiment], folder: Path) -> None:
    """Validation curves and gradients through the trunk, a row for each depth."""
    chosen = _chosen(experiments)
    if not chosen:
        return
    depths = sorted({layers(e) for e in chosen})
    figure = pictures.new_figure(2.5 * len(depths) + 0.6)
    panels = figure.subplots(len(depths), 2, squeeze=False, sharey="col")
    for (curves, gradients), depth in zip(panels, depths, strict=True):
        curves.set_ylabel(f"{depth} layers")
        gradients.set_yscale("log")
        for e in chosen:
            if layers(e) == depth:
                _draw_run(e, curves, gradients)
    panels[0][0].set_title("validation accuracy, %", fontsize="medium")
    panels[0][1].set_title("RMS of the gradient, trained network", fontsize="medium")
    panels[-1][0].set_xlabel("epoch")
    panels[-1][1].set_xlabel("convolution, from shallow to deep")
    lines = {
        line.get_label(): line for curves, _ in panels for line in curves.get_lines()
    }
    figure.legend(
        lines.values(),
        lines.keys(),
        loc="outside upper center",
        ncols=3,
        frameon=False,
    )
    pictures.save(figure, folder / PICTURE)


def _draw_run(experiment: Experiment, curves: Any, gradients: Any) -> None:
    title, history = trunk_title(experiment), experiment["history"]
    accuracies = list(map(float, percent(history["val_accuracy"])))
    curves.plot(history["epoch"], accuracies, color=_COLORS[title], label=title)
    measured = experiment["gradients"]["test"]["layers"]
    rms = [
        value
        for layer, value in zip(measured["layer"], measured["rms"], strict=True)
        # Those of the trunk, which all have; shortcuts and alignments aside.
        # Dead layers have no place on a logarithmic axis; the table tells.
        if _is_of_trunk(layer) and value
    ]
    gradients.plot(range(1, len(rms) + 1), rms, color=_COLORS[title], linewidth=1)


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
