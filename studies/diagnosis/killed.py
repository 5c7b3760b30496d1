"""Whether a mutation does damage, as DeepCrime asks of its mutants.

A mutant is killed if it is wrong by its structure, if it cannot train at all, or if with
each of the seeds its validation metric is clearly below its healthy program's.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from studies.diagnosis.mutations import BY_KIND, MUTANTS
from studies.diagnosis.programs import HEALTHY
from studies.diagnosis.results import FOLDER
from studies.diagnosis.run import run
from studies.diagnosis.split import half_of

SEEDS = (0, 1, 2)
# Points of accuracy, or of R squared, that count as clearly below.
CLEARLY = 0.03
FILE = FOLDER / "killed.json"


def measured(path: Path = FILE) -> dict[str, list[float | None]]:
    """Metrics by program and seed.

    Args:
        path: The file.
    """
    return json.loads(path.read_text("utf-8")) if path.exists() else {}


def is_killed(
    kind: str | None,
    mutant: list[float | None],
    healthy: list[float | None],
    structural: bool | None = None,
) -> bool:
    """Whether a mutant counts as a fault.

    Args:
        kind: Name of the mutation.
        mutant: The mutant's metrics by seed; `None` is a training that raised.
        healthy: The healthy program's metrics by seed.
        structural: Overrides what the mutation says of itself.
    """
    if structural is None:
        structural = BY_KIND[kind or ""].structural
    if structural:
        return True
    worst = -1.0
    pairs = list(zip(mutant, healthy, strict=False))
    return bool(pairs) and all(
        (worst if bad is None else bad) <= (worst if good is None else good) - CLEARLY
        for bad, good in pairs
    )


def measure(half: str, progress: Callable[[str], Any] = print) -> None:
    """Train what is missing in the file.

    Args:
        half: `"tuning"` or `"release"`.
        progress: Takes a line of text.
    """
    metrics = measured()
    mutants = [
        m for m in MUTANTS if half_of(m) == half and not BY_KIND[m.kind or ""].structural
    ]
    bases = {mutant.base for mutant in mutants}
    healthy = [program for program in HEALTHY if program.name in bases]
    for seed in SEEDS:
        for program in (*healthy, *mutants):
            seen = metrics.setdefault(program.name, [])
            if len(seen) > seed:
                continue
            seen.append(run(program, seed, diagnosed=False)["metric"])
            progress(f"seed {seed} {program.name}: {seen}")
            lines = [f" {json.dumps(n)}: {json.dumps(m)}" for n, m in metrics.items()]
            FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
