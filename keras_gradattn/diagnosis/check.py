"""`check`: what can be said before the first step."""

from typing import Any

import keras

from keras_gradattn.diagnosis.finding import Findings


def check(
    model: keras.Model,
    x: Any,
    y: Any = None,
    validation_data: Any = None,
    batch_size: int = 32,
) -> Findings:
    """Look at data, model, loss and optimizer, without training.

    Args:
        model: A compiled Keras model.
        x: What `fit` would take: arrays, or a `tf.data.Dataset`,
            `keras.utils.PyDataset` or `DataLoader` of batches.
        y: Labels, where `x` are arrays.
        validation_data: What `fit` would take.
        batch_size: Samples a step. Defaults to 32.

    Returns:
        The findings, the one to look at first in front.
    """
    return Findings()
