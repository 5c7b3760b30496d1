"""Finished experiments side by side: mean and deviation over seeds, and published."""

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_gradattn.training.results import read_results
from keras_gradattn.training.tables import table

_HEADER = (
    "data set",
    "model",
    "recipe",
    "seeds",
    "epochs",
    "test accuracy %",
    "published %",
    "difference",
    "remarks",
)
_AGAINST_PUBLISHED = ("published %", "difference")


def group_by_seed(
    experiments: Sequence[dict[str, Any]],
) -> list[list[dict[str, Any]]]:
    """Experiments that differ in nothing but their seed, together."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for experiment in experiments:
        configuration = {
            k: v for k, v in experiment["configuration"].items() if k != "seed"
        }
        key = json.dumps(configuration, sort_keys=True)
        groups.setdefault(key, []).append(experiment)
    return list(groups.values())


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean, and the sample standard deviation where there are two values or more."""
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return statistics.fmean(values), deviation


def show(mean: float, deviation: float | None, digits: int = 2) -> str:
    """`85.91 ± 0.12`, or `85.91` for a single seed."""
    text = f"{mean:.{digits}f}"
    return text if deviation is None else f"{text} ± {deviation:.{digits}f}"


def compare(
    results: str | Path = "results",
    style: str = "text",
    *,
    published: Callable[[str, str], Mapping[str, float] | None] | None = None,
) -> str:
    """Tabulate all finished experiments.

    Args:
        results: Folder that `run` wrote to. Defaults to `"results"`.
        style: `"text"` (the default: at most as wide as the terminal), `"markdown"`,
            `"csv"` or `"html"` (a whole page).
        published: A function that gives the published figures of a data set and a
            network, with the accuracy in percent under `"test_top1"`, such as
            `keras_gradattn.paper.published`. If it is `None` (the default), the columns
            that compare with them are left out.

    Returns:
        The table. Accuracies are means over seeds with their sample standard deviation.
        A single seed has no deviation. If a run is short, the difference from the
        published figure is left out.

    Raises:
        ValueError: If the folder has no finished experiment.

    Example:

    ```python
    print(keras_gradattn.training.compare("results", style="markdown"))
    ```
    """
    known = published or (lambda dataset, model: None)
    rows: list[tuple[str, ...]] = []
    for group in group_by_seed(read_results(results)):
        first = group[0]
        configuration = first["configuration"]
        mean, deviation = mean_and_deviation(
            [100 * e["metrics"]["top1"] for e in group]
        )
        reference = known(configuration["dataset"], configuration["model"])
        # A smoke run's distance from the published figure says nothing.
        comparable = not any(e["short"] for e in group)
        epochs = sorted({e["epochs_run"] for e in group})
        rows.append(
            (
                configuration["dataset"],
                configuration["model"],
                configuration["recipe"]["name"],
                str(len(group)),
                "-".join(str(e) for e in dict.fromkeys((epochs[0], epochs[-1]))),
                show(mean, deviation),
                f"{reference['test_top1']:.2f}" if reference else "",
                f"{mean - reference['test_top1']:+.2f}"
                if reference and comparable
                else "",
                remarks(group),
            )
        )
    header: tuple[str, ...] = _HEADER
    if published is None:
        header = tuple(name for name in _HEADER if name not in _AGAINST_PUBLISHED)
        kept = [_HEADER.index(name) for name in header]
        rows = [tuple(row[index] for index in kept) for row in rows]
    return table(header, rows, style)


def remarks(group: Sequence[dict[str, Any]]) -> str:
    """What a reader must know before comparing these experiments with others."""
    configuration = group[0]["configuration"]
    notes = []
    if short := sum(experiment["short"] for experiment in group):
        notes.append("short" if short == len(group) else f"{short} short")
    if configuration["limit"]:
        notes.append(f"{configuration['limit']} images a split")
    notes += [f"{k}={v}" for k, v in configuration["model_options"].items()]
    notes += [f"{k}={v}" for k, v in configuration["recipe"]["changes"].items()]
    notes += group[0].get("remarks", [])
    return ", ".join(notes)
