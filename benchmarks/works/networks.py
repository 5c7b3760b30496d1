"""Networks of everyday parts, on which a recorder once cost most."""

import keras
from keras import layers

NETWORKS = ("dense200", "convolutions50", "embedding1m")


def everyday(name: str, num_classes: int, size: int, channels: int) -> keras.Model:
    """Dense layers, convolutions with BatchNorm, or words, few of which a batch has."""
    x = inputs = keras.Input((size, size, channels))
    if name == "embedding1m":
        numbers = keras.ops.cast(keras.ops.abs(x) * 1e5, "int32")
        x = layers.Embedding(1_000_000, 32)(layers.Reshape((-1, 1))(numbers))
    if name == "convolutions50":
        for _ in range(50):
            x = layers.Conv2D(16, 3, padding="same", use_bias=False)(x)
            x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.GlobalAveragePooling2D()(x)
    if name == "dense200":
        for _ in range(200):
            x = layers.Dense(64, activation="relu")(x)
    return keras.Model(inputs, layers.Dense(num_classes)(x), name=name)
