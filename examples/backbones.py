"""Put the GradAttn head on backbones that others built.

    pip install -c constraints.txt -e ".[tensorflow,peers]"
    KERAS_BACKEND=tensorflow python examples/backbones.py

Nothing is downloaded: weights are random, images are noise. Each network trains for a
few steps and shows how much each depth is looked at. About a minute on two CPU cores.
"""

import argparse
import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import numpy as np

import keras_gradattn as kg

kg.config.tune_jax_for_cpu()

IMAGE_SHAPE = (64, 64, 3)


def mobile_net():
    """A `keras.applications` network, read at named layers."""
    backbone = keras.applications.MobileNetV2(
        IMAGE_SHAPE, alpha=0.35, include_top=False, weights=None
    )
    return backbone, ["block_3_expand_relu", "block_6_expand_relu", "out_relu"]


def kerashub_resnet():
    """A KerasHub backbone, read at its `pyramid_outputs`."""
    from keras_hub.models import ResNetBackbone

    backbone = ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 128, 256],
        stackwise_num_blocks=[1, 1, 1],
        stackwise_num_strides=[1, 2, 2],
        block_type="basic_block",
        image_shape=IMAGE_SHAPE,
    )
    return backbone, None


def kerascv_resnet():
    """A KerasCV backbone, read at its `pyramid_level_inputs`.

    Built from its arguments: the presets ask the network even for random weights.
    """
    from keras_cv.models import ResNetBackbone

    backbone = ResNetBackbone(
        stackwise_filters=[64, 128, 256],
        stackwise_blocks=[1, 1, 1],
        stackwise_strides=[1, 2, 2],
        block_type="basic_block",
        include_rescaling=False,
        input_shape=IMAGE_SHAPE,
    )
    return backbone, ["P2", "P3", "P4"]


def kerascv_batches(images, labels, batch_size):
    """A tf.data pipeline with a KerasCV augmentation, which feeds any backend."""
    import keras_cv
    import tensorflow as tf

    flip = keras_cv.layers.RandomFlip("horizontal", dtype="float32")
    batches = tf.data.Dataset.from_tensor_slices((images, labels)).batch(batch_size)
    return batches.map(lambda x, y: (flip(x, training=True), y))


BACKBONES = {
    "keras.applications": mobile_net,
    "KerasHub": kerashub_resnet,
    "KerasCV": kerascv_resnet,
}


def main(sources, steps: int, batch_size: int) -> None:
    random = np.random.default_rng(0)
    images = random.normal(size=(steps * batch_size, *IMAGE_SHAPE)).astype("float32")
    labels = random.integers(0, 10, len(images))
    for source in sources:
        backbone, features = BACKBONES[source]()
        model = kg.attach(backbone, features, num_classes=10, width=64, num_layers=2)
        model.compile("adam", "sparse_categorical_crossentropy")
        if source == "KerasCV":
            history = model.fit(kerascv_batches(images, labels, batch_size), verbose=0)
        else:
            history = model.fit(images, labels, batch_size=batch_size, verbose=0)

        weights = kg.depth_weights(model, images[:batch_size], batch_size)
        depths = "  ".join(f"{x:.2f}" for x in weights.mean.mean(axis=(0, 1)))
        print(
            f"{source:20s} {model.count_params():>10,} parameters, "
            f"loss {history.history['loss'][-1]:.3f}, attention by depth: {depths}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--source", nargs="*", default=list(BACKBONES), choices=list(BACKBONES)
    )
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=16)
    arguments = parser.parse_args()
    main(arguments.source, arguments.steps, arguments.batch_size)
