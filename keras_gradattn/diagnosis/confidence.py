"""How sure a finding is: how often one of its name told what was wrong.

Counted on the tuning half of `studies/diagnosis`, whose programs have one known fault
or none. `python -m studies.diagnosis.calibration` prints the counts; its README has the
same on the other half, which these numbers never saw.
"""

from keras_gradattn.diagnosis.symptoms import SYMPTOMS

# Findings above a note by name: those that told the fault, and all.
ABOVE_NOTE: dict[str, tuple[int, int]] = {}
# The same of notes.
NOTES: dict[str, tuple[int, int]] = {}

# A name that was seldom said leans on the others that are measured when it is, with
# the weight of so many findings.
_PRIOR = 4
_MOST = 0.99


def confidence(name: str, severity: str) -> float:
    """Share of such findings that were right, 0 to 1.

    `(right + 4 * share) / (said + 4)`: the posterior mean under a beta prior whose mean
    is the share among all symptoms with the same `when`.

    Args:
        name: A name in `SYMPTOMS`.
        severity: `"note"`, or one above it.

    Returns:
        At most 0.99.
    """
    counts = NOTES if severity == "note" else ABOVE_NOTE
    when = SYMPTOMS[name].when
    alike = [count for other, count in counts.items() if SYMPTOMS[other].when == when]
    # Laplace's rule where nothing was counted.
    share = (sum(r for r, _ in alike) + 1) / (sum(s for _, s in alike) + 2)
    right, said = counts.get(name, (0, 0))
    return min((right + _PRIOR * share) / (said + _PRIOR), _MOST)
