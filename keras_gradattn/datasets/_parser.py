"""A parser of command lines that answers in one sentence."""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from keras_gradattn.datasets._names import suggestion

# What a shell expects of a command that was called wrongly.
MISUSE = 2

_KINDS = {"int": "a whole number", "float": "a number"}


class Parser(argparse.ArgumentParser):
    """A parser that says in one sentence what was received and what is possible."""

    def __init__(self, **options: Any):
        # A beginning of an option is no option: it would change its meaning with the
        # next one that is added.
        self.options: list[str] = []
        super().__init__(**options, allow_abbrev=False)

    def add_argument(self, *names: Any, **settings: Any) -> argparse.Action:
        """Add an argument, and know its names."""
        action = super().add_argument(*names, **settings)
        self.options += action.option_strings
        return action

    def error(self, message: str) -> NoReturn:
        """End with a sentence and 2."""
        self.exit(MISUSE, f"{self._sentence(message)}\n")

    def refuse_unknown(self, unknown: Sequence[str]) -> None:
        """End where words were left that belong to no option."""
        if not unknown:
            return
        word = unknown[0].partition("=")[0]
        known = self.options
        near = suggestion(word, known) if word.startswith("-") else ""
        self.exit(
            MISUSE,
            f"{self.prog} has no such argument.{near} Known: {', '.join(known)}. "
            f"Received: {unknown[0]!r}\n",
        )

    def _sentence(self, message: str) -> str:
        for pattern, sentence in _SENTENCES:
            if found := re.fullmatch(pattern, message, re.DOTALL):
                return sentence(self, *found.groups())
        if "Received: " in message:
            return message.removeprefix("argument ").replace(": ", " ", 1)
        return f"{message.removeprefix('argument ')} (see {self.prog} --help)"


def _choice(parser: Parser, name: str, value: str, choices: str) -> str:
    known = [choice.strip("' ") for choice in choices.split(",")]
    near = suggestion(value, known)
    return f"{name} should be one of {', '.join(known)}.{near} Received: {value!r}"


def _kind(parser: Parser, name: str, kind: str, value: str) -> str:
    what = _KINDS.get(kind, kind)
    return f"{name} should be {what}. Received: {value!r}"


def _missing(parser: Parser, names: str) -> str:
    given = " ".join(sys.argv[1:])
    return f"{parser.prog} needs {names}. Received: {given or 'nothing'!r}"


def _no_value(parser: Parser, name: str, wanted: str) -> str:
    return f"{name} needs {wanted.replace('argument', 'value')}. Received: none"


_SENTENCES: tuple[tuple[str, Callable[..., str]], ...] = (
    (r"argument (.+?): invalid choice: '?(.*?)'? \(choose from (.+)\)", _choice),
    (r"argument (.+?): invalid (\w+) value: '(.*)'", _kind),
    (r"the following arguments are required: (.+)", _missing),
    (r"argument (.+?): expected (.+)", _no_value),
)
