"""What a diagnosis found, with the numbers that show it."""

import dataclasses
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from keras_gradattn._whole_files import replace_file
from keras_gradattn.diagnosis.confidence import confidence
from keras_gradattn.diagnosis.report import findings_report
from keras_gradattn.diagnosis.symptoms import SYMPTOMS

SEVERITIES = ("note", "warning", "fault")


@dataclasses.dataclass(frozen=True)
class Evidence:
    """One number that was measured, beside its threshold.

    Attributes:
        what: What was measured, in words.
        value: The number.
        threshold: What it was compared with; `None` where any value tells.
        rule: How they were compared: `"above"`, `"below"` or `"equal"`.

    Example:

    >>> from keras_gradattn.diagnosis import Evidence
    >>> str(Evidence("share of dead units", 0.75, 0.5))
    'share of dead units: 0.75 (above 0.5)'
    """

    what: str
    value: float
    threshold: float | None = None
    rule: str = "above"

    def __str__(self) -> str:
        limit = ""
        if self.threshold is not None:
            limit = f" ({self.rule} {_number(self.threshold)})"
        return f"{self.what}: {_number(self.value)}{limit}"


@dataclasses.dataclass(frozen=True)
class Curve:
    """Lines by step: the picture that shows a finding.

    Attributes:
        title: What is drawn.
        lines: Name of each line, with its `(steps, values)`.
        threshold: Height of a horizontal line, or `None`.
        logarithmic: Whether values are drawn by powers of ten.

    Example:

    >>> from keras_gradattn.diagnosis import Curve
    >>> Curve("Loss", {"loss": ([0, 1], [2.3, 2.1])}).title
    'Loss'
    """

    title: str
    lines: dict[str, tuple[list[float], list[float]]]
    threshold: float | None = None
    logarithmic: bool = False


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or may be.

    Attributes:
        name: Its name in `SYMPTOMS`.
        severity: `"note"` (good to know, healthy trainings have it too), `"warning"`
            (results are probably worse for it) or `"fault"` (certainly not meant).
        confidence: How often a finding of this name was the cause, 0 to 1: counted on
            programs with one known fault or none. What was seen is certain; a low
            number says that it mostly follows from something else.
        message: What was seen, in one sentence.
        layers: Where, in the order of computation; empty where no layer is concerned.
        first_step: Since when, as the optimizer counts; `None` before training.
        last_step: Until when; `None` before training.
        evidence: The numbers and their thresholds.
        causes: Likely causes, the likeliest first.
        changes: For each cause what to change: a line of Keras code.
        picture: The curve that shows it, or `None`.

    Example:

    >>> from keras_gradattn.diagnosis import Finding
    >>> Finding("dead_units", "warning", 0.85, "Half of the units are zero.").severity
    'warning'
    """

    name: str
    severity: str
    confidence: float
    message: str
    layers: tuple[str, ...] = ()
    first_step: int | None = None
    last_step: int | None = None
    evidence: tuple[Evidence, ...] = ()
    causes: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    picture: Curve | None = None

    def to_dict(self) -> dict[str, Any]:
        """Everything but the picture, ready for JSON."""
        found = dataclasses.asdict(dataclasses.replace(self, picture=None))
        del found["picture"]
        return _plain(found)


class Findings(list[Finding]):
    """Findings, the one to look at first in front.

    Args:
        findings: In any order.
        not_seen: What could not be judged, and why, in sentences.

    Attributes:
        not_seen: The same.

    Example:

    >>> from keras_gradattn.diagnosis import Finding, Findings
    >>> note = Finding("sorted_labels", "note", 0.5, "Labels are sorted.")
    >>> fault = Finding("nan_in_data", "fault", 0.99, "Three values are NaN.")
    >>> Findings([note, fault]).names
    ('nan_in_data', 'sorted_labels')
    """

    def __init__(
        self, findings: Iterable[Finding] = (), not_seen: Iterable[str] = ()
    ) -> None:
        super().__init__(sorted(_one_a_name(findings), key=_place))
        self.not_seen = tuple(dict.fromkeys(not_seen))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the findings, in their order."""
        return tuple(finding.name for finding in self)

    def at_least(self, severity: str) -> "Findings":
        """Those of a severity, and of worse ones.

        Args:
            severity: `"note"`, `"warning"` or `"fault"`.

        Returns:
            Findings of their own, in the same order.

        Raises:
            ValueError: For any other word.
        """
        if severity not in SEVERITIES:
            raise ValueError(
                f"`severity` must be one of {SEVERITIES}. "
                f"Received: severity={severity!r}"
            )
        least = SEVERITIES.index(severity)
        return Findings(
            (f for f in self if SEVERITIES.index(f.severity) >= least), self.not_seen
        )

    def report(self) -> str:
        """What was found, in words: what, where, since when, and what to write."""
        return findings_report(self)

    def to_dict(self) -> dict[str, Any]:
        """Findings as plain numbers and words."""
        return {
            "findings": [finding.to_dict() for finding in self],
            "not_seen": list(self.not_seen),
        }

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """The same as JSON.

        Args:
            path: File to write, or `None`.

        Returns:
            The text.
        """
        text = json.dumps(self.to_dict(), indent=1)
        if path is not None:
            replace_file(Path(path), lambda file: file.write((text + "\n").encode()))
        return text

    def to_html(
        self, path: str | os.PathLike[str], *, title: str = "Diagnosis"
    ) -> None:
        """Write one page with the findings and their curves, which loads nothing.

        Args:
            path: File to write.
            title: Heading of the page.
        """
        # The page needs to be read only by whoever writes one.
        from keras_gradattn.diagnosis.page import write_page

        write_page(self, path, title)


def found(
    name: str,
    severity: str,
    message: str,
    *evidence: Evidence,
    advice: Iterable[tuple[str, str]] | None = None,
    **where: Any,
) -> Finding:
    """A finding with the causes and changes of its symptom.

    Args:
        name: Name in `SYMPTOMS`.
        severity: See `Finding`.
        message: What was seen.
        *evidence: The numbers.
        advice: Causes with their changes, where the measurement says more than the
            table does.
        **where: `layers`, `first_step`, `last_step`, `picture`.
    """
    advice = tuple(SYMPTOMS[name].causes if advice is None else advice)
    return Finding(
        name=name,
        severity=severity,
        confidence=confidence(name, severity),
        message=message,
        evidence=evidence,
        causes=tuple(cause for cause, _ in advice),
        changes=tuple(change for _, change in advice),
        **where,
    )


def _one_a_name(findings: Iterable[Finding]) -> list[Finding]:
    """What was found before and during training, as one finding with both numbers."""
    known: dict[str, Finding] = {}
    for finding in findings:
        other = known.get(finding.name)
        if other is None:
            known[finding.name] = finding
            continue
        worse, less = sorted(
            (other, finding), key=lambda f: -SEVERITIES.index(f.severity)
        )
        known[finding.name] = dataclasses.replace(
            worse,
            confidence=max(worse.confidence, less.confidence),
            message=worse.message
            if less.message in worse.message
            else f"{worse.message} {less.message}",
            layers=tuple(dict.fromkeys((*worse.layers, *less.layers))),
            first_step=less.first_step
            if worse.first_step is None
            else worse.first_step,
            last_step=less.last_step if worse.last_step is None else worse.last_step,
            evidence=tuple(dict.fromkeys((*worse.evidence, *less.evidence))),
            picture=worse.picture or less.picture,
        )
    return list(known.values())


def _place(finding: Finding) -> tuple[int, int, float]:
    """Worse ones first; among equals causes before what they cause, then the surer."""
    return (
        -SEVERITIES.index(finding.severity),
        SYMPTOMS[finding.name].rank,
        -finding.confidence,
    )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, float) and value != value:
        return "nan"
    if value in (float("inf"), float("-inf")):
        return str(value)
    return value


def _number(value: float) -> str:
    return (
        f"{value:,.0f}"
        if float(value).is_integer() and abs(value) < 1e6
        else (f"{value:.3g}")
    )
