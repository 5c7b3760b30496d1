"""Importing, making and training change nothing that is not the package's own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("side_effects_script.py")


@pytest.mark.slow
def test_training_leaves_the_process_as_it_was():
    done = subprocess.run(
        [sys.executable, str(SCRIPT)],
        capture_output=True,
        text=True,
        cwd=SCRIPT.parent.parent,
        env=None,
    )

    assert done.returncode == 0, done.stderr
    changed = json.loads(done.stdout.splitlines()[-1])
    assert changed == {}
