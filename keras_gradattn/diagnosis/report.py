"""Findings in words."""

import textwrap
from typing import TYPE_CHECKING

from keras_gradattn.diagnosis.symptoms import SYMPTOMS

if TYPE_CHECKING:
    from keras_gradattn.diagnosis.finding import Finding, Findings

_WIDTH = 88
_MOST_LAYERS = 6


def findings_report(findings: "Findings") -> str:
    """Each finding with where, since when, numbers, and what to write."""
    lines: list[str] = []
    if not findings:
        lines.append("Nothing was found.")
    for number, finding in enumerate(findings, start=1):
        lines += [*_finding(number, finding), ""]
    if findings.not_seen:
        lines.append("Not judged:")
        lines += [_wrapped(f"- {sentence}", "  ") for sentence in findings.not_seen]
    return "\n".join(lines).rstrip()


def _finding(number: int, finding: "Finding") -> list[str]:
    head = f"{number}. {finding.severity}: {finding.name} "
    head += f"(the cause in {finding.confidence:.0%} of cases)"
    lines = [head, _wrapped(f"   {finding.message}", "   ")]
    if finding.layers:
        lines.append(_wrapped(f"   where: {layers_in_words(finding)}", "     "))
    if finding.first_step is not None:
        lines.append(f"   when: {steps_in_words(finding)}")
    lines += [f"   measured: {one}" for one in finding.evidence]
    for cause, change in zip(finding.causes, finding.changes, strict=False):
        lines.append(_wrapped(f"   perhaps {cause}:", "     "))
        lines.append(f"       {change}")
    lines.append(f"   rule from: {SYMPTOMS[finding.name].source}")
    return lines


def layers_in_words(finding: "Finding") -> str:
    """Names of the layers, the first few where there are many."""
    named = ", ".join(finding.layers[:_MOST_LAYERS])
    left = len(finding.layers) - _MOST_LAYERS
    return f"{named} and {left} more" if left > 0 else named


def steps_in_words(finding: "Finding") -> str:
    """Since which step, and until which."""
    if finding.last_step in (None, finding.first_step):
        return f"step {finding.first_step}"
    return f"steps {finding.first_step} to {finding.last_step}"


def _wrapped(text: str, indent: str) -> str:
    return textwrap.fill(text, _WIDTH, subsequent_indent=indent)
