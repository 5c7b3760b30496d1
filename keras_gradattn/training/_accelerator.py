"""Which accelerator this process computes on."""

import keras


def accelerator() -> str | None:
    """Name of the first accelerator; every backend lists them in its own way."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        device = jax.devices()[0]
        return None if device.platform == "cpu" else device.device_kind
    if backend == "tensorflow":
        import tensorflow as tf

        found = tf.config.list_physical_devices("GPU")
        if not found:
            return None
        details = tf.config.experimental.get_device_details(found[0])
        return details.get("device_name", "GPU")
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
