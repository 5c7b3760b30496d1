"""A trained network as one file that knows its preprocessing and its classes."""

import dataclasses
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from keras_gradattn.datasets.image_files import Reading
from keras_gradattn.datasets.specs import DatasetSpec
from keras_gradattn.models.image_classifier import ImageClassifier

# Beside Keras' own entries in the archive, which Keras leaves alone.
_ENTRY = "keras_gradattn.json"


@dataclasses.dataclass(frozen=True)
class SavedModel:
    """A network that takes images as they are stored.

    Args:
        model: Takes images (batch, size, size, channels) in units of 0 to 255 and gives
            probabilities.
        class_names: Names of its outputs.
        reading: How image files become its input.

    Example:

    ```python
    saved = training.load_model("photos.keras")
    saved.model.predict(images)  # 0 to 255
    ```
    """

    model: keras.Model
    class_names: tuple[str, ...]
    reading: Reading


def save_model(
    network: keras.Model,
    spec: DatasetSpec,
    path: str | os.PathLike[str],
    *,
    from_logits: bool = True,
) -> None:
    """Save a trained network for use without the training code.

    The saved model takes images in units of 0 to 255, normalises them by itself and
    gives probabilities. The file is Keras' own: `keras.saving.load_model` reads it, and
    `load_model` of this module also gives class names and preprocessing back.

    You can share it on the Hugging Face Hub, which needs `pip install huggingface_hub`
    and a login. Read the file with `keras.saving.load_model(path)`, and write
    `model.save("hf://me/photos")`. `keras.saving.load_model("hf://me/photos")` reads it
    again. Keras stores only its own entries there. Networks of this package keep their
    class names in this way. Of any other network upload the file itself, with
    `huggingface_hub.upload_file`.

    Args:
        network: A trained network that takes normalised images.
        spec: The data set it was trained on.
        path: The file, ending in `.keras`.
        from_logits: Whether the network gives logits, not probabilities. Defaults to
            `True`.

    Example:

    ```python
    training.save_model(network, splits.spec, "photos.keras")
    ```
    """
    _for_raw_images(network, spec, from_logits).save(path)
    content = {
        "dataset": spec.name,
        "class_names": list(spec.class_names),
        "reading": dataclasses.asdict(spec.reading),
    }
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(_ENTRY, json.dumps(content, indent=1))


def load_model(path: str | os.PathLike[str]) -> SavedModel:
    """Read a saved model with what it knows.

    Args:
        path: A file of `save_model`; or any `.keras` file of an image classifier that
            takes images in units of 0 to 255, of one known size.

    Returns:
        A `SavedModel`. Without names, classes are called 0, 1, ...

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no `.keras` file, or takes no images of one known size.

    Example:

    ```python
    training.load_model("photos.keras").class_names
    ```
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no such model. Received: {str(path)!r}")
    if not zipfile.is_zipfile(path):
        raise ValueError(
            f"A saved model is a .keras file, whole. Received: {str(path)!r}"
        )
    try:
        model = keras.saving.load_model(path, compile=False)
    except (TypeError, ValueError, KeyError) as error:
        raise ValueError(
            f"Keras cannot read this model. Received: {str(path)!r}: "
            f"{' '.join(str(error).split())}"
        ) from error
    with zipfile.ZipFile(path) as archive:
        if _ENTRY in archive.namelist():
            content = json.loads(archive.read(_ENTRY))
            return SavedModel(
                model,
                tuple(content["class_names"]),
                _reading(content["reading"]),
            )
    size, channels = _input_of(model, path)
    names = getattr(model, "class_names", None) or range(model.output_shape[-1])
    return SavedModel(model, tuple(map(str, names)), Reading(size, channels))


def _reading(content: Mapping[str, Any]) -> Reading:
    low, high = content["levels"]
    return Reading(**{**content, "levels": (low, high)})


def _input_of(model: keras.Model, path: Path) -> tuple[int, int]:
    shape = model.input_shape
    if not isinstance(shape, tuple) or len(shape) != 4 or shape[1] != shape[2]:
        shape = (None, None, None, None)
    if shape[1] is None or shape[3] is None:
        raise ValueError(
            "A model without notes on its preprocessing should take square images of "
            f"one size. Received: {str(path)!r} with input {model.input_shape}"
        )
    return shape[1], shape[3]


def _for_raw_images(
    network: keras.Model, spec: DatasetSpec, from_logits: bool
) -> keras.Model:
    if isinstance(network, ImageClassifier):
        arguments = network.get_config()
        if arguments["normalization"] is None:
            arguments["normalization"] = (spec.mean, spec.std)
            arguments["class_names"] = list(spec.class_names)
            if from_logits:
                arguments["classifier_activation"] = "softmax"
            copy: keras.Model = type(network).from_config(arguments)
            copy.set_weights(network.get_weights())
            return copy
    images = keras.Input(spec.input_shape, name="images")
    outputs = network(
        keras.layers.Normalization(
            mean=[255 * value for value in spec.mean],
            variance=[(255 * value) ** 2 for value in spec.std],
            dtype="float32",
            name="normalization",
        )(images)
    )
    if from_logits:
        outputs = keras.layers.Softmax(dtype="float32", name="probabilities")(outputs)
    return keras.Model(images, outputs, name=network.name)
