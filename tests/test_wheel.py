"""The wheel carries the package, nothing else, and works without the source tree."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.any_backend, pytest.mark.slow]
ROOT = Path(__file__).parents[1]

# Rooms of the repository that are packages, or might be taken for some.
NOT_CARRIED = ("benchmarks", "docs", "examples", "studies", "tests")

USE = """
import sys
sys.path.insert(0, sys.argv[1])
import keras_gradattn, keras_gradattn.datasets, keras_gradattn.training
assert keras_gradattn.__file__.startswith(sys.argv[1]), keras_gradattn.__file__
model = keras_gradattn.GradAttnV2(3, stage_filters=(4, 4), stage_blocks=(1, 1))
print(model.output_shape)
"""


def test_wheel_is_complete_and_imports(tmp_path):
    # Built from a copy: a build leaves its own folders in the tree it is given.
    source = tmp_path / "source"
    caches = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "keras_gradattn", source / "keras_gradattn", ignore=caches)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in NOT_CARRIED:
        (source / name).mkdir()
        (source / name / "__init__.py").touch()
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    subprocess.run(
        [*build, "-w", tmp_path, source], check=True, capture_output=True, cwd=tmp_path
    )

    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        carried = set(archive.namelist())
        archive.extractall(tmp_path / "installed")
    wanted = {
        path.relative_to(source).as_posix()
        for path in (source / "keras_gradattn").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert wanted <= carried, wanted - carried
    rooms = {name.split("/")[0] for name in carried}
    assert {name for name in rooms if not name.endswith(".dist-info")} == {
        "keras_gradattn"
    }
    assert any(name.endswith("/LICENSE") for name in carried)
    finished = subprocess.run(
        [sys.executable, "-c", USE, tmp_path / "installed"],
        cwd=tmp_path,
        env=os.environ,
        check=True,
        capture_output=True,
        text=True,
    )
    assert finished.stdout.splitlines()[-1] == "(None, 3)"
