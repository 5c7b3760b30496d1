"""Augmentation as a Keras layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_gradattn.datasets.augmentation.table import Augmenter
from keras_gradattn.datasets.specs import Augmentation


class RandomAugmentation(keras.layers.Layer):
    """Augmentation as a layer, inside the compiled step of any backend.

    Args:
        augmentation: The table, applied in order.
        seed: Seed of the random numbers.
        **kwargs: `name` and `dtype` as in `keras.layers.Layer`.

    Input: images (batch, height, width, channels) in units of 0 to 255. With a
    table that mixes labels, a dictionary of `"images"` and one-hot `"labels"`.

    Returns: the same structure; unchanged when `training` is False.

    Example:

    >>> import numpy as np
    >>> from keras_gradattn.datasets import Augmentation
    >>> layer = RandomAugmentation([Augmentation("crop", padding=4)], seed=0)
    >>> tuple(layer(np.zeros((2, 32, 32, 3), "float32"), training=True).shape)
    (2, 32, 32, 3)
    """

    def __init__(
        self,
        augmentation: Sequence[Augmentation],
        seed: int | None = None,
        **kwargs: Any,
    ):
        # Half precision would round the levels before they are augmented.
        super().__init__(autocast=False, **kwargs)
        self.augmentation = tuple(
            entry if isinstance(entry, Augmentation) else Augmentation(**entry)
            for entry in augmentation
        )
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self._augmenter = Augmenter(self.augmentation)

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training or not self.augmentation:
            return inputs
        mapping = isinstance(inputs, dict)
        if self._augmenter.mixes_labels and not mapping:
            raise ValueError(
                "A table that mixes labels needs a dictionary of 'images' and "
                f"'labels'. Received: {type(inputs).__name__}"
            )
        images = inputs["images"] if mapping else inputs
        labels = inputs.get("labels") if mapping else None
        numbers = keras.random.uniform(
            (keras.ops.shape(images)[0], self._augmenter.numbers),
            dtype="float32",
            seed=self.seed_generator,
        )
        images, labels = self._augmenter(images, labels, numbers, keras.ops)
        images = keras.ops.cast(images, self.compute_dtype)
        return {**inputs, "images": images, "labels": labels} if mapping else images

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "augmentation": [entry.to_dict() for entry in self.augmentation],
            "seed": self.seed,
        }
