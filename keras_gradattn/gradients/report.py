"""Reports in words and one table each."""

from typing import Any

import numpy as np

from keras_gradattn.gradients.thresholds import EXPLODING, VANISHING


def training_report(record: Any) -> str:
    """Report of a `GradientRecord`."""
    if not len(record):
        return f"Gradient norms of {record.name!r}: no step recorded."
    finite = record.finite
    norm = np.where(np.isfinite(record.norm), record.norm, np.nan)
    epochs, detail = record.epochs, record.detail
    lines = [
        f"Gradient norms of {record.name!r} ({record.backend}), before clipping",
        f"steps {record.running_step[0]} to {record.running_step[-1]}, "
        f"{len(set(zip(record.fit, record.epoch, strict=True)))} epochs, "
        f"every {_ordinal(record.kept_every)}step kept",
        *_phase_lines(record),
        "",
    ]
    rows = []
    # Summed up from the variables each time it is asked for.
    sizes, rms = record.group_sizes, _median_rms(record)
    for i, group in enumerate(record.groups):
        means = epochs["mean"][:, i]
        means = means[~np.isnan(means) | (epochs["nonfinite"][:, i] > 0)]
        first, last = (means[0], means[-1]) if len(means) else (np.nan, np.nan)
        rows.append(
            [
                group,
                f"{int(sizes[i]):,}",
                _number(_median(norm[:, i])),
                _number(rms[i]),
                _number(first),
                _number(last),
                _number(_median(detail["gradient_to_weight"][:, i])),
                _number(_median(detail["update_to_weight"][:, i])),
                _percent(_median(detail["zero_share"][:, i])),
                str(int((~finite[:, i]).sum())),
            ]
        )
    lines += table(
        [
            "group", "elements", "median norm", "RMS", "first epoch", "last epoch",
            "to weights", "update/weight", "exact zeros", "not finite",
        ],
        rows,
    )  # fmt: skip
    lines.append("")
    lines += _training_remarks(record, rms, finite)
    return "\n".join(lines)


def _phase_lines(record: Any) -> Any:
    if len(record.phases) < 2:
        return []
    lines = []
    for phase in record.phases:
        rate = phase.learning_rate
        trained_by = phase.optimizer + ("" if rate is None else f" at {rate:.3g}")
        parts = (f"fit {phase.fit}", trained_by, f"{len(phase.groups)} groups trained")
        lines.append(f"phase {phase.number}: " + ", ".join(filter(None, parts)))
    return lines


def _median_rms(record: Any) -> Any:
    """(groups,) median over the steps, each by the elements that were trained in it."""
    rms = record.rms
    return np.array([_median(rms[:, i]) for i in range(rms.shape[1])])


def _training_remarks(record: Any, rms: Any, finite: Any) -> Any:
    remarks = []
    if np.any(np.isfinite(rms)) and np.nanmin(rms) > 0:
        small, large = int(np.nanargmin(rms)), int(np.nanargmax(rms))
        remarks.append(
            f"Per element the gradient is smallest in {record.groups[small]!r} and "
            f"largest in {record.groups[large]!r}, {rms[large] / rms[small]:.3g} times."
        )
    dead = [
        group
        for i, group in enumerate(record.groups)
        if np.any(measured := record.measured[:, i])
        and np.all(record.norm[measured, i] == 0)
    ]
    if dead:
        remarks.append(f"Exactly zero at every step (dead): {', '.join(dead)}.")
    if not finite.all():
        row = int(np.argmax(~finite.all(axis=1)))
        groups = [g for g, ok in zip(record.groups, finite[row], strict=True) if not ok]
        remarks.append(
            f"First non-finite at step {record.step[row]}, in {', '.join(groups)}."
        )
    if record.without_gradient:
        remarks.append(
            "The loss does not reach: " + ", ".join(record.without_gradient) + "."
        )
    if record.lost:
        remarks.append(f"{record.lost} steps could not be read and are missing.")
    return remarks


def flow_report(flow: Any) -> str:
    """Report of a `GradientFlow`."""
    means = {key: flow.mean(key) for key in (*flow.gradient, *flow.forward)}
    rows = [
        [
            str(i),
            layer,
            flow.groups[i],
            _number(means["norm"][i]),
            _number(means["rms"][i]),
            _number(means["product"][i]),
            _number(means["mean_square"][i]),
            _number(means["variance"][i]),
            _percent(means["dead_relu_share"][i]),
            "dead" if flow.dead[i] else "",
        ]
        for i, layer in enumerate(flow.layers)
    ]
    lines = [
        f"Gradient flow of {flow.name!r}, {len(flow.losses)} batches, "
        f"mean loss {flow.losses.mean():.4g}",
        "",
        *table(
            [
                "depth", "layer", "group", "|g| batch", "RMS", "|a||g| sample",
                "mean^2", "variance", "dead ReLU", "",
            ],
            rows,
        ),
        "",
        f"Health ({VANISHING:g} < |g| < {EXPLODING:g}): {flow.health():.1%} of "
        f"{len(flow.layers)} layers that can receive a gradient.",
        f"Decay per depth towards the input (geometric mean of |a||g|): "
        f"{flow.decay_per_depth():.4g}; 1 keeps the gradient, below 1 loses it.",
    ]  # fmt: skip
    dead = [
        layer for layer, is_dead in zip(flow.layers, flow.dead, strict=True) if is_dead
    ]
    weak = [
        layer
        for i, layer in enumerate(flow.layers)
        if not flow.dead[i] and means["norm"][i] <= VANISHING
    ]
    lines.append(
        f"Dead (exactly zero in every batch): {', '.join(dead) or 'none'}. "
        f"Attenuated (|g| at most {VANISHING:g}): {', '.join(weak) or 'none'}."
    )
    return "\n".join(lines)


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    """Lines of a plain-text table: words to the left, numbers to the right."""
    widths = [max(len(line[i]) for line in [header, *rows]) for i in range(len(header))]
    words = [
        all(_is_word(row[i]) for row in rows) if rows else True
        for i in range(len(header))
    ]

    def line(cells: Any) -> Any:
        return "  ".join(
            cell.ljust(width) if word else cell.rjust(width)
            for cell, width, word in zip(cells, widths, words, strict=True)
        ).rstrip()

    return [line(header), line(["-" * w for w in widths]), *map(line, rows)]


def _is_word(cell: Any) -> Any:
    try:
        float(cell.rstrip("%").replace(",", "") or "0")
    except ValueError:
        return cell != "-"
    return False


def _median(values: Any) -> Any:
    values = values[np.isfinite(values)]
    return float(np.median(values)) if len(values) else float("nan")


def _number(value: Any) -> Any:
    return "-" if not np.isfinite(value) else f"{value:.3g}"


def _percent(value: Any) -> Any:
    return "-" if not np.isfinite(value) else f"{100 * value:.3g}%"


def _ordinal(number: Any) -> Any:
    return "" if number == 1 else f"{number}th "
