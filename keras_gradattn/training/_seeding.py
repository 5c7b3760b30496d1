"""Random state of the libraries at the start of a run."""

import random

import keras
import numpy as np


def seed_libraries(seed: int) -> None:
    """What `keras.utils.set_random_seed` does, without importing TensorFlow.

    Keras' function imports TensorFlow on every backend, wherever it is installed:
    seconds and hundreds of megabytes for a library that does not draw a number.

    Args:
        seed: Seed of Python's, NumPy's and the backend's random state.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        keras.utils.set_random_seed(seed)
        return
    random.seed(seed)
    np.random.seed(seed)
    if backend == "torch":
        import torch

        torch.manual_seed(seed)
