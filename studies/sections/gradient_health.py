"""Measures of gradient health beside the accuracy that they should foretell."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from studies import pictures, table
from studies.rank_correlation import rank_correlation
from studies.reading import (
    MODEL_TITLES,
    Experiment,
    best_validation,
    dataset_title,
    datasets_of,
    dead_share,
    is_of_decay_study,
    is_standard,
    mark,
    network_title,
    of,
    over_seeds,
    recipe_title,
    remark_lines,
)

_LEAST_RUNS = 4


def _published_health(experiment: Experiment) -> float | None:
    analysis = experiment.get("published_analysis")
    return analysis["health_percent"] if analysis else None


def _corrected_health(experiment: Experiment) -> float | None:
    found: float = experiment["gradients"]["test"]["health_percent"]
    return found


def _dead_percent(experiment: Experiment) -> float | None:
    return 100 * dead_share(experiment)


_MEASURES = {
    "published health": _published_health,
    "corrected health": _corrected_health,
    "share of dead kernels": _dead_percent,
}


def _measured(name: str) -> table.Columns:
    def cell(runs: list[Experiment]) -> str:
        value = _MEASURES[name](runs[0])
        return "" if value is None else f"{value:.1f}"

    return {f"{name} %": cell}


_COLUMNS: table.Columns = {
    "": lambda runs: network_title(runs[0]),
    "recipe": lambda runs: recipe_title(runs[0]),
    "seed": lambda runs: str(of(runs[0], "seed")),
    **_measured("published health"),
    **_measured("corrected health"),
    **_measured("share of dead kernels"),
    "best validation %": lambda runs: over_seeds(best_validation(runs)) + mark(runs),
}


def picture(dataset: str) -> str:
    """File name of a data set's picture."""
    return f"gradients_{dataset}.png"


def text(experiments: Sequence[Experiment]) -> str:
    """A table and rank correlations for each data set."""
    chosen = list(filter(is_standard, experiments))
    if not chosen:
        return ""
    parts = []
    for dataset in datasets_of(chosen):
        runs = [e for e in chosen if of(e, "dataset") == dataset]
        parts += [
            f"### {dataset_title(runs[0])}: gradients",
            table.tabulate(_COLUMNS, table.each(runs)),
            *filter(None, remark_lines(runs)),
            *_correlations(runs),
        ]
    return table.section(
        "Gradient health and accuracy",
        "Does a network with healthier gradients reach a better accuracy? There are "
        "three measures of health:",
        "* **Published health**: the share of registered layers whose mean gradient "
        "norm lies between 1e-6 and 10. Some registered layers never receive a "
        "gradient. So V1 and V2 reach 91.43 % at most, and V3 92.68 %.\n"
        "* **Corrected health**: the same share among layers that can receive a "
        "gradient.\n"
        "* **Dead kernels**: the share of kernels whose gradient was exactly zero in "
        "every step of the last recorded window.",
        "A rank correlation of +1 would mean that accuracy rises with the measure in "
        "all runs, and 0 that it has nothing to do with it.",
        *parts,
    )


def draw(experiments: Sequence[Experiment], folder: Path) -> None:
    """A picture for each data set with runs enough."""
    for dataset in datasets_of(experiments):
        runs = _compared(experiments, dataset)
        if len(runs) >= _LEAST_RUNS:
            _draw(runs, folder / picture(dataset))


def _compared(experiments: Sequence[Experiment], dataset: str) -> list[Experiment]:
    return [
        e
        for e in filter(is_standard, experiments)
        if of(e, "dataset") == dataset and not is_of_decay_study(e)
    ]


def _correlations(runs: list[Experiment]) -> list[str]:
    dataset = of(runs[0], "dataset")
    compared = _compared(runs, dataset)
    if len(compared) < _LEAST_RUNS:
        return []
    parts = _correlation("", compared)
    # Damaged pixels cost accuracy whatever the gradients do.
    intact = [e for e in compared if not of(e, "recipe").get("released_pixels")]
    if _LEAST_RUNS <= len(intact) < len(compared):
        parts += _correlation(", correct pixels alone", intact)
    return [
        *parts,
        f"![Gradient health and validation accuracy](figures/{picture(dataset)})",
    ]


def _correlation(which: str, runs: list[Experiment]) -> list[str]:
    lines = []
    for name, (values, accuracies) in _values(runs).items():
        rho, low, high = rank_correlation(values, accuracies)
        measured = f" ({len(values)} runs)" if len(values) < len(runs) else ""
        lines.append(
            f"* {name}{measured}: {rho:+.2f} (95 % bootstrap interval {low:+.2f} to "
            f"{high:+.2f})"
            if math.isfinite(rho)
            else f"* {name}{measured}: the same in every run, no correlation exists"
        )
    return [
        f"Rank correlation with validation accuracy, {dataset_title(runs[0])}, "
        f"{len(runs)} runs{which}:",
        "\n".join(lines),
    ]


def _values(
    runs: list[Experiment],
) -> Mapping[str, tuple[list[float], list[float]]]:
    """Each measure's percentages, and the accuracies of the runs that have it."""
    found = {}
    for name, measure in _MEASURES.items():
        pairs = [(measure(e), float(best_validation([e])[0])) for e in runs]
        known = [(value, accuracy) for value, accuracy in pairs if value is not None]
        if known:
            found[name] = ([v for v, _ in known], [a for _, a in known])
    return found


def _draw(runs: list[Experiment], path: Path) -> None:
    models = list(dict.fromkeys(of(e, "model") for e in runs))
    # A measure that is the same in every run has nothing to show.
    names = [n for n, (values, _) in _values(runs).items() if len(set(values)) > 1]
    figure = pictures.new_figure(4.2)
    panels = figure.subplots(1, max(len(names), 1), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, names, strict=False):
        for index, model in enumerate(models):
            mine = _values([e for e in runs if of(e, "model") == model])
            if name in mine:
                axes.plot(
                    *mine[name],
                    pictures.MARKERS[index],
                    color=pictures.COLOURS[index],
                    label=MODEL_TITLES[model],
                )
        axes.set_xlabel(f"{name}, %")
    panels[0].set_ylabel("best validation accuracy, %")
    handles, titles = panels[0].get_legend_handles_labels()
    figure.legend(handles, titles, loc="outside upper center", ncols=4, frameon=False)
    pictures.save(figure, path)
