"""A record as one page to look at: everything in one file, nothing from the network."""

import base64
import html
import importlib.resources
import json
import os
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_gradattn.gradients.columns import (
    Columns,
    Numbers,
    begins,
    columns_of,
    norm_columns,
)

if TYPE_CHECKING:
    from keras_gradattn.gradients.gradient_record import GradientRecord

# Columns of the heat map: as many as a wide screen shows, fewer for deep models, so
# that the numbers of 1,200 groups stay below 2 MB.
_MOST_COLUMNS = 1000
_LEAST_COLUMNS = 400
_MOST_CELLS = 480_000

# Measures of `record.detail`: name there, words for the page, logarithmic or not.
_DETAILS = (
    ("gradient_to_weight", "Gradient to weight", True),
    ("update_to_weight", "Update to weight", True),
    ("zero_share", "Share of zero elements", False),
)


def write_html(
    record: "GradientRecord",
    path: str | os.PathLike[str],
    *,
    title: str | None = None,
) -> None:
    """Write a record as one self-contained page.

    The page holds plotly.js and the numbers, loads nothing, and shows depth by step
    with zoom and hover, lines by group, phases, and marks of what is exactly zero or
    not finite. About 5 MB, 8 MB for 1,200 groups.

    Args:
        record: The record.
        path: File to write.
        title: Heading, the record's name by default.

    Raises:
        ValueError: Where nothing was recorded.
        ImportError: Without plotly, the extra `html`.
    """
    if not len(record):
        raise ValueError(
            "Nothing is recorded, so there is nothing to show. "
            f"Received: a record of {len(record)} steps"
        )
    title = title or f"Gradients of {record.name}"
    # `<` would end the script where a layer is named `</script>`.
    data = json.dumps(page_data(record)).replace("<", "\\u003c")
    parts = {"title": html.escape(title), "plotly": _plotly_js(), "data": data}
    template = (
        importlib.resources.files("keras_gradattn.gradients")
        .joinpath("html_report.html")
        .read_text(encoding="utf-8")
    )
    page = re.sub(
        r"\{\{ (title|plotly|data) \}\}", lambda found: parts[found[1]], template
    )
    with open(path, "w", encoding="utf-8") as file:
        file.write(page)


def page_data(record: "GradientRecord") -> dict[str, Any]:
    """What the page draws, ready for JSON.

    Arrays are `{"dtype", "shape", "base64"}`, little-endian, `(groups, columns)`, or
    `(1, columns)` where all groups are the same.
    """
    most = _columns_of_page(len(record.groups))
    norm = norm_columns(record, most)
    last = np.append(norm.first[1:], len(record)) - 1
    return {
        "groups": list(record.groups),
        "facts": _facts(record),
        "report": record.report(),
        "phases": [[begin.running_step, begin.label] for begin in begins(record)],
        "rms": _rms(record, norm, most),
        "norm": {
            **_table(norm),
            "step": [record.step[norm.first].tolist(), record.step[last].tolist()],
            "fit": record.fit[norm.first].tolist(),
            "epoch": [record.epoch[norm.first].tolist(), record.epoch[last].tolist()],
        },
        "details": _details(record, most),
    }


def _columns_of_page(groups: int) -> int:
    return max(_LEAST_COLUMNS, min(_MOST_COLUMNS, _MOST_CELLS // max(groups, 1)))


def _table(columns: Columns) -> dict[str, Any]:
    table: dict[str, Any] = {
        "edges": columns.edges.tolist(),
        "level": _packed(columns.level, "<f4"),
        "measured": _counts(columns.measured),
    }
    # Most runs have neither.
    for name in ("zero", "nonfinite"):
        counts = getattr(columns, name)
        if counts.any():
            table[name] = _counts(counts)
    return table


def _rms(record: "GradientRecord", norm: Columns, most: int) -> dict[str, Any]:
    """RMS as one factor a group, or as a table where freezing changed the groups."""
    rms = norm_columns(record, most, "rms").level
    factor = np.divide(rms, norm.level, out=np.full(rms.shape, np.nan), where=rms > 0)
    known = ~np.isnan(factor)
    low = np.min(factor, axis=0, initial=np.inf, where=known)
    high = np.max(factor, axis=0, initial=0.0, where=known)
    if np.all(high <= low * (1 + 1e-9)):
        return {"factor": high.tolist()}
    return {"level": _packed(rms, "<f4")}


def _details(record: "GradientRecord", most: int) -> list[dict[str, Any]]:
    detail = record.detail
    steps = detail["running_step"]
    tables = []
    for key, label, logarithmic in _DETAILS:
        values = detail[key]
        if not np.isfinite(values).any():
            continue
        columns = columns_of(
            values,
            steps,
            measured=~np.isnan(values),
            stride=int(np.median(np.diff(steps))) if len(steps) > 1 else 1,
            most=min(most, _LEAST_COLUMNS),
            geometric=logarithmic,
        )
        tables.append(
            {"key": key, "label": label, "log": logarithmic, **_table(columns)}
        )
    return tables


def _facts(record: "GradientRecord") -> list[str]:
    epochs = len(set(zip(record.fit.tolist(), record.epoch.tolist(), strict=True)))
    steps = record.running_step
    facts = [
        f"{len(record.groups):,} groups",
        f"{len(record):,} steps kept, {steps[0]} to {steps[-1]}",
        f"{epochs} epochs",
    ]
    if record.backend:
        facts.append(record.backend)
    if record.lost:
        facts.append(f"{record.lost:,} steps lost")
    return facts


def _counts(counts: Numbers) -> dict[str, Any]:
    """Counts in the smallest type; one for all groups where they are the same."""
    if np.all(counts == counts[:, :1]):
        counts = counts[:, :1]
    most = int(counts.max())
    return _packed(counts, "<u1" if most < 2**8 else "<u2" if most < 2**16 else "<u4")


def _packed(numbers: Numbers, dtype: str) -> dict[str, Any]:
    turned = np.ascontiguousarray(numbers.T, dtype=dtype)
    return {
        "dtype": dtype,
        "shape": list(turned.shape),
        "base64": base64.b64encode(turned.tobytes()).decode("ascii"),
    }


def _plotly_js() -> str:
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise ImportError(
            "The page needs plotly: pip install 'keras-gradattn[html]'."
        ) from error
    return str(get_plotlyjs())
