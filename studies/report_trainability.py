"""A section of the report: how networks of several depths train."""

import statistics
from pathlib import Path

from keras_gradattn import datasets
from keras_gradattn.training.comparison import group_by_seed, table
from studies.reading import (
    Experiment,
    best_validation,
    is_of_depth_study,
    layers,
    of,
    over_seeds,
    recipe_title,
    top1,
    trunk_title,
)

# Colours by family, the same in every panel.
_COLORS = {
    "plain": "C7",
    "residual": "C0",
    "published": "C3",
    "pathways, equal": "C8",
    "pathways, static": "C1",
    "pathways, attention": "C2",
}


def trainability_section(experiments: list[Experiment], path: Path) -> str:
    """Training curves and gradients by depth of networks of several depths.

    Args:
        experiments: All runs; those on part of the images with `stage_blocks` of
            their own are the study.
        path: Where to draw it.

    Returns:
        Markdown, empty without such runs.
    """
    chosen = [
        e for e in experiments if is_of_depth_study(e) and trunk_title(e) in _COLORS
    ]
    if not chosen:
        return ""
    chosen.sort(key=lambda e: (layers(e), list(_COLORS).index(trunk_title(e))))
    rows = []
    for runs in group_by_seed(chosen):
        windows = [e["gradients"]["training"]["windows"] for e in runs]
        rows.append(
            (
                str(layers(runs[0])),
                trunk_title(runs[0]),
                f"{runs[0]['parameters']:,}",
                over_seeds([100 * e["history"][-1]["accuracy"] for e in runs], 1),
                over_seeds([best_validation(e) for e in runs]),
                over_seeds(top1(runs)),
                *(_stem_to_last([w[i]["rms"] for w in windows]) for i in (0, -1)),
                str(max(sum(w[-1]["dead"].values()) for w in windows)),
                f"{min(e['training_seconds'] for e in runs) / 60:.1f}",
            )
        )
    first = chosen[0]
    filters = of(first, "model_options").get("stage_filters", "as published")
    _draw_trainability(chosen, path)
    header = (
        "layers", "trunk", "parameters", "training accuracy %", "best validation %",
        "test accuracy %", "stem / stage 4, first epoch", "last epoch",
        "dead kernels", "minutes",
    )  # fmt: skip
    return "\n".join(
        [
            "## How depth trains",
            "",
            f"{datasets.spec(of(first, 'dataset')).title}, {of(first, 'limit'):,} "
            f"images a split, filters {filters}, recipe {recipe_title(first)}, at most "
            f"{of(first, 'max_epochs')} epochs; all short. *Plain* is "
            "the residual network without its shortcuts, *published* the same trunk "
            "with the head of GradAttn V2. *Stem / stage 4* is the ratio of the "
            "gradients' RMS over the kernels of stem and last stage: 1 is even (over "
            "seeds the geometric mean). The picture has every seed.",
            "",
            table(header, rows, "markdown"),
            "",
            f"![Curves and gradients by depth]({path.parent.name}/{path.name})",
        ]
    )


def _stem_to_last(rms_by_run: list[dict[str, float | None]]) -> str:
    ratios = [
        rms["stem"] / rms["stage4"]
        for rms in rms_by_run
        # A diverged run has no number, a dead stage none to divide by.
        if rms["stem"] is not None and rms["stage4"]
    ]
    return f"{statistics.geometric_mean(ratios):.2g}" if ratios else ""


def _is_of_trunk(layer: str) -> bool:
    # An alignment is called `stage2_from_stem_convolution`.
    return layer == "stem_convolution" or layer.endswith(
        ("_convolution1", "_convolution2")
    )


def _draw_trainability(chosen: list[Experiment], path: Path) -> None:
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
            if layers(e) != depth:
                continue
            color = _COLORS[trunk_title(e)]
            history = e["history"]
            curves.plot(
                [record["epoch"] for record in history],
                [100 * record["val_accuracy"] for record in history],
                color,
                label=trunk_title(e),
            )
            rms = [
                line["rms"]
                for line in e["gradients"]["test"]["layers"]
                # Those of the trunk, which all have; shortcuts and alignments aside.
                # Dead layers have no place on a logarithmic axis; the table tells.
                if _is_of_trunk(line["layer"]) and line["rms"]
            ]
            gradients.plot(range(1, len(rms) + 1), rms, color)
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
    figure.savefig(path, dpi=120)
