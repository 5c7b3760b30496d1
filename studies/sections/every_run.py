"""Every run with a link to its JSON."""

from collections.abc import Sequence
from urllib.parse import quote

from studies import table
from studies.reading import Experiment, over_seeds, top1
from studies.rounding import percent

# Folder of the runs, beside the page.
_FOLDER = "runs"


def _link(runs: list[Experiment]) -> str:
    name = runs[0]["file"]
    return f"[{name.removesuffix('.json')}]({_FOLDER}/{quote(name)})"


def _remarks(runs: list[Experiment]) -> str:
    removed = runs[0].get("removed_in", {})
    told = [f"{name} was removed in {version}" for name, version in removed.items()]
    short = "short" if runs[0]["short"] else ""
    return ", ".join(filter(None, [short, *runs[0].get("remarks", []), *told]))


_COLUMNS: table.Columns = {
    "run": _link,
    "test accuracy %": lambda runs: over_seeds(top1(runs)),
    "calibration error %": lambda runs: over_seeds(
        percent([runs[0]["metrics"]["expected_calibration_error"]])
    ),
    "epochs (best)": lambda runs: f"{runs[0]['epochs_run']} ({runs[0]['best_epoch']})",
    "minutes": lambda runs: f"{runs[0]['training_seconds'] / 60:.0f}",
    "on": lambda runs: f"{runs[0]['backend']}, {hardware(runs[0])}",
    "remarks": _remarks,
}


def hardware(experiment: Experiment) -> str:
    """What a run was computed on."""
    found = experiment["hardware"]
    cores = found["cpu_cores"]
    return found["accelerator"] or f"{cores} CPU core{'s' if cores > 1 else ''}"


def text(experiments: Sequence[Experiment]) -> str:
    """The table."""
    return table.section("Every run", table.tabulate(_COLUMNS, table.each(experiments)))
