"""The example trains, reads its pathways, freezes and draws them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.any_backend, pytest.mark.slow]
EXAMPLE = Path(__file__).parents[2] / "examples" / "pathways.py"


def test_example_shows_which_depth_feeds_which_block(tmp_path):
    size = ["--filters", "4", "8", "--blocks", "1", "2"]
    effort = ["--epochs", "1", "--limit", "40", "--folder", tmp_path]
    finished = subprocess.run(
        [sys.executable, EXAMPLE, *size, *effort],
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )

    assert finished.returncode == 0, finished.stderr[-3000:]
    assert "(batch, target, group, source): (40, 3, 4, 5)" in finished.stdout
    moved = re.findall(r"([0-9.]+) % of its weight moves", finished.stdout)
    assert len(moved) == 3
    for kind in ("following the image", "frozen to the mean"):
        assert f"weights {kind}: " in finished.stdout
    picture = tmp_path / "digits_pathways.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
