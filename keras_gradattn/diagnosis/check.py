"""`check`: what can be said before the first step."""

from collections.abc import Callable, Iterable
from typing import Any

import keras

from keras_gradattn.diagnosis.checks import (
    architecture,
    data,
    loss_and_output,
    optimizer,
    wiring,
)
from keras_gradattn.diagnosis.finding import Finding, Findings
from keras_gradattn.diagnosis.subject import Subject, data_of

Check = Callable[[Subject], Iterable[Finding]]

CHECKS: tuple[Check, ...] = (
    *data.CHECKS,
    *loss_and_output.CHECKS,
    *architecture.CHECKS,
    *optimizer.CHECKS,
    *wiring.CHECKS,
)
# Those that neither read data nor run a batch.
WITHOUT_DATA: tuple[Check, ...] = (
    architecture.no_activation,
    architecture.initial_spread,
    architecture.strong_dropout,
    *optimizer.CHECKS,
)


def check(
    model: keras.Model,
    x: Any,
    y: Any = None,
    validation_data: Any = None,
    batch_size: int = 32,
) -> Findings:
    """Look at data, model, loss and optimizer, without training.

    One batch is run through the network, forward and backward, and again with small
    changes. Weights, optimizer, BatchNorm statistics and random seeds stay as they are.
    If the model is not built, it is built.

    Args:
        model: A compiled Keras model.
        x: What `fit` would take: arrays, or a `tf.data.Dataset`,
            `keras.utils.PyDataset` or `DataLoader` of batches. Of batches the first 50
            are read at most, those of the first one's shape.
        y: Labels, if `x` are arrays. Defaults to `None`.
        validation_data: What `fit` would take. Defaults to `None`.
        batch_size: Samples in a training step, as `fit` will take them. Of batches
            it is what the first one holds. Defaults to 32.

    Returns:
        The findings. The first is the one to look at first. `not_seen` says what could
        not be judged.

    Raises:
        ValueError: If the model is not compiled, or the data cannot be read twice
            or are lists of numbers.

    Example:

    ```python
    model.compile("adam", "sparse_categorical_crossentropy")
    print(keras_gradattn.check(model, x, y).report())
    ```
    """
    if not getattr(model, "compiled", False):
        raise ValueError(
            "`check` compares the loss with labels and outputs: compile the model "
            f"first. Received: model={model.name!r}, which is not compiled"
        )
    validation = None
    if isinstance(validation_data, (tuple, list)):
        validation = data_of(*validation_data[:2])
    elif validation_data is not None:
        validation = data_of(validation_data)
    found = data_of(x, y)
    subject = Subject(model, found, validation, found.batch_size or batch_size)
    return examined(subject)


def examined(subject: Subject) -> Findings:
    """Findings of every check; one that fails is told and keeps no other back."""
    findings: list[Finding] = []
    if not subject.model.built and subject.data is not None:
        try:
            _build(subject)
        except Exception as error:
            reason = in_one_line(error)
            subject.not_seen.append(f"The model could not be built ({reason}).")
    failed: dict[str, list[str]] = {}
    for one in WITHOUT_DATA if subject.data is None else CHECKS:
        try:
            findings += list(one(subject))
        except Exception as error:
            # A network that cannot be run is still worth the checks that need no run.
            failed.setdefault(in_one_line(error), []).append(one.__name__)
    not_seen = [
        f"{', '.join(names)} could not be checked ({reason})."
        for reason, names in failed.items()
    ]
    return Findings(findings, [*subject.not_seen, *not_seen])


def in_one_line(error: Exception) -> str:
    """Type and beginning of an error, which may have no words."""
    lines = str(error).splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:200]}"


def _build(subject: Subject) -> None:
    """As the first call of `fit` would."""
    assert subject.data is not None
    first = keras.tree.map_structure(lambda a: a[:2], subject.data.x)
    subject.model(keras.tree.map_structure(keras.ops.convert_to_tensor, first))
