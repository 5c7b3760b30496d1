"""Findings as one page: words, numbers and curves, with nothing loaded."""

import html
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

from keras_gradattn._whole_files import replace_file
from keras_gradattn.diagnosis.report import layers_in_words, steps_in_words
from keras_gradattn.diagnosis.symptoms import SYMPTOMS

if TYPE_CHECKING:
    from keras_gradattn.diagnosis.finding import Curve, Finding, Findings

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 640, 220, 64, 28, 12
# Okabe and Ito (2008): told apart by colour-blind readers, on white and on black.
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;
color:#1c1c1c;background:#fff}
h2{margin:2rem 0 .3rem;font-size:1.1rem}
.fault{color:#a11}.warning{color:#8a5a00}.note{color:#555}
code{background:#f3f3f0;padding:.1rem .3rem}
dt{font-weight:600}dd{margin:0 0 .3rem 1rem}
svg{max-width:100%;height:auto}text{font-size:11px;fill:#444}
@media(prefers-color-scheme:dark){body{color:#dfe2e7;background:#16181d}
.fault{color:#ff8a80}.warning{color:#e8b45c}.note{color:#aab}
code{background:#2b2f37}text{fill:#b8bcc4}}
"""


def write_page(findings: "Findings", path: str | os.PathLike[str], title: str) -> None:
    """Write the page.

    Args:
        findings: What was found.
        path: File to write.
        title: Heading.
    """
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        "<meta name='viewport' content='width=device-width,initial-scale=1'>",
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{html.escape(title)}</h1>",
    ]
    if not findings:
        parts.append("<p>Nothing was found.</p>")
    for number, finding in enumerate(findings, start=1):
        parts.append(_section(number, finding))
    if findings.not_seen:
        parts.append("<h2>Not judged</h2><ul>")
        parts += [f"<li>{html.escape(one)}</li>" for one in findings.not_seen]
        parts.append("</ul>")
    parts.append("</body></html>\n")
    replace_file(Path(path), lambda file: file.write("".join(parts).encode()))


def _section(number: int, finding: "Finding") -> str:
    lines = [
        f"<h2>{number}. <span class='{finding.severity}'>{finding.severity}</span>: "
        f"{finding.name}</h2>",
        f"<p>{html.escape(finding.message)}</p><dl>",
    ]
    facts = [("the cause in", f"{finding.confidence:.0%} of cases")]
    if finding.layers:
        facts.append(("where", layers_in_words(finding)))
    if finding.first_step is not None:
        facts.append(("when", steps_in_words(finding)))
    facts += [("measured", str(one)) for one in finding.evidence]
    facts.append(("rule from", SYMPTOMS[finding.name].source))
    lines += [f"<dt>{k}</dt><dd>{html.escape(v)}</dd>" for k, v in facts]
    lines.append("</dl>")
    if finding.picture is not None:
        lines.append(curve_svg(finding.picture))
    if finding.causes:
        lines.append("<p>Perhaps:</p><ol>")
        for cause, change in zip(finding.causes, finding.changes, strict=False):
            lines.append(
                f"<li>{html.escape(cause)}:<br><code>{html.escape(change)}</code></li>"
            )
        lines.append("</ol>")
    return "".join(lines)


def curve_svg(curve: "Curve") -> str:
    """A curve as a drawing inside of a page."""
    lines = {
        name: [
            (x, y)
            for x, y in zip(*line, strict=False)
            if math.isfinite(y) and (y > 0 or not curve.logarithmic)
        ]
        for name, line in curve.lines.items()
    }
    lines = {name: line for name, line in lines.items() if line}
    if not lines:
        return ""
    points = [point for line in lines.values() for point in line]
    heights = [y for _, y in points]
    if curve.threshold is not None and (curve.threshold > 0 or not curve.logarithmic):
        heights.append(curve.threshold)
    right = max(max(x for x, _ in points), 1e-12)
    low, high = min(heights), max(heights)

    def across(x: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - 8) * x / right

    def up(y: float) -> float:
        a, b, c = y, low, high
        if curve.logarithmic:
            a, b, c = math.log10(y), math.log10(low), math.log10(high)
        share = (a - b) / (c - b) if c > b else 0.5
        return _HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - _TOP) * share

    parts = [
        f"<svg viewBox='0 0 {_WIDTH} {_HEIGHT}' role='img' "
        f"aria-label='{html.escape(curve.title, quote=True)}'>",
        f"<path d='M{_LEFT} {_TOP}V{_HEIGHT - _BOTTOM}H{_WIDTH - 8}' fill='none' "
        "stroke='#999'/>",
        f"<text x='{_LEFT - 6}' y='{_TOP + 8}' text-anchor='end'>{high:.3g}</text>",
        f"<text x='{_LEFT - 6}' y='{_HEIGHT - _BOTTOM}' text-anchor='end'>{low:.3g}"
        "</text>",
        f"<text x='{_WIDTH - 8}' y='{_HEIGHT - 8}' text-anchor='end'>{right:.0f}"
        "</text>",
        f"<text x='{_LEFT}' y='{_HEIGHT - 8}'>{html.escape(curve.title)}: "
        + ", ".join(
            f"<tspan fill='{_COLORS[i % len(_COLORS)]}'>{html.escape(name)}</tspan>"
            for i, name in enumerate(lines)
        )
        + "</text>",
    ]
    for i, line in enumerate(lines.values()):
        path = "M" + "L".join(f"{across(x):.1f} {up(y):.1f}" for x, y in line)
        parts.append(
            f"<path d='{path}' fill='none' stroke='{_COLORS[i % len(_COLORS)]}' "
            "stroke-width='1.5'/>"
        )
    if curve.threshold is not None and low <= curve.threshold <= high:
        height = up(curve.threshold)
        parts.append(
            f"<path d='M{_LEFT} {height:.1f}H{_WIDTH - 8}' stroke='currentColor' "
            "stroke-dasharray='4 3'/>"
        )
    return "".join(parts) + "</svg>"
