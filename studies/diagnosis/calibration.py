"""How often a finding that is that sure is right.

    python -m studies.diagnosis.calibration

prints the counts of the tuning half as `keras_gradattn/diagnosis/confidence.py` holds
them. The table of the release half is `calibration` in the README: it compares what
findings say of themselves with what they are worth on programs that were not counted.
"""

import itertools
import math
from collections.abc import Iterable, Iterator
from typing import Any

from keras_gradattn.diagnosis.confidence import confidence
from studies.diagnosis import table
from studies.diagnosis.killed import Metrics, other_seeds
from studies.markdown import table as markdown

Entry = dict[str, Any]
Counts = dict[str, tuple[int, int]]
_BINS = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)


def judged(entries: Iterable[Entry], others: Metrics) -> Iterator[tuple[str, str, int]]:
    """Name, severity and 1 where right, of every finding on a program that counts.

    What follows from a fault is not its cause: it counts as wrong unless the mutation
    expects it.

    Args:
        entries: All of a half.
        others: Metrics with further seeds.
    """
    entries = list(entries)
    for entry in (*table.healthy(entries), *table.faulty(entries, others)):
        right = set(table.expected(entry, "ours")) if entry["kind"] else set()
        for name, severity, *_ in entry["findings"]:
            yield name, severity, int(name in right)


def counts(entries: Iterable[Entry], others: Metrics) -> tuple[Counts, Counts]:
    """Right and all findings by name: those above a note, and notes.

    Args:
        entries: All of a half.
        others: Metrics with further seeds.
    """
    above: Counts = {}
    notes: Counts = {}
    for name, severity, right in judged(entries, others):
        of = notes if severity == "note" else above
        before = of.get(name, (0, 0))
        of[name] = (before[0] + right, before[1] + 1)
    return dict(sorted(above.items())), dict(sorted(notes.items()))


def reliability(entries: list[Entry], others: Metrics) -> str:
    """Findings by what they say of themselves, beside what they are worth.

    Args:
        entries: All of a half.
        others: Metrics with further seeds.
    """
    found = [(confidence(n, s), right) for n, s, right in judged(entries, others)]
    rows = []
    for low, high in itertools.pairwise(_BINS):
        of_bin = [one for one in found if low <= one[0] < high]
        if of_bin:
            said = sum(one[0] for one in of_bin) / len(of_bin)
            right = sum(one[1] for one in of_bin)
            least, most = wilson(right, len(of_bin))
            rows.append(
                [
                    f"{low:.2f} to {high:.2f}",
                    str(len(of_bin)),
                    f"{said:.2f}",
                    f"{right / len(of_bin):.2f} ({least:.2f} to {most:.2f})",
                ]
            )
    return markdown(["confidence", "findings", "on average", "right (95 %)"], rows)


def wilson(right: int, said: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share (Wilson 1927).

    Args:
        right: Successes.
        said: Trials, at least 1.
    """
    z, share = 1.959964, right / said
    middle = share + z * z / (2 * said)
    half = z * math.sqrt(share * (1 - share) / said + (z / (2 * said)) ** 2)
    scale = 1 + z * z / said
    return (middle - half) / scale, (middle + half) / scale


def main() -> None:
    """Print both tables as Python."""
    above, notes = counts(table.load("tuning"), other_seeds())
    for name, of in (("ABOVE_NOTE", above), ("NOTES", notes)):
        print(f"{name}: dict[str, tuple[int, int]] = {{")
        for symptom, count in of.items():
            print(f'    "{symptom}": {count},')
        print("}")


if __name__ == "__main__":
    main()
