"""Where a layer is computed."""

from typing import Any

import keras


def runs_on_cpu(inputs: Any) -> bool:
    """Whether this is computed on a CPU, which each backend says its own way."""
    match keras.backend.backend():
        case "jax":
            import jax

            return jax.default_backend() == "cpu"
        case "tensorflow":
            import tensorflow as tf

            return not tf.config.list_logical_devices("GPU")
        case "torch":
            return inputs.device.type in ("cpu", "meta")
    return False
