"""The example trains, measures and draws."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.any_backend, pytest.mark.slow]
EXAMPLE = Path(__file__).parents[2] / "examples" / "gradient_flow.py"


def test_example_draws_gradient_by_depth(tmp_path):
    size = ["--depths", "18", "--filters", "4", "4", "8", "8"]
    effort = ["--steps", "2", "--batch-size", "4"]
    arguments = [*size, *effort, "--folder", tmp_path]
    finished = subprocess.run(
        [sys.executable, EXAMPLE, *arguments],
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    for kind in ("plain", "residual", "GradAttn"):
        line = f"{kind}, depth 18: gradient at the first over the last convolution"
        assert line in finished.stdout
    assert "Gradient flow of 'MobileNetV2'" in finished.stdout
    for picture in ("gradient_flow.png", "mobilenet_v2.png"):
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")
