"""Whether coupled L2 starves layers: fixed lengths, only the decay differs."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from studies import table
from studies.reading import (
    DECAY_STUDY,
    MODEL_TITLES,
    RECIPE_TITLES,
    Experiment,
    best_validation,
    is_of_decay_study,
    is_standard,
    mark,
    of,
    over_seeds,
    recipe_name,
    top1,
)

PICTURE = "decay.png"
_LEAST_NORM_SHOWN = 1e-3


def _name(runs: list[Experiment]) -> str:
    first = runs[0]
    return (
        f"{MODEL_TITLES[of(first, 'model')]}, {RECIPE_TITLES[recipe_name(first)]}, "
        f"seed {of(first, 'seed')}"
    )


def _of_depth(group: str) -> Callable[[list[Experiment]], str]:
    def cell(runs: list[Experiment]) -> str:
        norms = runs[0]["weight_norms"]["norms"].get(group)
        if norms is None:
            return ""
        training = runs[0]["gradients"]["training"]
        dead, kernels = training["dead"][group][-1], training["kernels"][group]
        return f"{norms[0]:.1f} → {norms[-1]:.2f}, {dead}/{kernels}"

    return cell


_LENGTH: table.Columns = {
    "": _name,
    "steps": lambda runs: f"{runs[0]['steps']:,}",
    "best validation %": lambda runs: over_seeds(best_validation(runs)),
    "test accuracy %": lambda runs: over_seeds(top1(runs)) + mark(runs),
}


def text(experiments: Sequence[Experiment]) -> str:
    """Accuracy, and the norm and dead kernels of each depth."""
    chosen = _chosen(experiments)
    if not chosen:
        return ""
    groups = dict.fromkeys(g for e in chosen for g in e["weight_norms"]["norms"])
    by_depth = {"": _name, **{group: _of_depth(group) for group in groups}}
    return table.section(
        "Does coupled L2 starve layers?",
        "Fixed numbers of steps at one learning rate, only the decay differs.",
        table.tabulate(_LENGTH, table.each(chosen)),
        "Per depth: norm of all kernels at the start → at the end, and kernels that "
        "were dead in the last window (gradient exactly zero in every step).",
        table.tabulate(by_depth, table.each(chosen)),
        f"![Weight norms and dead kernels over steps](figures/{PICTURE})",
    )


def draw(experiments: Sequence[Experiment], folder: Path) -> None:
    """Norms and dead kernels over steps, a column for each decay."""
    runs = _chosen(experiments)
    if not runs:
        return
    from matplotlib.figure import Figure

    models = list(dict.fromkeys(of(e, "model") for e in runs))
    size = (4 * len(DECAY_STUDY), 5 * len(models))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(
        2 * len(models), len(DECAY_STUDY), sharey="row", squeeze=False
    )
    for row, model in enumerate(models):
        for column, recipe in enumerate(DECAY_STUDY):
            above, below = panels[2 * row][column], panels[2 * row + 1][column]
            above.set_title(f"{MODEL_TITLES[model]}, {RECIPE_TITLES[recipe]}")
            above.set_yscale("log")
            for e in runs:
                if (of(e, "model"), recipe_name(e)) == (model, recipe):
                    _draw_run(e, above, below)
            below.set_xlabel("step")
        above, below = panels[2 * row][0], panels[2 * row + 1][0]
        above.set_ylabel("norm of kernels")
        # Starved kernels shrink without end, and would press the others into a line.
        above.set_ylim(bottom=max(above.get_ylim()[0], _LEAST_NORM_SHOWN))
        below.set_ylabel("dead kernels")
        # Where none is dead the axis would show hundredths of a kernel.
        below.set_ylim(-0.2, max(below.get_ylim()[1], 1.2))
    # A study under way has panels without a run.
    drawn = [axes for axes in panels[0] if axes.lines]
    if drawn:
        drawn[-1].legend(loc="lower right", fontsize="small")
    figure.savefig(folder / PICTURE, dpi=120)


def _draw_run(experiment: Experiment, above: Any, below: Any) -> None:
    training = experiment["gradients"]["training"]
    norms = experiment["weight_norms"]
    for index, (group, values) in enumerate(norms["norms"].items()):
        above.plot(norms["steps"], values, f"C{index}", label=group)
        below.plot(training["step"], training["dead"][group], f"C{index}")


def _chosen(experiments: Sequence[Experiment]) -> list[Experiment]:
    chosen = [e for e in filter(is_standard, experiments) if is_of_decay_study(e)]
    return sorted(chosen, key=lambda e: (of(e, "model"), recipe_name(e), of(e, "seed")))
