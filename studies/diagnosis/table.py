"""The report's tables, from the JSONs.

    python -m studies.diagnosis.table [--check]

`README.md` has a marker before and after each table; `--check` only says whether one of
them has drifted from the results.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from studies.diagnosis.killed import Metrics, is_killed, other_seeds
from studies.diagnosis.mutations import BY_KIND, MUTATIONS
from studies.diagnosis.results import FOLDER, programs_of
from studies.insert_figures import write_text
from studies.markdown import table

README = Path(__file__).parent / "README.md"
_MARKED = re.compile(r"(<!-- diagnosis: (\w+) (\S+) -->\n).*?(<!-- / -->)", re.DOTALL)
# Findings among which the right name has to be.
FIRST = 2
_EMPTY = {False: "Not run yet.", True: "None."}
# The whole of what a diagnosis says counts for the other two: they do not rank.
TOOLS = ("ours", "autotrainer", "deepdiagnosis")
Entry = dict[str, Any]


def load(half: str, backend: str = "torch", folder: Path = FOLDER) -> list[Entry]:
    """Entries of a half, each with its name; empty before the first run.

    Args:
        half: `"tuning"`, `"release"` or `"real"`.
        backend: Name of the backend.
        folder: Where the files are.
    """
    path = folder / f"{half}-{backend}.json"
    if not path.exists():
        return []
    programs = json.loads(path.read_text("utf-8"))["programs"]
    return [{"name": name, **entry} for name, entry in programs.items()]


def alarms(entry: Entry) -> list[str]:
    """Names of our findings above a note, in the order of the report.

    Args:
        entry: One program's.
    """
    return [name for name, severity, *_ in entry["findings"] if severity != "note"]


def said(entry: Entry, tool: str) -> list[str]:
    """What a diagnosis alarms about.

    Args:
        entry: One program's.
        tool: `"ours"`, `"autotrainer"` or `"deepdiagnosis"`.
    """
    return alarms(entry) if tool == "ours" else entry[tool]


def expected(entry: Entry, tool: str) -> tuple[str, ...]:
    """What would be right to say.

    Args:
        entry: A faulty program's.
        tool: As for `said`.
    """
    if entry["kind"] == "real":
        from studies.diagnosis.real_programs import BY_TITLE

        return BY_TITLE[entry["name"]].expected if tool == "ours" else ()
    mutation = BY_KIND[entry["kind"]]
    by_tool = (mutation.expected, mutation.autotrainer, mutation.deepdiagnosis)
    return by_tool[TOOLS.index(tool)]


def is_right(entry: Entry, tool: str) -> bool:
    """Whether the right name is said: by us among the first two findings.

    Args:
        entry: A faulty program's.
        tool: As for `said`.
    """
    names = said(entry, tool)
    names = names[:FIRST] if tool == "ours" else names
    return bool(set(names) & set(expected(entry, tool)))


def healthy(entries: Iterable[Entry]) -> list[Entry]:
    """Healthy programs that reach what their data allow; others are left out.

    Args:
        entries: All of a half.
    """
    return [
        e
        for e in entries
        if e["kind"] is None and e["metric"] is not None and e["metric"] >= e["least"]
    ]


def faulty(entries: Iterable[Entry], others: Metrics) -> list[Entry]:
    """Mutants that are killed, of healthy programs that are healthy.

    Args:
        entries: All of a half.
        others: Metrics with further seeds.
    """
    entries = list(entries)
    sound = {entry["name"] for entry in healthy(entries)}
    programs: Mapping[str, Entry] = {entry["name"]: entry for entry in entries}
    return [
        e
        for e in entries
        if e["kind"] and e["base"] in sound and is_killed(e, programs, others)
    ]


def by_kind(entries: list[Entry], others: Metrics) -> str:
    """Faults by kind: how many are found by each diagnosis.

    Args:
        entries: All of a half.
        others: Metrics with further seeds.
    """
    faults = faulty(entries, others)
    rows = []
    for mutation in MUTATIONS:
        of_kind = [e for e in faults if e["kind"] == mutation.kind]
        if of_kind:
            rows.append([mutation.kind, str(len(of_kind)), *_counts(of_kind)])
    if faults:
        rows.append(["**all**", str(len(faults)), *_counts(faults)])
    header = ["fault", "programs", "named by us", "any warning"]
    return table([*header, *_headers("named, any")], rows)


def by_family(entries: list[Entry], others: Metrics) -> str:
    """Healthy programs by family: how many get a warning.

    Args:
        entries: All of a half.
        others: Not used.
    """
    sound = healthy(entries)
    rows = []
    for family in dict.fromkeys(e["family"] for e in sound):
        of_family = [e for e in sound if e["family"] == family]
        rows.append([family, str(len(of_family)), *_alarmed(of_family)])
    if sound:
        rows.append(["**all**", str(len(sound)), *_alarmed(sound)])
    return table(
        ["healthy programs", "programs", "warned by us", *_headers("warned")], rows
    )


def totals(entries: list[Entry], others: Metrics) -> str:
    """Both goals beside what was reached.

    Args:
        entries: All of a half.
        others: Metrics with further seeds.
    """
    faults, sound = faulty(entries, others), healthy(entries)
    if not faults or not sound:
        return ""
    rows = []
    for tool, name in zip(TOOLS, ("ours", "AUTOTRAINER", "DeepDiagnosis"), strict=True):
        right = sum(is_right(e, tool) for e in faults)
        warned = sum(bool(said(e, tool)) for e in faults)
        alarmed = sum(bool(said(e, tool)) for e in sound)
        rows.append(
            [
                name,
                _share(right, len(faults)),
                _share(warned, len(faults)),
                _share(alarmed, len(sound)),
            ]
        )
    rows.append(["goal", "90 %", "", "at most 2 %"])
    return table(
        [
            "diagnosis",
            f"named right, of {len(faults)} faults",
            "any warning",
            f"warned about, of {len(sound)} healthy",
        ],
        rows,
    )


def misses(entries: list[Entry], others: Metrics) -> str:
    """Faults that we do not name and healthy programs that we warn about.

    Args:
        entries: All of a half.
        others: Metrics with further seeds.
    """
    lines = [
        f"* missed: {e['name']} (said: {', '.join(alarms(e)) or 'nothing'})"
        for e in faulty(entries, others)
        if not is_right(e, "ours")
    ]
    lines += [
        f"* false alarm: {e['name']} ({', '.join(alarms(e))})"
        for e in healthy(entries)
        if alarms(e)
    ]
    return "\n".join(lines)


def left_out(entries: list[Entry], others: Metrics) -> str:
    """Programs that do not count, and why.

    Args:
        entries: All of a half.
        others: Metrics with further seeds.
    """
    sound = {e["name"] for e in healthy(entries)}
    killed = {e["name"] for e in faulty(entries, others)}
    lines = [
        f"* not healthy enough: {e['name']} ({e['metric']} of {e['least']})"
        for e in entries
        if e["kind"] is None and e["name"] not in sound
    ]
    ran = {e["name"] for e in entries}
    for e in entries:
        if e["kind"] and e["name"] not in killed:
            why = "does no clear damage"
            if e["base"] not in sound:
                why = "its healthy program is not healthy enough"
            if e["base"] not in ran:
                why = "its healthy program has not run"
            lines.append(f"* {why}: {e['name']} ({e['metric']})")
    return "\n".join(lines)


def real(entries: list[Entry], others: Metrics) -> str:
    """The real programs, with their sources.

    Args:
        entries: Of the real programs.
        others: Not used.
    """
    from studies.diagnosis.real_programs import REAL

    found = {entry["name"]: entry for entry in entries}
    rows = []
    for question in REAL:
        if question.title not in found:
            continue
        entry = found[question.title]
        rows.append(
            [
                f"[{question.title}]({question.url})",
                "yes" if is_right(entry, "ours") else "no",
                ", ".join(alarms(entry)[:3]) or "nothing",
                ", ".join(entry["autotrainer"]) or "nothing",
                ", ".join(entry["deepdiagnosis"]) or "nothing",
            ]
        )
    return table(
        ["question", "told right", "ours", "AUTOTRAINER", "DeepDiagnosis"], rows
    )


def ran(entries: list[Entry], half: str) -> str:
    """How much of a half the tables are of.

    Args:
        entries: What ran.
        half: `"tuning"` or `"release"`.
    """
    names = {program.name for program in programs_of(half)}
    seen = len(names & {entry["name"] for entry in entries})
    return f"{seen} of the half's {len(names)} programs have run, on PyTorch."


def thresholds(entries: list[Entry], others: Metrics, folder: Path = FOLDER) -> str:
    """What halved and doubled thresholds give on the tuning half.

    Args:
        entries: Not used.
        others: Not used.
        folder: Where the JSON is.
    """
    from keras_gradattn.diagnosis import THRESHOLDS

    path = folder / "thresholds.json"
    if not path.exists():
        return _EMPTY[False]
    found = json.loads(path.read_text("utf-8"))
    rows = [
        [
            name.replace("_", " "),
            f"{THRESHOLDS[name].value:g}",
            *(f"{right}, {warned}" for right, warned in of.values()),
        ]
        for name, of in found.items()
        if name in THRESHOLDS
    ]
    right, warned = found["as set"]
    text = (
        f"As set, {right} faults of {found['programs']} programs are named right, and "
        f"{warned} healthy ones warned about."
    )
    head = ["threshold", "value", "halved: right, warned", "doubled: right, warned"]
    return f"{text}\n\n{table(head, rows)}"


def calibration(entries: list[Entry], others: Metrics) -> str:
    """What findings say of themselves, beside what they are worth.

    Args:
        entries: All of a half.
        others: Metrics with further seeds.
    """
    from studies.diagnosis.calibration import reliability

    return reliability(entries, others)


def backends(
    entries: list[Entry], others: Metrics, half: str, folder: Path = FOLDER
) -> str:
    """The same half on the other backends, as far as it has run there.

    Args:
        entries: Of PyTorch.
        others: Metrics with further seeds.
        half: `"tuning"` or `"release"`.
        folder: Where the JSONs are.
    """
    on_torch = {entry["name"]: entry for entry in entries}
    rows = []
    for backend in ("torch", "jax", "tensorflow"):
        own = load(half, backend, folder)
        faults, sound = faulty(own, others), healthy(own)
        if not faults or not sound:
            continue
        right = sum(is_right(e, "ours") for e in faults)
        alarmed = sum(bool(alarms(e)) for e in sound)
        judged = [e for e in (*faults, *sound) if e["name"] in on_torch]
        alike = sum(_verdict(e) == _verdict(on_torch[e["name"]]) for e in judged)
        rows.append(
            [
                {"torch": "PyTorch", "jax": "JAX", "tensorflow": "TensorFlow"}[backend],
                str(len(own)),
                f"{_share(right, len(faults))} of {len(faults)}",
                f"{_share(alarmed, len(sound))} of {len(sound)}",
                f"{alike} of {len(judged)}",
            ]
        )
    header = ["backend", "programs", "named right", "healthy warned about"]
    return table([*header, "judged as on PyTorch"], rows) if len(rows) > 1 else ""


def _verdict(entry: Entry) -> bool:
    """Whether a fault is named, or a healthy program warned about."""
    return is_right(entry, "ours") if entry["kind"] else bool(alarms(entry))


_TABLES = {
    "totals": totals,
    "calibration": calibration,
    "thresholds": thresholds,
    "kinds": by_kind,
    "families": by_family,
    "misses": misses,
    "left_out": left_out,
    "real": real,
}


def inserted(text: str, folder: Path = FOLDER) -> str:
    """A text with its tables as the JSONs have them.

    Args:
        text: Markdown with markers.
        folder: Where the JSONs are.

    Raises:
        ValueError: If a marker names an unknown table.
    """
    others = other_seeds(folder / "other_seeds.json")

    def fill(match: re.Match[str]) -> str:
        begin, name, half, end = match.groups()
        known = (*_TABLES, "backends")
        if name not in known:
            raise ValueError(f"A marker must name one of {known}. Received: {name}")
        entries = load(half, folder=folder)
        if name == "backends":
            written = backends(entries, others, half, folder)
        else:
            written = _TABLES[name](entries, others)
        if written and name == "totals":
            written = f"{ran(entries, half)}\n\n{written}"
        ran_there = bool(entries) and name != "backends"
        return f"{begin}{written or _EMPTY[ran_there]}\n{end}"

    return _MARKED.sub(fill, text)


def _counts(entries: list[Entry]) -> list[str]:
    cells = [
        str(sum(is_right(e, "ours") for e in entries)),
        str(sum(bool(alarms(e)) for e in entries)),
    ]
    for tool in TOOLS[1:]:
        right = sum(is_right(e, tool) for e in entries)
        warned = sum(bool(said(e, tool)) for e in entries)
        cells.append(f"{right}, {warned}")
    return cells


def _alarmed(entries: list[Entry]) -> list[str]:
    return [str(sum(bool(said(e, tool)) for e in entries)) for tool in TOOLS]


def _headers(what: str) -> list[str]:
    return [f"AUTOTRAINER: {what}", f"DeepDiagnosis: {what}"]


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} % ({part})"


def main() -> None:
    """Insert the tables, or say that they have drifted."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    before = README.read_text("utf-8")
    after = inserted(before)
    if arguments.check:
        sys.exit("README.md has drifted from the results" if before != after else 0)
    write_text(README, after)


if __name__ == "__main__":
    main()
