"""The head on KerasHub's and KerasCV's backbones, as the example shows it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.any_backend, pytest.mark.slow]
EXAMPLE = Path(__file__).parents[2] / "examples" / "backbones.py"


@pytest.mark.parametrize("source", ["keras.applications", "KerasHub", "KerasCV"])
def test_example_trains_and_prints_attention_by_depth(source):
    finished = subprocess.run(
        [sys.executable, EXAMPLE, "--source", source, "--steps", "1"],
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )

    assert finished.returncode == 0, finished.stderr
    line = finished.stdout.splitlines()[-1]
    assert line.startswith(source)
    shares = [float(share) for share in line.split("attention by depth:")[1].split()]
    assert len(shares) >= 3
    assert abs(sum(shares) - 1) < 0.02
