"""Everything a run needs to go on as if nothing had happened, in one file."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_gradattn._whole_files import replace_file
from keras_gradattn.gradients.depth_groups import inner_model

# In the folder of a run.
FILE_NAME = "checkpoint.npz"
_FORMAT = 2


def training_variables(model: keras.Model) -> list[keras.Variable]:
    """Weights, seed generators and optimizer state of a compiled model, in order.

    Taken before callbacks install variables of their own (the gradient recorder's
    ring), which are no part of the training's state.
    """
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    # Images on the device are no part of it either.
    return [*inner_model(model).variables, *model.optimizer.variables]


def values(variables: Sequence[keras.Variable]) -> list[np.ndarray]:
    """Copies of the variables' values."""
    # bfloat16 has no NumPy file format; float32 holds it exactly.
    arrays = [np.array(keras.ops.convert_to_numpy(v)) for v in variables]
    return [a.astype("float32") if a.dtype.name == "bfloat16" else a for a in arrays]


def assign(variables: list[keras.Variable], arrays: list[np.ndarray]) -> None:
    """Put values back."""
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)


def save(path: Path, groups: dict[str, list[np.ndarray]], state: Any) -> None:
    """Write groups of arrays and a JSON state, atomically, into one file.

    One file, because a kill between two would leave weights and state of different
    epochs.
    """
    arrays: dict[str, Any] = {
        f"{group}/{index:05d}": array
        for group, members in groups.items()
        for index, array in enumerate(members)
    }
    text = json.dumps({"format": _FORMAT, "state": state})
    arrays["json"] = np.frombuffer(text.encode(), "uint8")
    replace_file(path, lambda file: np.savez(file, **arrays))


def load(path: Path) -> tuple[dict[str, list[np.ndarray]], Any]:
    """Read what `save` wrote.

    Raises:
        ValueError: If the file is damaged or of another format.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            content = json.loads(archive["json"].tobytes())
            groups: dict[str, list[np.ndarray]] = {}
            for key in sorted(set(archive.files) - {"json"}):
                groups.setdefault(key.split("/")[0], []).append(archive[key])
    except Exception as error:
        raise ValueError(
            f"{path} cannot be read. Delete its folder to start this experiment from "
            f"the beginning. Received: {error}"
        ) from error
    if content["format"] != _FORMAT:
        raise ValueError(
            f"{path} was written by another version of this package. Delete its "
            "folder to start this experiment from the beginning. "
            f"Received: format {content['format']}, expected {_FORMAT}"
        )
    return groups, content["state"]
