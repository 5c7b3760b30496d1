"""Measurements as Markdown."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Values = dict[str, Any]


def _median(name: str, factor: float, digits: int) -> Callable[[Values, Values], str]:
    def cell(values: Values, reference: Values) -> str:
        return f"{factor * float(np.median(values[name])):,.{digits}f}"

    return cell


def _ratio(name: str) -> Callable[[Values, Values], str]:
    def cell(values: Values, reference: Values) -> str:
        if name not in values:
            return ""
        median, low, high = (values[name][key] for key in ("median", "low", "high"))
        return f"{median:.2f} ({low:.2f}-{high:.2f})"

    return cell


def _memory(values: Values, reference: Values) -> str:
    own, other = values["peak_growth"], reference.get("peak_growth")
    if own is None:
        return ""
    compared = f" ({own / other:.2f})" if other and values is not reference else ""
    return f"{own / 2**20:,.0f}{compared}"


# Heading, and what stands below it. Ratios are to the reference.
COLUMNS: dict[str, Callable[[Values, Values], str]] = {
    "parameters": _median("parameters", 1, 0),
    "step ms": _median("seconds_per_step", 1e3, 1),
    "CPU ms": _median("cpu_seconds_per_step", 1e3, 1),
    "images/s": lambda it, _: f"{1e3 * it['images'] / it['median_step_ms']:,.0f}",
    "reference ms": lambda _, it: f"{it['median_step_ms']:,.1f}" if it else "",
    "times as fast (95 %)": _ratio("times_as_fast"),
    "times the time (95 %)": _ratio("times_the_time"),
    "times the CPU time (95 %)": _ratio("times_the_cpu_time"),
    "first s": _median("compile_and_first_step_seconds", 1, 1),
    "times the first (95 %)": _ratio("times_the_first_time"),
    "times the first's CPU time (95 %)": _ratio("times_the_first_cpu_time"),
    "memory MiB (ratio)": _memory,
}


def table(results: Sequence[dict[str, Any]], only: str = "") -> str:
    """A Markdown table of one measurement, or of several of a kind.

    Args:
        results: As `measure` returns them.
        only: How the names of the contenders begin that are shown.
    """
    # A worker loads this file too, and Keras only once its backend is chosen.
    from keras_gradattn.training.tables import markdown

    columns = results[0]["columns"]
    rows = []
    for result in results:
        label = f"{result['label']}, " if len(results) > 1 else ""
        reference = result["contenders"].get(result["reference"], {})
        for name, values in result["contenders"].items():
            if not name.startswith(only):
                continue
            mark = " (reference)" if values is reference else ""
            cells = [COLUMNS[column](values, reference) for column in columns]
            rows.append([f"{label}{name}{mark}", *cells])
        for name, reason in result["not_measured"].items():
            empty = [""] * (len(columns) - 1)
            rows.append([f"{label}{name}", f"not measured: {reason}", *empty])
    return markdown(["", *columns], rows, numbers=True)
