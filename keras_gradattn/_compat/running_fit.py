"""The `fit` that is running, found on the call stack.

Keras tells a callback neither what `fit` was given nor that it has ended with an error.
The local variables of its frame do. Seen with Keras 3.8 and 3.15: `self`, `x`, `y`,
`validation_data`, `batch_size`, `shuffle`, `epochs`, `class_weight`, `sample_weight`
and `callbacks`, which holds the list of callbacks once they are told of the beginning.
Absent: a `fit` without `epochs` is taken for a training by hand, as one that calls the
callbacks itself; any other name is `None`, which is what a `fit` over a data set shows.
"""

import inspect
from collections.abc import Iterator
from typing import Any

import keras

_READ = (
    "x",
    "y",
    "validation_data",
    "batch_size",
    "shuffle",
    "class_weight",
    "sample_weight",
    "callbacks",
)


def fits_running(model: keras.Model) -> int:
    """How many calls of this model's `fit` are on the stack."""
    return sum(1 for _ in _frames(model))


def called_by_fit(model: keras.Model, between: int) -> bool:
    """Whether `fit` itself made a call, and nothing that it called.

    Args:
        model: The model that is trained.
        between: Functions between `fit` and the one that asks here.
    """
    frame: Any = inspect.currentframe()
    for _ in range(between + 2):
        frame = None if frame is None else frame.f_back
    return _is_fit(frame, model)


def fit_arguments(model: keras.Model) -> dict[str, Any]:
    """What the innermost running `fit` was given, as it stands; empty without one."""
    for frame in _frames(model):
        found = frame.f_locals
        return {name: found.get(name) for name in _READ}
    return {}


def fit_callbacks(model: keras.Model) -> list[keras.callbacks.Callback]:
    """Callbacks of the innermost running `fit`."""
    given = fit_arguments(model).get("callbacks")
    return list(getattr(given, "callbacks", None) or ())


def _frames(model: Any) -> Iterator[Any]:
    frame = inspect.currentframe()
    while frame is not None:
        if _is_fit(frame, model):
            yield frame
        frame = frame.f_back


def _is_fit(frame: Any, model: Any) -> bool:
    return (
        frame is not None
        and frame.f_code.co_name == "fit"
        and "epochs" in frame.f_code.co_varnames
        and frame.f_locals.get("self") is model
    )
