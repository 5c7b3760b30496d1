"""The tree is as ruff wants it."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.any_backend
ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("check", [["check"], ["format", "--check"]])
def test_ruff(check):
    finished = subprocess.run(
        [sys.executable, "-m", "ruff", *check, "."],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert finished.returncode == 0, finished.stdout
