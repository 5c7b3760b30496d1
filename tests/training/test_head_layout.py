"""A head divided between two devices gives the numbers of a whole one."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from keras_gradattn import training

SCRIPT = Path(__file__).with_name("head_layout_script.py")


@pytest.mark.slow
@pytest.mark.backends("jax")
def test_a_divided_head_trains_as_a_whole_one():
    root = str(SCRIPT.parents[2])
    result = subprocess.run(
        [sys.executable, str(SCRIPT)],
        env=os.environ | {"PYTHONPATH": root},
        cwd=root,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    found = json.loads(result.stdout.splitlines()[-1])
    whole, divided = found["whole"], found["divided"]

    blocks = [
        path.removeprefix("head/block1/")
        for path in divided["divided"]
        if path.startswith("head/block1/")
    ]
    assert whole["divided"] == []
    assert sorted(blocks) == [
        *("attention/key/bias", "attention/key/kernel", "attention/output/kernel"),
        *("attention/query/bias", "attention/query/kernel"),
        *("attention/value/bias", "attention/value/kernel"),
        *("contraction/kernel", "expansion/bias", "expansion/kernel"),
    ]
    assert len(divided["divided"]) == 2 * len(blocks)
    np.testing.assert_allclose(divided["loss"], whole["loss"], rtol=1e-5)
    np.testing.assert_allclose(divided["norms"], whole["norms"], rtol=1e-3)
    np.testing.assert_allclose(divided["weights"], whole["weights"], atol=1e-5)


@pytest.mark.slow
@pytest.mark.backends("jax")
def test_the_example_of_the_page_on_clusters(tmp_path):
    root = SCRIPT.parents[2]
    page = (root / "docs" / "cluster.md").read_text("utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    script = tmp_path / "divided.py"
    script.write_text(example)
    result = subprocess.run(
        [sys.executable, str(script)],
        env=os.environ | {"PYTHONPATH": str(root)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    said = result.stdout.splitlines()
    assert re.search(r"block1/expansion/kernel: \(64, 128\) of \(64, 256\)", said[-1])
    assert said[-1].endswith("on each of 2 devices")
    losses = [float(x) for x in re.findall(r" loss: ([\d.]+)", result.stdout)]
    assert losses[-1] < losses[0]


@pytest.mark.any_backend
def test_an_axis_that_the_mesh_has_not():
    class Mesh:
        axis_names = ("batch",)

    with pytest.raises(ValueError, match=r"axes \('batch',\). Received: axis='model'"):
        training.head_layout(Mesh())
