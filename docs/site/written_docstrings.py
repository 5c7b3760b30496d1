"""Docstrings as the site shows them."""

import importlib
import importlib.util
import inspect
import os
import re
from typing import Any

import griffe

# Docstrings are the same on every backend, so any that is installed will do.
for backend in ("jax", "torch", "tensorflow"):
    if importlib.util.find_spec(backend):
        os.environ.setdefault("KERAS_BACKEND", backend)

# An example for doctest, up to the next empty line.
_PROMPTS = re.compile(r"^>>> .*(?:\n(?!\s*$|```).*)*", re.MULTILINE)
# griffe takes the words before a colon for a type; ours are sentences.
_RESULT = re.compile(r"^(Returns|Yields):\n((?:    .*\n?|\n(?=    ))+)", re.MULTILINE)


class WrittenDocstrings(griffe.Extension):
    """Reads what a class assigns to `__doc__`, and marks up examples and results."""

    def on_class(self, *, cls: griffe.Class, **kwargs: Any) -> None:
        if cls.docstring is None and "__doc__" in cls.members:
            module = importlib.import_module(cls.module.path)
            text = inspect.getdoc(getattr(module, cls.name))
            cls.docstring = griffe.Docstring(text or "", parent=cls, lineno=cls.lineno)
            del cls.members["__doc__"]

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = marked_up(obj.docstring.value)


def marked_up(text: str) -> str:
    """A docstring's text with what Markdown and griffe would misread made plain."""
    text = _RESULT.sub(_result, text)
    text = _PROMPTS.sub(lambda match: f"```pycon\n{match[0]}\n```", text)
    return re.sub(r"^(Examples?):$", r"**\1:**", text, flags=re.MULTILINE)


def _result(match: re.Match[str]) -> str:
    return f"**{match[1]}:**\n\n{inspect.cleandoc(match[2])}\n\n"
