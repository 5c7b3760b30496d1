"""What the authors published, figure by figure."""

import functools
import importlib.resources
import json
from typing import Any


def published(dataset: str, model: str) -> dict[str, Any] | None:
    """What the authors published for a network on a data set.

    Args:
        dataset: Key of `keras_gradattn.datasets.SPECS`.
        model: Key of `keras_gradattn.training.MODELS`.

    Returns:
        Their figures (percentages under `"test_top1"`, `"test_top3"`,
        `"test_top5"`), or `None` where they have none.

    Example:

    >>> keras_gradattn.paper.published("fashion_mnist", "gradattn_v2")["test_top1"]
    75.18
    """
    return next(
        (
            dict(entry)
            for entry in _table()
            if (entry["dataset"], entry["model"]) == (dataset, model)
        ),
        None,
    )


@functools.cache
def _table() -> list[dict[str, Any]]:
    source = importlib.resources.files("keras_gradattn.paper")
    table: list[dict[str, Any]] = json.loads(
        source.joinpath("published_results.json").read_text("utf-8")
    )
    return table
