"""Two halves: one sets thresholds, the other is looked at once a release."""

import hashlib

from studies.diagnosis.programs import Program

HALVES = ("tuning", "release")


def half_of(program: Program) -> str:
    """`"tuning"` or `"release"`, by the hash of the healthy program's name.

    A mutant is where its healthy program is: thresholds never see either of the two.

    Args:
        program: A healthy program or a mutant.
    """
    digest = hashlib.sha256(program.base.encode()).digest()
    return HALVES[digest[0] % 2]
