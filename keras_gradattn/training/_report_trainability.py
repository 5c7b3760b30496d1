"""A section of the report: how networks of several depths train."""

from pathlib import Path

from keras_gradattn import datasets
from keras_gradattn.training._reading import (
    Experiment,
    best_validation,
    of,
    recipe_title,
)
from keras_gradattn.training.comparison import table

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
        e
        for e in experiments
        if of(e, "limit") and "stage_blocks" in of(e, "model_options")
    ]
    if not chosen:
        return ""
    chosen.sort(key=lambda e: (_layers(e), list(_COLORS).index(_kind(e))))
    rows = []
    for e in chosen:
        windows = e["gradients"]["training"]["windows"]
        rows.append(
            (
                str(_layers(e)),
                _kind(e),
                f"{e['parameters']:,}",
                f"{100 * e['history'][-1]['accuracy']:.1f}",
                f"{best_validation(e):.2f}",
                f"{100 * e['metrics']['top1']:.2f}",
                *(_stem_to_last(windows[i]["rms"]) for i in (0, -1)),
                str(sum(windows[-1]["dead"].values())),
                f"{e['training_seconds'] / 60:.1f}",
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
            f"{of(first, 'max_epochs')} epochs, one seed each; all short. *Plain* is "
            "the residual network without its shortcuts, *published* the same trunk "
            "with the head of GradAttn V2. *Stem / stage 4* is the ratio of the "
            "gradients' RMS over the kernels of stem and last stage: 1 is even.",
            "",
            table(header, rows, "markdown"),
            "",
            f"![Curves and gradients by depth]({path.parent.name}/{path.name})",
        ]
    )


def _stem_to_last(rms: dict[str, float | None]) -> str:
    stem, last = rms["stem"], rms["stage4"]
    # A diverged run has no number, a dead stage none to divide by.
    return f"{stem / last:.2g}" if stem is not None and last else ""


def _layers(experiment: Experiment) -> int:
    return 2 * sum(of(experiment, "model_options")["stage_blocks"]) + 2


def _kind(experiment: Experiment) -> str:
    model, options = of(experiment, "model"), of(experiment, "model_options")
    if model == "gradattn_pathways":
        return f"pathways, {options.get('weights', 'attention')}"
    if model == "resnet18":
        return "residual" if options.get("shortcuts", True) else "plain"
    return "published"


def _is_of_trunk(layer: str) -> bool:
    # An alignment is called `stage2_from_stem_convolution`.
    return layer == "stem_convolution" or layer.endswith(
        ("_convolution1", "_convolution2")
    )


def _draw_trainability(chosen: list[Experiment], path: Path) -> None:
    from matplotlib.figure import Figure

    depths = sorted({_layers(e) for e in chosen})
    figure = Figure(figsize=(4 * len(depths), 7.5), layout="constrained")
    panels = figure.subplots(2, len(depths), squeeze=False, sharey="row")
    for column, depth in enumerate(depths):
        curves, gradients = panels[0][column], panels[1][column]
        curves.set_title(f"{depth} layers")
        curves.set_xlabel("epoch")
        gradients.set_xlabel("convolution of the trunk, from shallow to deep")
        gradients.set_yscale("log")
        for e in chosen:
            if _layers(e) != depth:
                continue
            color = _COLORS[_kind(e)]
            history = e["history"]
            curves.plot(
                [record["epoch"] for record in history],
                [100 * record["val_accuracy"] for record in history],
                color,
                label=_kind(e),
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
