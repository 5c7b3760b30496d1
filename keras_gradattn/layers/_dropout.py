"""Dropout whose random numbers are cheap on every backend."""

from typing import Any

import keras

from keras_gradattn import config


@keras.saving.register_keras_serializable(package="keras_gradattn")
class Dropout(keras.layers.Dropout):
    """Dropout, on JAX with its hardware-friendly generator.

    JAX's default generator (Threefry) is slow on a CPU. Here each call's Keras seed
    starts JAX's `rbg` generator instead, as repeatable for one seed and machine.

    Args:
        rate: Share of values that are dropped, in [0, 1].
        **kwargs: Everything else that `keras.layers.Dropout` takes.

    Returns:
        As a layer: any shape to the same shape, scaled by `1 / (1 - rate)` in training.

    Example:

    >>> tokens = keras.Input((5, 256))
    >>> keras_gradattn.layers._dropout.Dropout(0.1)(tokens).shape
    (None, 5, 256)
    """

    def call(self, inputs: Any, training: bool = False) -> Any:
        cheap = keras.backend.backend() == "jax" and self.noise_shape is None
        cheap = cheap and config.uses_kernel("dropout")
        if not (cheap and training and 0 < self.rate < 1):
            return super().call(inputs, training=training)
        return _drop_on_jax(inputs, self.rate, self.seed_generator.next())


def _drop_on_jax(inputs: Any, rate: float, seed: int) -> Any:
    import jax

    words = jax.numpy.concatenate([seed, seed]).astype("uint32")
    key = jax.random.wrap_key_data(words, impl="rbg")
    # Drawing takes most of the time, and 16 bits tell rates to 8e-6 apart.
    pairs = jax.random.bits(key, (-(-inputs.size // 2),), "uint32")
    bits = jax.lax.bitcast_convert_type(pairs, "uint16").reshape(-1)
    kept_of_all = round((1 - rate) * 2**16)
    kept = bits[: inputs.size].reshape(inputs.shape) < kept_of_all
    return jax.numpy.where(kept, inputs / (1 - rate), 0)
