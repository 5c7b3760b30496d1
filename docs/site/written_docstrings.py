"""Docstrings that the code puts together when it is imported."""

import importlib
import inspect
from typing import Any

import griffe


class WrittenDocstrings(griffe.Extension):
    """Reads the docstring of a class that assigns `__doc__` from the class itself."""

    def on_class(self, *, cls: griffe.Class, **kwargs: Any) -> None:
        if cls.docstring is None and "__doc__" in cls.members:
            module = importlib.import_module(cls.module.path)
            text = inspect.getdoc(getattr(module, cls.name))
            cls.docstring = griffe.Docstring(text or "", parent=cls, lineno=cls.lineno)
            del cls.members["__doc__"]
