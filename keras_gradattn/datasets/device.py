"""Images that stay on the accelerator, augmented inside the compiled step.

Only row numbers, random numbers and labels travel to the device with each batch, so
that small images, which train faster than a host augments them, are not held up.
The random numbers are those of the other engines: the same seed, epoch and batch give
the same images, but for rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_gradattn.datasets.augmentation import Augmenter
from keras_gradattn.datasets.parts import Split
from keras_gradattn.datasets.pipeline import (
    Batch,
    BatchSource,
    Epochs,
    PyBatches,
)
from keras_gradattn.datasets.specs import Augmentation, DatasetSpec


class ImagesOnDevice(keras.layers.Layer):
    """From row numbers to augmented, normalised images, inside the compiled step.

    The images are a weight of the layer, which training leaves alone.

    Args:
        images: uint8 or float32 array (images, height, width, channels).
        spec: Description of the data set.
        augmentation: Table that takes the place of the data set's own; an empty one
            switches augmentation off. Used in training only.
        level_table: As for `batches`.
        **kwargs: `name` as in `keras.layers.Layer`.

    Input: dictionary of `"rows"`, integers (batch,), and `"numbers"`, uniform random
    numbers (batch, `numbers_per_image`).

    Returns: float32 images (batch, height, width, channels of the network).

    Example:

    >>> digits = load("digits")
    >>> layer = ImagesOnDevice(digits.test.images, digits.spec)
    >>> inputs = {"rows": np.arange(4), "numbers": np.zeros((4, 2), "float32")}
    >>> tuple(layer(inputs).shape)
    (4, 8, 8, 1)
    """

    def __init__(
        self,
        images: np.ndarray,
        spec: DatasetSpec,
        *,
        augmentation: Sequence[Augmentation] | None = None,
        level_table: np.ndarray | None = None,
        **kwargs: Any,
    ):
        # Levels are integers up to 255 and random numbers decide about whole pixels:
        # neither survives half precision.
        super().__init__(dtype="float32", **kwargs)
        entries = spec.augmentation if augmentation is None else tuple(augmentation)
        self._augmenter = Augmenter(entries)
        self._spec = spec
        self._level_table = level_table
        self.images = keras.Variable(
            images,
            dtype=str(images.dtype),
            trainable=False,
            autocast=False,
            name="images",
        )
        self.built = True

    @property
    def numbers_per_image(self) -> int:
        """Random numbers that an image's augmentation takes; at least one."""
        return max(1, self._augmenter.numbers)

    def call(self, inputs: dict[str, Any], training: bool = False) -> Any:
        ops = keras.ops
        images = ops.take(ops.convert_to_tensor(self.images), inputs["rows"], axis=0)
        if training:
            if self._level_table is not None:
                images = self._replace_levels(images, self._level_table)
            images, _ = self._augmenter(images, None, inputs["numbers"], ops)
        images = ops.cast(images, "float32")
        mean = 255 * np.array(self._spec.mean, "float32")
        scale = 1 / (255 * np.array(self._spec.std, "float32"))
        # One grey channel is repeated by the subtraction.
        return (images - ops.convert_to_tensor(mean)) * ops.convert_to_tensor(scale)

    def _replace_levels(self, images: Any, level_table: np.ndarray) -> Any:
        channels = level_table.shape[1]
        place = keras.ops.cast(images, "int32") * channels
        place = place + keras.ops.arange(channels, dtype="int32")
        return keras.ops.take(keras.ops.convert_to_tensor(level_table.ravel()), place)

    def compute_output_shape(
        self, input_shape: dict[str, tuple[int | None, ...]]
    ) -> tuple[int | None, ...]:
        return (input_shape["rows"][0], *self._spec.input_shape)


class DeviceFeed:
    """Keeps parts of a data set on the accelerator and feeds a network from there.

    Args:
        splits: The parts, such as `(splits.train, splits.validation)`. All their
            images together must fit the device's memory.
        spec: Their description.
        augmentation: As for `batches`.
        level_table: As for `batches`.

    Example:

    ```python
    digits = datasets.load("digits")
    feed = datasets.DeviceFeed((digits.train, digits.validation), digits.spec)
    network = keras_gradattn.ResNet18(10, (8, 8, 1), stage_filters=(8, 16, 32, 64))
    model = feed.connect(network)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(
        feed.batches(digits.train, training=True, seed=1),
        validation_data=feed.batches(digits.validation, training=False),
        epochs=2,
        shuffle=False,
    )
    network.predict(images)  # the trained network takes images, as ever
    ```
    """

    def __init__(
        self,
        splits: Sequence[Split],
        spec: DatasetSpec,
        *,
        augmentation: Sequence[Augmentation] | None = None,
        level_table: np.ndarray | None = None,
    ):
        self._spec = spec
        self._augmentation = augmentation
        self._level_table = level_table
        counts = [len(split) for split in splits]
        starts = np.cumsum([0, *counts[:-1]]).tolist()
        self._first_row = {
            split.name: start for split, start in zip(splits, starts, strict=True)
        }
        self._layer = ImagesOnDevice(
            np.concatenate([split.images for split in splits]),
            spec,
            augmentation=augmentation,
            level_table=level_table,
            name="images_on_device",
        )

    def connect(self, network: keras.Model) -> keras.Model:
        """The network with rows as input; both share all weights.

        Args:
            network: Takes normalised images.

        Returns:
            A model for `fit` and `evaluate`. `untapped` is the network.
        """
        inputs = {
            "rows": keras.Input((), dtype="int32", name="rows"),
            "numbers": keras.Input((self._layer.numbers_per_image,), name="numbers"),
        }
        model = keras.Model(inputs, network(self._layer(inputs)), name=network.name)
        model.untapped = network
        return model

    def batches(
        self,
        split: Split,
        *,
        batch_size: int | None = None,
        training: bool,
        seed: int = 0,
        initial_epoch: int = 0,
        one_hot: bool | None = None,
        drop_remainder: bool = False,
        replicas: int = 1,
    ) -> Any:
        """Rows, random numbers and labels, for the model that `connect` gives.

        Args:
            split: One of the parts.
            batch_size: As for `batches`, like everything that follows.
            training: Whether to shuffle.
            seed: Seed of order and augmentation.
            initial_epoch: Epoch of the first pass.
            one_hot: Whether labels are one-hot.
            drop_remainder: Whether to leave out a last, smaller batch.
            replicas: Devices that share each batch evenly.

        Returns:
            A `keras.utils.PyDataset`.

        Raises:
            ValueError: If the part is none of those on the device.
        """
        if split.name not in self._first_row:
            raise ValueError(
                f"`split` should be one of the parts on the device, "
                f"{', '.join(self._first_row)}. Received: the {split.name} part"
            )
        source = _RowSource(
            split,
            self._spec,
            batch_size=self._spec.batch_size if batch_size is None else batch_size,
            training=training,
            seed=seed,
            augmentation=self._augmentation,
            level_table=self._level_table,
            one_hot=one_hot,
            drop_remainder=drop_remainder,
            replicas=replicas,
            replica=None,
        )
        source.first_row = self._first_row[split.name]
        source.width = self._layer.numbers_per_image
        return PyBatches(source, Epochs(initial_epoch, source.length), workers=0)


class _RowSource(BatchSource):
    """The choices that make a batch, and the labels that follow from them."""

    first_row = 0
    width = 1

    def batch(self, epoch: int, index: int) -> Batch:
        rows, numbers = self._choices(epoch, index)
        labels = self._labels(self._split.labels[rows])
        labels = self._augmenter.mix_labels(labels, numbers, self.image_shape[:2])
        padding = np.zeros((len(rows), self.width - numbers.shape[1]), "float32")
        inputs = {
            "rows": (rows + self.first_row).astype("int32"),
            "numbers": np.concatenate([numbers, padding], axis=1),
        }
        return inputs, labels
