"""What all networks share: arguments, normalisation in front, names for their parts."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_gradattn import config
from keras_gradattn.layers._arguments import checked_data_format
from keras_gradattn.layers.linear import full_precision
from keras_gradattn.models.torch_inference import CapturedInference
from keras_gradattn.models.trunk import check_image_size, check_trunk_arguments

if TYPE_CHECKING:
    from typing_extensions import Self


class ImageClassifier(keras.Model):
    """A Functional image classifier that gives its arguments back.

    Networks derive from it; it is not built by itself. What it takes beyond a
    network's own arguments is described there.
    """

    def _finish(
        self,
        inputs: Any,
        outputs: Any,
        features: Iterable[str],
        arguments: dict[str, Any],
    ) -> None:
        """Become the Functional model, and remember what it was made from."""
        super().__init__(inputs=inputs, outputs=outputs, name=arguments["name"])
        # Keras decides by the model's own policy whether the loss is scaled.
        self.dtype_policy = arguments["dtype"]
        self._arguments = arguments
        self._stage_names = tuple(features)
        self._inference = CapturedInference()

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        (images,) = keras.tree.flatten(inputs)
        check_image_size(images.shape, self._arguments["data_format"])
        forward = functools.partial(super().call, training=training, mask=mask)
        if self._captures_inference and training is False and mask is None:
            return self._inference(self, images, forward)
        return forward(inputs)

    @property
    def _captures_inference(self) -> bool:
        return (
            config.captures_torch_inference()
            and keras.backend.backend() == "torch"
            and not self.run_eagerly
        )

    @property
    def run_eagerly(self) -> bool:
        """Whether steps run layer by layer, without tracing or capturing."""
        return keras.Model.run_eagerly.fget(self)

    @run_eagerly.setter
    def run_eagerly(self, value: bool) -> None:
        # Every `compile` sets it. `compile` itself must stay Keras' own: a model that
        # overrides it is not compiled when it is loaded.
        self._inference.forget()
        keras.Model.run_eagerly.fset(self, value)

    @property
    def stage_features(self) -> dict[str, Any]:
        """Symbolic feature maps by depth: `stem`, `stage1`, ..., for your own model."""
        return {name: self.get_layer(name).output for name in self._stage_names}

    @property
    def class_names(self) -> list[str] | None:
        """Names of the classes in the order of the outputs, if they were given."""
        return self._arguments["class_names"]

    def depth_groups(self) -> dict[str, str]:
        """Group by depth of every layer that has weights.

        Returns:
            Layer names to `stem`, `stage1`, ..., `head`, shallow to deep.
        """
        return {
            layer.name: layer.name.split("_")[0]
            if layer.name.split("_")[0] in self._stage_names
            else "head"
            for layer in self.layers
            if layer.weights
        }

    def for_raw_images(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        class_names: Sequence[str] | None = None,
    ) -> Self:
        """A copy that takes raw 0-255 images and knows its classes' names.

        The network was trained on normalised images. The copy normalises by itself. So
        it can be saved, loaded and used without the training code.

        Args:
            mean: Mean of each channel, in units of 0 to 1.
            std: Standard deviation of each channel, in the same units.
            class_names: Names in the order of the outputs. `None` (the default) keeps
                those that the network has.

        Returns:
            A new model with the same weights.

        Example:

        >>> model = keras_gradattn.GradAttnV2(num_classes=2)
        >>> usable = model.for_raw_images([0.5] * 3, [0.25] * 3, ["cat", "dog"])
        """
        arguments = self.get_config()
        arguments["normalization"] = (tuple(mean), tuple(std))
        if class_names is not None:
            arguments["class_names"] = list(class_names)
        copy = type(self).from_config(arguments)
        copy.set_weights(self.get_weights())
        return copy

    def get_config(self) -> dict[str, Any]:
        """All constructor arguments, ready for `from_config` and for saving."""
        config = dict(self._arguments)
        # Only here: Keras' serialisation imports TensorFlow where it is installed,
        # which costs another backend seconds and half a gigabyte.
        config["dtype"] = keras.dtype_policies.serialize(config["dtype"])
        if config["classifier_activation"] is not None:
            config["classifier_activation"] = keras.activations.serialize(
                config["classifier_activation"]
            )
        frozen = [layer.name for layer in self.layers if not layer.trainable]
        if frozen:
            config["frozen_layers"] = frozen
        return config

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> Self:
        """A new network, freshly initialised, with these arguments."""
        arguments = dict(config)
        frozen = arguments.pop("frozen_layers", ())
        model = cls(**arguments)
        for name in frozen:
            model.get_layer(name).trainable = False
        return model


def standard_arguments(
    *,
    num_classes: int,
    input_shape: Sequence[int | None] | None,
    stage_filters: Sequence[int],
    stage_blocks: Sequence[int],
    stem: str,
    classifier_activation: Any,
    normalization: tuple[Sequence[float], Sequence[float]] | None,
    class_names: Sequence[str] | None,
    data_format: str | None,
    dtype: Any,
    name: str | None,
) -> dict[str, Any]:
    """Check the arguments that all networks take and put them in one form.

    Returns:
        The same arguments with every default filled in; all but the activation and the
        dtype policy are plain values.

    Raises:
        ValueError: Saying what was received and what is allowed.
    """
    data_format = checked_data_format(data_format)
    if input_shape is None:
        any_size = (None, None)
        input_shape = (
            (3, *any_size) if data_format == "channels_first" else (*any_size, 3)
        )
    check_trunk_arguments(
        num_classes=num_classes,
        input_shape=input_shape,
        stage_filters=stage_filters,
        stage_blocks=stage_blocks,
        stem=stem,
        data_format=data_format,
    )
    channels = input_shape[-1 if data_format == "channels_last" else 0]
    return {
        # Plain integers: NumPy's would not be serialised.
        "num_classes": int(num_classes),
        "input_shape": tuple(size and int(size) for size in input_shape),
        "stage_filters": tuple(int(filters) for filters in stage_filters),
        "stage_blocks": tuple(int(blocks) for blocks in stage_blocks),
        "stem": stem,
        "classifier_activation": None
        if classifier_activation is None
        else keras.activations.get(classifier_activation),
        "normalization": _checked_normalization(normalization, channels),
        "class_names": _checked_class_names(class_names, num_classes),
        "data_format": data_format,
        "dtype": keras.dtype_policies.get(dtype),
        "name": name,
    }


def _checked_normalization(
    normalization: Any, channels: int | None
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    if normalization is None:
        return None
    try:
        fits = [len(part) for part in normalization] == [channels, channels]
    except TypeError:
        fits = False
    if not fits:
        raise ValueError(
            f"`normalization` must be (mean, std), {channels} values each, in units of "
            f"0 to 1. Received: normalization={normalization}"
        )
    mean, std = (tuple(float(value) for value in part) for part in normalization)
    if min(std) <= 0:
        raise ValueError(
            "The standard deviations of `normalization` must be positive. "
            f"Received: normalization={normalization}"
        )
    return (mean, std)


def _checked_class_names(
    class_names: Sequence[str] | None, num_classes: int
) -> list[str] | None:
    if class_names is None:
        return None
    if len(class_names) != num_classes or not all(
        isinstance(name, str) for name in class_names
    ):
        raise ValueError(
            f"`class_names` must be {num_classes} strings. "
            f"Received: class_names={class_names}"
        )
    return list(class_names)


def image_input(arguments: dict[str, Any]) -> tuple[Any, Any]:
    """Image input of a network, and the tensor its trunk starts from.

    Args:
        arguments: As `standard_arguments` returns them.

    Returns:
        The symbolic input, and the same or its normalised form.
    """
    # By default Keras would round the images of a float64 network to float32.
    exact = arguments["dtype"].compute_dtype == "float64"
    inputs = keras.Input(
        arguments["input_shape"], dtype="float64" if exact else None, name="images"
    )
    if arguments["normalization"] is None:
        return inputs, inputs
    mean, std = arguments["normalization"]
    normalization = keras.layers.Normalization(
        axis=-1 if arguments["data_format"] == "channels_last" else 1,
        mean=[255 * value for value in mean],
        variance=[(255 * value) ** 2 for value in std],
        # In 16 bits neighbouring pixel values would run together.
        dtype=full_precision(arguments["dtype"]),
        name="normalization",
    )
    return inputs, normalization(inputs)


def predict_labels(
    model: keras.Model,
    images: Any,
    class_names: Sequence[str] | None = None,
    batch_size: int = 32,
) -> list[str]:
    """Name of the most probable class of each image.

    Args:
        model: Any classifier.
        images: `(batch, height, width, channels)`, as `model.predict` takes them. A
            model made by `for_raw_images` takes raw 0-255 pixels.
        class_names: Names in the order of the outputs. `None` (the default) takes those
            that a network of this package has.
        batch_size: Images at a time. Defaults to 32.

    Returns:
        One name per image.

    Raises:
        ValueError: If neither the model nor the call has class names, or not as many
            as the model has outputs.

    Example:

    >>> model = keras_gradattn.GradAttnV2(2, class_names=["cat", "dog"])
    >>> keras_gradattn.predict_labels(model, np.zeros((1, 32, 32, 3)))  # doctest: +SKIP
    ['cat']
    """
    if class_names is None:
        class_names = getattr(model, "class_names", None)
    if class_names is None:
        raise ValueError(
            "`predict_labels` needs class names: from the model, made with "
            "`class_names=`, or given in the call. Received: class_names=None"
        )
    scores = model.predict(images, batch_size=batch_size, verbose=0)
    if len(class_names) != scores.shape[-1]:
        raise ValueError(
            "`class_names` must name every output. "
            f"Received: {len(class_names)} names for {scores.shape[-1]} outputs"
        )
    return [class_names[index] for index in np.argmax(scores, axis=-1)]
