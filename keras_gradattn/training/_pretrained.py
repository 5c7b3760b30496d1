"""Networks of Keras Applications and KerasHub, fitted to a data set's images."""

import inspect
import re
import types
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_gradattn.datasets._names import suggestion
from keras_gradattn.datasets.specs import DatasetSpec

CLASSIFIER = "classifier"
# Letters of somebody else's words within a sentence of ours.
_LONGEST = 160
# Arguments of a network in `keras.applications` that say what it is used for.
_DECIDED = (
    "include_top",
    "input_tensor",
    "input_shape",
    "pooling",
    "classes",
    "classifier_activation",
)


def application(
    name: str, spec: DatasetSpec, weights: str | None = None, **options: Any
) -> keras.Model:
    """A network of `keras.applications` with a new classifier.

    Args:
        name: Such as `"ResNet50"`.
        spec: The data set.
        weights: `None`, `"imagenet"` (downloaded where Keras has not got them yet), or
            a file of weights without the top.
        **options: Further arguments of its constructor.

    Returns:
        A Functional model that takes normalised images and gives logits.

    Raises:
        ValueError: If there is no such network; the nearest is suggested.
    """
    constructor, preprocess = application_named(name)
    inputs = keras.Input(spec.input_shape, name="images")
    images = _as_preprocessed(inputs, spec, preprocess)
    try:
        backbone = constructor(
            include_top=False,
            weights=weights,
            input_tensor=images,
            pooling="avg",
            **options,
        )
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{name} cannot be made for images of shape {spec.input_shape} "
            f"({reason_of(error)}). "
            f"Received: model_options={dict(options, weights=weights)}"
        ) from error
    outputs = keras.layers.Dense(spec.num_classes, name=CLASSIFIER)(backbone.output)
    return keras.Model(inputs, outputs, name=name.lower())


def hub_preset(
    name: str, spec: DatasetSpec, load_weights: bool = True, **options: Any
) -> keras.Model:
    """A backbone of KerasHub with a new classifier.

    Args:
        name: A preset, such as `"resnet_18_imagenet"`, or the folder of one.
        spec: The data set.
        load_weights: Whether to begin with the preset's weights.
        **options: Further arguments of `from_preset`.

    Returns:
        A Functional model that takes normalised images and gives logits.

    Raises:
        ImportError: If KerasHub is not installed.
        ValueError: If the backbone's outputs are no feature maps or tokens.
    """
    check_preset(name)
    import keras_hub

    try:
        backbone = keras_hub.models.Backbone.from_preset(
            name, load_weights=load_weights, **options
        )
    except (ValueError, TypeError, FileNotFoundError) as error:
        raise ValueError(
            f"KerasHub cannot make this network ({reason_of(error)}). "
            f"Received: model='keras_hub:{name}'"
        ) from error
    except OSError as error:
        raise OSError(
            f"The preset could not be downloaded ({type(error).__name__}). "
            f"Received: model='keras_hub:{name}'"
        ) from error
    try:
        converter = keras_hub.layers.ImageConverter.from_preset(name)
        scale, offset = converter.scale, converter.offset
    except (ValueError, FileNotFoundError):
        # The preset has no preprocessing of its own.
        scale, offset = 1 / 255, 0.0
    scale = 1.0 if scale is None else scale
    offset = 0.0 if offset is None else offset
    inputs = keras.Input(spec.input_shape, name="images")
    features = backbone(
        _as_preprocessed(inputs, spec, lambda x: x * np.array(scale) + np.array(offset))
    )
    if len(features.shape) == 4:
        features = keras.layers.GlobalAveragePooling2D(name="pooling")(features)
    elif len(features.shape) == 3:
        features = keras.layers.GlobalAveragePooling1D(name="pooling")(features)
    else:
        raise ValueError(
            f"A backbone should give feature maps or tokens. Received: {name}, whose "
            f"outputs have shape {tuple(features.shape)}"
        )
    outputs = keras.layers.Dense(spec.num_classes, name=CLASSIFIER)(features)
    return keras.Model(inputs, outputs, name=str(backbone.name))


def application_named(name: str) -> tuple[Any, Any]:
    """A constructor of `keras.applications`, and what it is fed through.

    Args:
        name: Such as `"ResNet50"`.

    Raises:
        ValueError: If there is no such network; the nearest is suggested.
    """
    constructors = _applications()
    if name not in constructors:
        raise ValueError(
            f"There is no such network in keras.applications."
            f"{suggestion(name, constructors)} Known: {', '.join(constructors)}. "
            f"Received: {name!r}"
        )
    return constructors[name]


def check_application(name: str, options: Iterable[str]) -> None:
    """Find out whether `application` can make a network.

    Args:
        name: Such as `"ResNet50"`.
        options: Names of the arguments beside.

    Raises:
        ValueError: If there is no such network or argument; the nearest is suggested.
    """
    constructor, _ = application_named(name)
    known = [n for n in inspect.signature(constructor).parameters if n not in _DECIDED]
    for option in options:
        if option not in known:
            raise ValueError(
                f"{name} has no such option here.{suggestion(option, known)} "
                f"Known: {', '.join(known)}. Received: {option!r}"
            )


def check_preset(name: str) -> None:
    """Find out, without a download, whether KerasHub may know a network.

    Args:
        name: A preset, the address of one (`hf://...`), or a folder.

    Raises:
        ImportError: If KerasHub is not installed.
        ValueError: If it is none of the three; the nearest preset is suggested.
    """
    try:
        import keras_hub
    except ImportError:
        raise ImportError(
            "Networks of KerasHub need it: pip install keras-hub. "
            f"Received: model='keras_hub:{name}'"
        ) from None
    presets = keras_hub.models.Backbone.presets
    is_place = "://" in name or (name and Path(name).is_dir())
    if name not in presets and not is_place:
        raise ValueError(
            f"KerasHub has no such preset.{suggestion(name, presets)} A folder with a "
            "preset or an address such as hf://name/model is possible too. "
            f"Received: model='keras_hub:{name}'"
        )


def reason_of(error: Exception) -> str:
    """The first sentence of an error, in words that fit into another one.

    Keras puts which layer was called in front of what a backend said, in colour.
    """
    words = " ".join(re.sub(r"\x1b\[\d*m", "", str(error)).split())
    words = re.sub(r"^Exception encountered when calling \S+ ", "", words)
    sentence = words.partition(". ")[0].rstrip(".")
    # Some show a whole tensor.
    return sentence if len(sentence) <= _LONGEST else f"{sentence[:_LONGEST]} ..."


def _applications() -> dict[str, tuple[Any, Any]]:
    """Name -> constructor, and what it is fed through."""
    found: dict[str, tuple[Any, Any]] = {}
    for module in vars(keras.applications).values():
        preprocess = getattr(module, "preprocess_input", None)
        if not isinstance(module, types.ModuleType) or preprocess is None:
            continue
        for name, constructor in vars(module).items():
            if hasattr(keras.applications, name) and callable(constructor):
                found[name] = (constructor, preprocess)
    return dict(sorted(found.items()))


def _as_preprocessed(inputs: Any, spec: DatasetSpec, preprocess: Any) -> Any:
    """From normalised images to what a pretrained network was fed with."""
    images = inputs
    if spec.channels == 1:
        images = keras.layers.Concatenate(name="grey_to_colour")([images] * 3)
    elif spec.channels != 3:
        raise ValueError(
            "Pretrained networks take grey or colour images. "
            f"Received: {spec.title} with {spec.channels} channels"
        )
    mean, std = (
        np.broadcast_to(255 * np.array(values, "float64"), 3)
        for values in (spec.mean, spec.std)
    )
    order, scale, offset = _affine(preprocess)
    if order != [0, 1, 2]:
        images = keras.ops.flip(images, axis=-1)
    # Both steps at once: pixels are std * input + mean.
    return keras.layers.Rescaling(
        (scale * std[order]).tolist(),
        (scale * mean[order] + offset).tolist(),
        name="preprocessing",
    )(images)


def _affine(preprocess: Any) -> tuple[list[int], np.ndarray, np.ndarray]:
    """Order of the channels, factor and offset of a preprocessing, by trying it."""
    black = np.zeros((1, 1, 1, 3), "float32")
    offset = _tried(preprocess, black)
    slopes = np.stack(
        [
            (_tried(preprocess, black + 255 * one) - offset) / 255
            for one in np.eye(3, dtype="float32")
        ]
    )
    order = slopes.argmax(axis=0).tolist()
    return order, slopes[order, range(3)], offset


def _tried(preprocess: Any, pixels: np.ndarray) -> np.ndarray:
    # A copy: Keras works in place.
    arguments: dict[str, Any] = {}
    if "data_format" in inspect.signature(preprocess).parameters:
        arguments["data_format"] = "channels_last"
    values: Sequence[Any] = preprocess(pixels.copy(), **arguments)
    return np.asarray(values, "float64").reshape(3)
