"""The JSON files of runs."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import keras

from studies.diagnosis.mutations import MUTANTS
from studies.diagnosis.programs import HEALTHY, Program
from studies.diagnosis.split import half_of

FOLDER = Path(__file__).parent / "results"


def programs_of(half: str) -> list[Program]:
    """Healthy programs and mutants of a half, or the real programs.

    Args:
        half: `"tuning"`, `"release"` or `"real"`.
    """
    if half == "real":
        from studies.diagnosis.real_programs import REAL_PROGRAMS

        return list(REAL_PROGRAMS)
    chosen = [program for program in (*HEALTHY, *MUTANTS) if half_of(program) == half]
    # Mixed, so that a run that is broken off has seen some of everything.
    return sorted(chosen, key=lambda p: hashlib.sha256(p.name.encode()).digest())


class Results:
    """What the programs of one half gave, in one file a half and backend.

    Args:
        half: `"tuning"`, `"release"` or `"real"`.
        backend: Name of the backend.
        folder: Where the file is.
    """

    def __init__(self, half: str, backend: str, folder: Path = FOLDER) -> None:
        self.path = folder / f"{half}-{backend}.json"
        self.about = {"half": half, "backend": backend, "keras": keras.__version__}
        self.programs: dict[str, dict[str, Any]] = {}
        if self.path.exists():
            self.programs = json.loads(self.path.read_text("utf-8"))["programs"]

    def __contains__(self, name: str) -> bool:
        return name in self.programs

    def forget(self, names: Iterable[str]) -> None:
        """Leave out what some programs gave.

        Args:
            names: Their names.
        """
        for name in names:
            self.programs.pop(name, None)

    def add(self, program: Program, result: dict[str, Any]) -> None:
        """Keep what a program gave, and write the file.

        Args:
            program: What ran.
            result: What `run` returned.
        """
        about = {
            "family": program.family,
            "kind": program.kind,
            "base": program.base,
            "least": program.least,
        }
        self.programs[program.name] = about | result
        lines = [
            f"  {json.dumps(name)}: {json.dumps(entry)}"
            for name, entry in sorted(self.programs.items())
        ]
        text = ",\n".join(lines)
        about_text = json.dumps(self.about)
        self.path.write_text(
            f'{{"about": {about_text}, "programs": {{\n{text}\n}}}}\n', encoding="utf-8"
        )
