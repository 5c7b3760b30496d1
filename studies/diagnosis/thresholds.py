"""What each threshold that was set here is worth: the tuning half, judged again.

    python -m studies.diagnosis --half tuning --again --keep FOLDER
    python -m studies.diagnosis.thresholds FOLDER

Each one is halved and doubled (of a share above a half, its distance from 1), and the
whole half is judged with it from what was seen, without training. The JSON beside the
results holds faults named right and healthy programs warned about.
"""

import argparse
import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from keras_gradattn.diagnosis.finding import Findings
from keras_gradattn.diagnosis.symptoms_seen import symptoms
from keras_gradattn.diagnosis.thresholds import THRESHOLDS, TUNED, Threshold
from studies.diagnosis import table
from studies.diagnosis.killed import other_seeds
from studies.diagnosis.results import FOLDER

FILE = FOLDER / "thresholds.json"
FACTORS = (0.5, 2.0)


def moved(value: float, factor: float) -> float:
    """A threshold made smaller or larger.

    Args:
        value: As it is set.
        factor: By which. Shares above a half stay below 1.
    """
    return 1 - (1 - value) / factor if 0.5 < value < 1 else value * factor


def judged(kept: Sequence[dict[str, Any]]) -> tuple[int, int]:
    """Faults named right, and healthy programs warned about, by the rules as they are.

    Args:
        kept: What `run` wrote, one a program.
    """
    entries = []
    for one in kept:
        findings = Findings([*one["before"], *symptoms(one["seen"])])
        said = [[f.name, f.severity] for f in findings]
        entries.append({**one, "findings": said})
    faults = table.faulty(entries, other_seeds())
    right = sum(table.is_right(entry, "ours") for entry in faults)
    return right, sum(bool(table.alarms(one)) for one in table.healthy(entries))


def measured(kept: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The same with each threshold moved, as the JSON has it.

    Args:
        kept: What `run` wrote, one a program.
    """
    found: dict[str, Any] = {"programs": len(kept), "as set": judged(kept)}
    for name, threshold in THRESHOLDS.items():
        if threshold.source == TUNED:
            for factor in FACTORS:
                other = Threshold(moved(threshold.value, factor), TUNED)
                with mock.patch.dict(THRESHOLDS, {name: other}):
                    found.setdefault(name, {})[str(factor)] = judged(kept)
    return found


def main() -> None:
    """Judge what a folder holds, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    files = sorted(parser.parse_args().folder.glob("*.pickle"))
    found = measured([pickle.loads(file.read_bytes()) for file in files])
    lines = [f" {json.dumps(name)}: {json.dumps(one)}" for name, one in found.items()]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
