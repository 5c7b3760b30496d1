"""The small language by which a text asks for a figure.

    top1 RUNS                     89.76 ± 0.06: test accuracy in percent over seeds
    validation RUNS               of the best validation epoch, [epochs=15] first
    training RUNS                 of the last epoch's training accuracy
    frozen RUNS                   of the test accuracy with frozen mixing weights
    other RUNS                    of the weights that the recipe does not test
    difference RUNS MINUS_RUNS    +0.46: difference of the mean test accuracies
    interval RUNS MINUS_RUNS      0.25 to 0.67: its 95 % interval (Welch)
    runs RUNS                     how many
    published DATA_SET MODEL      the published test accuracy
    value FILE KEY/KEY/0          any number of a JSON file, [factor=100]

RUNS is a folder below `studies/runs`, such as
`fashion_mnist/resnet18/modern,stem=imagenet,epochs=10`; all runs below it count.
Options follow: `digits=2` (decimals), `sign=yes` (a plus), `deviation=no` (the mean
alone).
"""

import json
import shlex
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from keras_gradattn import paper
from keras_gradattn.training.results import read_results
from studies.reading import (
    Experiment,
    best_validation,
    difference,
    top1,
    training_accuracy,
)
from studies.rounding import exact, mean, percent, with_deviation, written

_OPTIONS = ("digits", "sign", "deviation", "epochs", "factor")
_MEASURES: dict[str, Callable[[list[Experiment]], list[Fraction]]] = {
    "top1": top1,
    "training": training_accuracy,
    "frozen": lambda runs: percent(e["pathways"]["frozen_top1"] for e in runs),
    "other": lambda runs: percent(e["other_weights"]["metrics"]["top1"] for e in runs),
}


def figure(expression: str, root: Path) -> str:
    """The figure that an expression asks for.

    Args:
        expression: In the language above.
        root: The repository, with `studies/runs`.

    Returns:
        The text that stands in its place.

    Raises:
        ValueError: If it cannot be read, or asks for what is not there.
    """
    try:
        return _figure(shlex.split(expression), root)
    except (ValueError, LookupError, TypeError, OSError) as error:
        raise ValueError(f"No such figure ({error}). Received: {expression}") from error


def _figure(words: list[str], root: Path) -> str:
    options = dict(word.split("=", 1) for word in words if _is_option(word))
    name, *asked = [word for word in words if not _is_option(word)]
    if not asked:
        raise ValueError("nothing is asked for")
    digits, sign = int(options.get("digits", 2)), options.get("sign") == "yes"
    if name == "runs":
        return f"{sum(len(_runs(folder, root)) for folder in asked):,}"
    if name == "interval":
        _, low, high = difference(*(top1(_runs(folder, root)) for folder in asked))
        return f"{written(low, digits)} to {written(high, digits)}"
    if name == "difference":
        other, plain = (top1(_runs(folder, root)) for folder in asked)
        return written(mean(other) - mean(plain), digits, sign=True)
    if name == "published":
        return written(_published(*asked), digits, sign=sign)
    if name == "value":
        factor = exact(float(options.get("factor", 1)))
        return written(factor * exact(_value(*asked, root=root)), digits, sign=sign)
    values = _values(name, options, [e for f in asked for e in _runs(f, root)])
    if options.get("deviation") == "no":
        return written(mean(values), digits, sign=sign)
    return with_deviation(values, digits)


def _is_option(word: str) -> bool:
    name, equals, value = word.partition("=")
    return bool(equals) and name in _OPTIONS and "/" not in value


def _values(
    name: str, options: dict[str, str], runs: list[Experiment]
) -> Sequence[Fraction]:
    if name == "validation":
        epochs = options.get("epochs")
        return best_validation(runs, int(epochs) if epochs else None)
    if name not in _MEASURES:
        raise ValueError(f"there is no measure {name}")
    return _MEASURES[name](runs)


def _runs(folder: str, root: Path) -> list[Experiment]:
    return read_results(root / "studies" / "runs" / folder)


def _published(dataset: str, model: str) -> float:
    figures = paper.published(dataset, model)
    if figures is None:
        raise ValueError(f"nothing was published of {model} on {dataset}")
    return float(figures["test_top1"])


def _value(file: str, keys: str, *, root: Path) -> float:
    found: Any = json.loads((root / file).read_text("utf-8"))
    for key in keys.split("/"):
        found = found[int(key)] if isinstance(found, list) else found[key]
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise ValueError(f"{keys} is no number")
    return found
