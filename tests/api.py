"""The public surface: every name, its signature, its public methods.

python -m tests.api > tests/api.txt
"""

import importlib
import inspect
import os
from collections.abc import Iterator
from typing import Any

ROOMS = (
    "keras_gradattn",
    "keras_gradattn.config",
    "keras_gradattn.datasets",
    "keras_gradattn.datasets.augmentation",
    "keras_gradattn.diagnosis",
    "keras_gradattn.gradients",
    "keras_gradattn.gradients.writers",
    "keras_gradattn.layers",
    "keras_gradattn.models",
    "keras_gradattn.paper",
    "keras_gradattn.training",
)


def lines() -> list[str]:
    """One line for each public name and each public method, sorted."""
    return sorted({line for room in ROOMS for line in _of_room(room)})


def documented_names() -> dict[str, Any]:
    """Functions, classes, methods and properties that want a docstring, by name.

    A name that two rooms share occurs once.
    """
    found: dict[str, Any] = {}
    seen: set[int] = set()
    for room in ROOMS:
        module = importlib.import_module(room)
        for name in getattr(module, "__all__", _own_names(module)):
            thing = getattr(module, name)
            plain = inspect.isclass(thing) or inspect.isroutine(thing)
            if not plain or id(thing) in seen:
                continue
            seen.add(id(thing))
            found[name] = thing
            if inspect.isclass(thing):
                found |= {
                    f"{name}.{method}": getattr(value, "__func__", value)
                    for method, value in vars(thing).items()
                    if not method.startswith("_")
                    and (isinstance(value, property) or _is_method(value))
                }
    return found


def _is_method(value: Any) -> bool:
    return inspect.isroutine(value) or isinstance(value, classmethod | staticmethod)


def _of_room(room: str) -> Iterator[str]:
    module = importlib.import_module(room)
    for name in getattr(module, "__all__", _own_names(module)):
        thing = getattr(module, name)
        yield f"{room}.{name}{_signature(thing)}"
        if inspect.isclass(thing):
            for method, value in vars(thing).items():
                if method.startswith("_"):
                    continue
                if isinstance(value, property):
                    yield f"{room}.{name}.{method}"
                elif callable(value) or isinstance(value, classmethod | staticmethod):
                    bound = getattr(thing, method)
                    yield f"{room}.{name}.{method}{_signature(bound)}"


def _own_names(module: Any) -> list[str]:
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and getattr(value, "__module__", None) == module.__name__
    ]


def _signature(thing: Any) -> str:
    if inspect.ismodule(thing) or not callable(thing):
        return ""
    try:
        signature = inspect.signature(thing)
    except ValueError:
        return "(...)"
    # Annotations are mypy's business, and read differently from version to version.
    plain = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    return str(signature.replace(parameters=plain, return_annotation=signature.empty))


if __name__ == "__main__":
    os.environ.setdefault("KERAS_BACKEND", "jax")
    print("\n".join(lines()))
