"""Names that other projects call private appear in `_compat/` alone."""

import ast
import importlib
import inspect
import pkgutil
from pathlib import Path

import keras
import pytest

import keras_gradattn

pytestmark = pytest.mark.any_backend

PACKAGE = Path(keras_gradattn.__file__).parent
FILES = [
    path
    for path in sorted(PACKAGE.rglob("*.py"))
    if "_compat" not in path.relative_to(PACKAGE).parts
]
OTHERS = ("keras", "jax", "jaxlib", "tensorflow", "torch", "numpy")
# Modules that their owners do not document.
PRIVATE_MODULES = (
    "keras.src",
    "tensorflow.compiler",
    "tensorflow.python",
    "jaxlib",
    "torch.fx.experimental",
)
# Names without an underscore that their owners do not document, and the way to local
# variables of their functions.
UNDOCUMENTED = {"native_batch_norm", "f_locals", "f_back"}
# What `collections.namedtuple` documents, for lack of another place for public names.
OF_NAMED_TUPLES = {"_asdict", "_fields", "_make", "_replace"}


def is_private(name):
    return name.startswith("_") and not name.startswith("__") and name != "_"


def defined_in(tree):
    """Private names that a file gives to something of ours."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Name(id=name, ctx=ast.Store()):
                yield name
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name) if (
                isinstance(node.ctx, ast.Store)
            ):
                yield name
            # Past the tracking of Keras and PyTorch.
            case ast.Subscript(
                value=ast.Attribute(attr="__dict__"),
                slice=ast.Constant(value=str(name)),
                ctx=ast.Store(),
            ):
                yield name
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="object"), attr="__setattr__"),
                args=[_, ast.Constant(value=str(name)), _],
            ):
                yield name


def modules_of_ours(tree):
    return {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").startswith("keras_gradattn")
        for alias in node.names
    }


def names_of_theirs():
    """Private names that objects of Keras have, which ours may have as well."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.BatchNormalization()])
    model.compile(keras.optimizers.Adam(use_ema=True))
    model.optimizer.build(model.trainable_variables)
    functional = keras.Model(model.inputs, model.outputs)
    things = (
        model,
        functional,
        model.layers[0],
        model.optimizer,
        model.weights[0],
        keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD()),
        keras.callbacks.Callback(),
        keras.metrics.Mean(),
    )
    return {name for thing in things for name in dir(thing) if is_private(name)}


THEIRS = names_of_theirs()
TREES = {path: ast.parse(path.read_text()) for path in FILES}
OURS = {name for tree in TREES.values() for name in defined_in(tree)}
# Rooms and files: `keras_gradattn.gradients._ring` as a name or in a string.
OURS |= {path.stem for path in FILES} | {path.parent.name for path in FILES}


def violations(tree, ours=OURS, theirs=THEIRS):
    """What a file takes from others that is theirs alone."""
    modules = modules_of_ours(tree)
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=owner, attr=name) if is_private(name):
                said = ast.unparse(owner)
                may_be_theirs = said not in ("self", "cls") and said not in modules
                if name not in OF_NAMED_TUPLES and (
                    name not in ours or (may_be_theirs and name in theirs)
                ):
                    yield f"{said}.{name}"
            case ast.Attribute(value=owner, attr=name) if name in UNDOCUMENTED:
                yield f"{ast.unparse(owner)}.{name}"
            case ast.ImportFrom(module=module, names=names) if module and (
                module.split(".")[0] != "keras_gradattn"
            ):
                for name in [module, *(f"{module}.{alias.name}" for alias in names)]:
                    if is_private_path(name):
                        yield f"from {module} import {name}"
            case ast.Import(names=names):
                yield from (
                    f"import {alias.name}"
                    for alias in names
                    if is_private_path(alias.name)
                )
            case ast.Call(
                func=ast.Name(id="getattr" | "hasattr" | "setattr" | "delattr")
                | ast.Attribute(attr="_set"),
                args=[_, ast.Constant(value=str(text)), *_],
            ) if is_private(text) and text not in ours | OF_NAMED_TUPLES:
                yield repr(text)


def is_private_path(path):
    return any(is_private(part) for part in path.split(".")) or path.startswith(
        tuple(PRIVATE_MODULES)
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_takes_nothing_private_from_others(path):
    found = sorted(set(violations(TREES[path])))

    assert not found, f"Give `_compat/` a function for: {found}"


@pytest.mark.parametrize(
    "line",
    [
        "layer._flatten_layers()",
        "super()._backend_update_step(x)",
        "self._reduction_axes",
        "optimizer.inner._variables[0]",
        "getattr(model, '_inputs_struct', None)",
        "from keras.src import layers",
        "from torch.nn.modules.module import _global_forward_hooks",
        "import jax._src.core",
        "torch._foreach_norm(x)",
        "torch.native_batch_norm(x)",
        "from torch.fx.experimental.proxy_tensor import make_fx",
        "frame.f_locals['self']",
    ],
)
def test_the_search_finds(line):
    assert list(violations(ast.parse(line), ours={"_variables"}))


@pytest.mark.parametrize(
    "line",
    [
        "self._ours",
        "row._replace(x=1)",
        "from keras_gradattn.gradients import _ours\n_ours._ours",
        "theirs._ours",
        "x.__dict__",
        "from keras import layers",
    ],
)
def test_the_search_leaves_alone(line):
    assert not list(violations(ast.parse(line), ours={"_ours"}))


def classes_of_ours():
    for module in pkgutil.walk_packages([str(PACKAGE)], "keras_gradattn."):
        # Builders need tensorflow_datasets, and a command line ends the process.
        if module.name.endswith(("_dataset_builder", "__main__", "_replica")):
            continue
        if "._compat" in module.name:
            continue
        for _, found in inspect.getmembers(
            importlib.import_module(module.name), inspect.isclass
        ):
            if found.__module__ == module.name:
                yield found


def test_no_class_overrides_a_private_name_of_its_base():
    found = [
        f"{cls.__module__}.{cls.__name__}.{name}"
        for cls in classes_of_ours()
        for name in vars(cls)
        if is_private(name)
        for base in cls.__mro__[1:]
        if base.__module__.split(".")[0] in OTHERS and name in vars(base)
    ]

    assert not [name for name in found if not name.endswith("._abc_impl")]
