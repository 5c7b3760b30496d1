"""Which variables are measured: `include=` and `exclude=`."""

import dataclasses
import fnmatch
from collections.abc import Iterable
from typing import Any

import keras

from keras_gradattn.gradients.depth_groups import suggestion

# Patterns of paths, or variables; one or several.
Names = Any


@dataclasses.dataclass(frozen=True)
class Selection:
    """Variables by pattern of their path, or by themselves.

    Attributes:
        include: Patterns and identities of which one must fit; `None` for all.
        exclude: Patterns and identities of which none may fit.
    """

    include: tuple[str | int, ...] | None
    exclude: tuple[str | int, ...]

    def __call__(self, variable: keras.Variable) -> bool:
        if self.include is not None and not _fits(variable, self.include):
            return False
        return not _fits(variable, self.exclude)

    def check(self, variables: list[keras.Variable]) -> None:
        """Raise where a pattern fits no variable, or none is left.

        Raises:
            ValueError: With the pattern, and the nearest path.
        """
        paths = sorted(v.path for v in variables)
        for argument in ("include", "exclude"):
            for pattern in getattr(self, argument) or ():
                if any(_fits(v, (pattern,)) for v in variables):
                    continue
                what = pattern if isinstance(pattern, str) else "a variable"
                raise ValueError(
                    f"`{argument}` must name variables that the model trains, by "
                    "pattern of their path or by themselves. "
                    f"Received: {what!r}{suggestion(str(what), paths)}"
                )
        if variables and not any(map(self, variables)):
            raise ValueError(
                "`include` and `exclude` leave no variable to measure. "
                f"Received: include={self.include}, exclude={self.exclude}"
            )


def selection(include: Names, exclude: Names) -> Selection | None:
    """The arguments as a `Selection`; `None` where everything is measured."""
    if include is None and not exclude:
        return None
    return Selection(
        None if include is None else _patterns("include", include),
        _patterns("exclude", exclude or ()),
    )


def _patterns(argument: Any, names: Any) -> Any:
    if isinstance(names, (str, keras.Variable)) or not isinstance(names, Iterable):
        names = (names,)
    given, names = names, tuple(names)
    if not all(isinstance(name, (str, keras.Variable)) for name in names):
        raise ValueError(
            f"`{argument}` takes patterns of variable paths, or variables. "
            f"Received: {argument}={given[0] if len(names) == 1 else given!r}"
        )
    return tuple(name if isinstance(name, str) else id(name) for name in names)


def _fits(variable: Any, patterns: Any) -> Any:
    return any(
        pattern == id(variable)
        if isinstance(pattern, int)
        else _path_fits(variable.path, pattern)
        for pattern in patterns
    )


def _path_fits(path: Any, pattern: Any) -> Any:
    """Whole paths, the names of layers on the way, or shell patterns of either."""
    parts = path.split("/")
    return (
        fnmatch.fnmatchcase(path, pattern)
        or path.startswith(f"{pattern}/")
        or any(fnmatch.fnmatchcase(part, pattern) for part in parts)
    )
