"""Whether coupled L2 starves layers: fixed lengths, only the decay differs."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from studies import pictures, table
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
        "Coupled L2 adds the decay to the gradient, and Adam then rescales both. Does "
        "that take all gradient from some layers? All runs here have the same number "
        "of steps and one learning rate. Only the decay differs.",
        table.tabulate(_LENGTH, table.each(chosen)),
        "The next table looks at each depth. First stands the norm of its kernels, at "
        "the start → at the end. Then stands how many of its kernels are dead. A "
        "kernel is dead if its gradient is exactly zero in every step of the last "
        "window.",
        table.tabulate(by_depth, table.each(chosen)),
        f"![Weight norms and dead kernels over steps](figures/{PICTURE})",
    )


def draw(experiments: Sequence[Experiment], folder: Path) -> None:
    """Norms and dead kernels over steps, a column for each decay."""
    runs = _chosen(experiments)
    if not runs:
        return
    models = list(dict.fromkeys(of(e, "model") for e in runs))
    figure = pictures.new_figure(4 * len(models))
    panels = figure.subplots(
        2 * len(models), len(DECAY_STUDY), sharey="row", squeeze=False
    )
    for row, model in enumerate(models):
        for column, recipe in enumerate(DECAY_STUDY):
            above, below = panels[2 * row][column], panels[2 * row + 1][column]
            above.set_title(
                f"{MODEL_TITLES[model]}, {RECIPE_TITLES[recipe]}", fontsize="medium"
            )
            above.set_yscale("log")
            for e in runs:
                if (of(e, "model"), recipe_name(e)) == (model, recipe):
                    _draw_run(e, above, below)
            below.set_xlabel("thousands of steps")
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
        lines = drawn[-1].get_lines()
        figure.legend(
            handles=lines, loc="outside upper center", ncols=len(lines), frameon=False
        )
    pictures.save(figure, folder / PICTURE)


def _draw_run(experiment: Experiment, above: Any, below: Any) -> None:
    training = experiment["gradients"]["training"]
    norms = experiment["weight_norms"]
    steps = [step / 1000 for step in norms["steps"]]
    windows = [step / 1000 for step in training["step"]]
    for colour, (group, values) in zip(
        pictures.COLOURS, norms["norms"].items(), strict=False
    ):
        above.plot(steps, values, color=colour, label=group)
        below.plot(windows, training["dead"][group], color=colour)


def _chosen(experiments: Sequence[Experiment]) -> list[Experiment]:
    chosen = [e for e in filter(is_standard, experiments) if is_of_decay_study(e)]
    return sorted(chosen, key=lambda e: (of(e, "model"), recipe_name(e), of(e, "seed")))
