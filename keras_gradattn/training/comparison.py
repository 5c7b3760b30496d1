"""Finished experiments side by side: mean and deviation over seeds, and published."""

import importlib.resources
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_gradattn.training._earlier_defaults import in_todays_terms
from keras_gradattn.training._files import read_json

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


def read_results(folder: str | Path) -> list[dict[str, Any]]:
    """Every finished experiment in a folder, in a fixed order.

    Args:
        folder: Folder that `run` wrote to.

    Returns:
        The content of each JSON, with its file name under `"file"` and the
        `model_options` that give its network today.

    Raises:
        ValueError: If there is none, or a JSON there is damaged.
    """
    found = []
    for path in sorted(Path(folder).glob("*.json")):
        content = read_json(path)
        # Other JSON files may live in the folder; these fields make a result.
        if isinstance(content, dict) and {"configuration", "metrics"} <= set(content):
            found.append(in_todays_terms(content) | {"file": path.name})
    if not found:
        raise ValueError(f"There is no finished experiment. Received: results={folder}")
    return found


def published(dataset: str, model: str) -> dict[str, Any] | None:
    """What the authors published for a network on a data set.

    Args:
        dataset: Key of `keras_gradattn.datasets.SPECS`.
        model: Key of `keras_gradattn.training.MODELS`.

    Returns:
        Their figures (percentages under `"test_top1"`, `"test_top3"`,
        `"test_top5"`), or `None` where they have none.

    Example:

    ```python
    keras_gradattn.training.published("fashion_mnist", "gradattn_v2")["test_top1"]
    # 75.18
    ```
    """
    for entry in _published_table():
        if (entry["dataset"], entry["model"]) == (dataset, model):
            return dict(entry)
    return None


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


def compare(results: str | Path = "results", style: str = "text") -> str:
    """Tabulate all finished experiments against the published figures.

    Args:
        results: Folder that `run` wrote to.
        style: `"text"` or `"markdown"`.

    Returns:
        The table. Accuracies are means over seeds with their sample standard
        deviation; a single seed has none. The difference from the published figure
        is left out where a run is short.

    Raises:
        ValueError: If the folder has no finished experiment.

    Example:

    ```python
    print(keras_gradattn.training.compare("results", style="markdown"))
    ```
    """
    rows = []
    for group in group_by_seed(read_results(results)):
        first = group[0]
        configuration = first["configuration"]
        mean, deviation = mean_and_deviation(
            [100 * e["metrics"]["top1"] for e in group]
        )
        reference = published(configuration["dataset"], configuration["model"])
        # A smoke run's distance from the published figure says nothing.
        comparable = reference and not any(e["short"] for e in group)
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
                f"{mean - reference['test_top1']:+.2f}" if comparable else "",
                remarks(group),
            )
        )
    return table(_HEADER, rows, style)


def remarks(group: Sequence[dict[str, Any]]) -> str:
    """What a reader must know before comparing these experiments with others."""
    configuration = group[0]["configuration"]
    notes = []
    if short := sum(experiment["short"] for experiment in group):
        notes.append("short" if short == len(group) else f"{short} short")
    if configuration["limit"]:
        notes.append(f"{configuration['limit']} images a split")
    notes += [f"{k}={v}" for k, v in configuration["model_options"].items()]
    return ", ".join(notes)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], style: str) -> str:
    """A table as aligned text or as Markdown."""
    if style not in ("text", "markdown"):
        raise ValueError(
            f"`style` must be 'text' or 'markdown'. Received: style={style!r}"
        )
    widths = [max(len(str(c)) for c in column) for column in zip(header, *rows)]  # noqa: B905
    lines = [
        [str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)]
        for row in (header, *rows)
    ]
    if style == "text":
        return "\n".join("  ".join(line).rstrip() for line in lines)
    rule = ["-" * max(width, 3) for width in widths]
    return "\n".join(
        "| " + " | ".join(line) + " |" for line in (lines[0], rule, *lines[1:])
    )


def _published_table() -> list[dict[str, Any]]:
    source = importlib.resources.files("keras_gradattn.paper")
    return json.loads(source.joinpath("published_results.json").read_text("utf-8"))
