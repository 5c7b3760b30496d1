"""Run a short core of the tests in an environment of its own: oldest, pinned, newest.

python tests/versions.py oldest [--backends jax,tensorflow] [--python python3.10]
                                [pytest arguments ...]
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from run import BACKENDS, OUTCOMES, ROOT, TWO_WORKERS, run, selection

# What pip may choose from; without a file, the newest of everything.
CONSTRAINTS = {
    "oldest": ("-c", "constraints-oldest.txt"),
    "pinned": ("-c", "constraints.txt"),
    "newest": (),
}
# Parity, the recorder, saving and loading, one fit. None of them needs PyTorch beside
# another backend.
CORE = (
    "tests/models/test_parity.py",
    "tests/models/test_golden.py",
    "tests/models/test_networks.py::test_training_lowers_the_loss",
    "tests/gradients/test_exactness.py",
    "tests/gradients/test_saving.py",
    "tests/layers/test_contract.py",
)
EXTRAS = ("data", "plots", "tables")
TOOLS = ("hypothesis", "pytest", "pytest-xdist")


def install(python: str, folder: str, name: str, backends: list[str]) -> str:
    """Make a virtual environment with the package's own requirements.

    Returns:
        Its interpreter.
    """
    subprocess.run([python, "-m", "venv", folder], check=True)
    inside = Path(folder, "Scripts" if os.name == "nt" else "bin", "python")
    pip = [inside, "-m", "pip", "install", "--quiet", *CONSTRAINTS[name]]
    package = f".[{','.join((*backends, *EXTRAS))}]"
    subprocess.run([*pip, package, *TOOLS], cwd=ROOT, check=True)
    # Tests run from the tree, which comes first in `sys.path`.
    return str(inside)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=CONSTRAINTS)
    parser.add_argument("--backends", default=",".join(BACKENDS))
    parser.add_argument("--python", default=sys.executable)
    chosen, arguments = parser.parse_known_args()
    backends = chosen.backends.split(",")
    if unknown := set(backends) - set(BACKENDS):
        parser.error(f"--backends takes some of {BACKENDS}. Received: {unknown}")
    if chosen.name == "oldest":
        # JAX 0.4.35 crashes in CPU programs that it reads back from this cache.
        os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"
    totals = dict.fromkeys(OUTCOMES, 0)
    with tempfile.TemporaryDirectory(prefix=f"{chosen.name}-") as folder:
        python = install(chosen.python, folder, chosen.name, backends)
        for index, backend in enumerate(backends):
            selected = selection(not index, fast=False, outside=False)
            counts = run(backend, [*TWO_WORKERS, *CORE, *selected, *arguments], python)
            for outcome, count in counts.items():
                totals[outcome] += count
    failed = totals["failed"] + totals["errors"] + totals["xpassed"]
    skipped = totals["skipped"] + totals["xfailed"]
    print(f"{chosen.name}: {totals['passed']} passed, {failed} failed", end="")
    print(f", {skipped} skipped" if skipped else "")
    return 1 if failed or not totals["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
