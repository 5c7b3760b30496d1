"""Whether a mutation does damage, as DeepCrime asks of its mutants.

A mutant is killed if it is wrong by its structure, if it cannot train at all, or if
with each of the seeds its validation metric is clearly below its healthy program's. The
first seed is the one that the diagnoses saw; this module measures the others.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from studies.diagnosis.mutations import BY_KIND, MUTANTS
from studies.diagnosis.programs import HEALTHY
from studies.diagnosis.results import FOLDER
from studies.diagnosis.run import run
from studies.diagnosis.split import half_of

# Beside seed 0.
SEEDS = (1, 2)
# Points of accuracy, or of R squared, that count as clearly below.
CLEARLY = 0.03
# What a training that raises or ends in NaN is worth.
WORST = -1.0
FILE = FOLDER / "other_seeds.json"
Metrics = Mapping[str, Mapping[str, float | None]]


def other_seeds(path: Path = FILE) -> dict[str, dict[str, float | None]]:
    """Metrics by program and seed.

    Args:
        path: The file.
    """
    return json.loads(path.read_text("utf-8")) if path.exists() else {}


def is_killed(
    mutant: Mapping[str, Any], programs: Mapping[str, Any], others: Metrics
) -> bool:
    """Whether a mutant counts as a fault.

    Args:
        mutant: Its entry in the results.
        programs: All entries by name, its healthy program among them.
        others: What `other_seeds` gives.
    """
    if BY_KIND[mutant["kind"]].structural:
        return True
    healthy = programs.get(mutant["base"])
    if healthy is None:
        return False
    pairs = [(mutant["metric"], healthy["metric"])]
    bad, good = others.get(mutant["name"], {}), others.get(mutant["base"], {})
    pairs += [(bad[seed], good[seed]) for seed in bad.keys() & good.keys()]
    return all(_value(b) <= _value(g) - CLEARLY for b, g in pairs)


def _value(metric: float | None) -> float:
    return WORST if metric is None else metric


def measure(half: str, progress: Callable[[str], Any] = print) -> None:
    """Train with the other seeds what is missing in the file.

    Args:
        half: `"tuning"` or `"release"`.
        progress: Takes a line of text.
    """
    metrics = other_seeds()
    mutants = [
        mutant
        for mutant in MUTANTS
        if half_of(mutant) == half and not BY_KIND[mutant.kind or ""].structural
    ]
    bases = {mutant.base for mutant in mutants}
    healthy = [program for program in HEALTHY if program.name in bases]
    for seed in SEEDS:
        for program in (*healthy, *mutants):
            seen = metrics.setdefault(program.name, {})
            if str(seed) in seen:
                continue
            seen[str(seed)] = run(program, seed, diagnosed=False)["metric"]
            progress(f"seed {seed} {program.name}: {seen}")
            lines = [
                f" {json.dumps(name)}: {json.dumps(of_seeds)}"
                for name, of_seeds in sorted(metrics.items())
            ]
            FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
