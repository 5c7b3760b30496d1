"""Imports run one way between the package's rooms."""

import ast
from pathlib import Path

import pytest

import keras_gradattn

pytestmark = pytest.mark.any_backend
PACKAGE = Path(keras_gradattn.__file__).parent

# What each room may import of the others. What stands at the top imports anything.
MAY_IMPORT = {
    "_compat": set(),
    "datasets": set(),
    "config": {"_compat"},
    "_kernels": {"_compat", "config"},
    "layers": {"_compat", "_kernels", "config"},
    "models": {"_compat", "_kernels", "config", "layers"},
    "gradients": {"_compat", "_extras", "config"},
    "diagnosis": {"_compat", "_extras", "_whole_files", "config", "gradients"},
}
MAY_IMPORT["training"] = set(MAY_IMPORT) | {"_arguments", "_extras", "_whole_files"}
MAY_IMPORT["paper"] = MAY_IMPORT["training"] | {"training"}


def imported(path):
    """Rooms that a file imports from, inside of functions too."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        match node:
            case ast.ImportFrom(module="keras_gradattn", names=names):
                yield from (name.name for name in names)
            case ast.ImportFrom(module=str(module)):
                names = [module]
            case ast.Import(names=aliases):
                names = [alias.name for alias in aliases]
            case _:
                continue
        for name in names:
            if isinstance(name, str) and name.startswith("keras_gradattn."):
                yield name.split(".")[1]


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_those_below(room):
    files = list((PACKAGE / room).rglob("*.py")) or [PACKAGE / f"{room}.py"]
    found = {name for path in files for name in imported(path)}

    assert found - {room} <= MAY_IMPORT[room]


def test_every_room_is_listed():
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}

    assert rooms <= set(MAY_IMPORT)


def test_what_an_import_is(tmp_path):
    path = tmp_path / "a.py"
    path.write_text(
        "import keras_gradattn.models.resnet\n"
        "from keras_gradattn import config\n"
        "def late():\n    from keras_gradattn.training import run\n"
        "from keras import layers\n"
    )

    assert sorted(imported(path)) == ["config", "models", "training"]
