"""The head on backbones that are not ours."""

import keras
import numpy as np
import pytest

import keras_gradattn
from tests.backend_gradients import inference
from tests.narrow import HEAD, random_images


def mobile_net():
    return keras.applications.MobileNetV2(
        (32, 32, 3), alpha=0.35, include_top=False, weights=None
    )


FEATURES = ["block_3_expand_relu", "block_6_expand_relu", "out_relu"]


def test_head_on_a_backbone_trains_and_shows_its_attention():
    whole = mobile_net()
    # Its first blocks: those behind them would only take longer to compile.
    backbone = keras.Model(whole.input, whole.get_layer("block_6_expand_relu").output)
    features = [f"block_{number}_expand_relu" for number in (1, 3, 6)]
    model = keras_gradattn.attach(backbone, features, num_classes=3, **HEAD)
    model.compile("sgd", "sparse_categorical_crossentropy")
    images = random_images(4, 32, 32, 3)
    before = model.get_layer("head").get_weights()

    model.fit(images, np.arange(4) % 3, verbose=0)
    weights = keras_gradattn.depth_weights(model, images)

    assert model.output_shape == (None, 3)
    assert weights.values.shape == (4, 2 * 3, 2, 3)
    assert weights.sources == tuple(features)
    after = model.get_layer("head").get_weights()
    assert any(not np.array_equal(a, b) for a, b in zip(before, after, strict=True))


class Pyramid(keras.Model):
    """A backbone that names its levels as KerasHub does."""

    def __init__(self):
        inputs = keras.Input((32, 32, 3))
        shallow = keras.layers.Conv2D(4, 3, name="first")(inputs)
        deep = keras.layers.Conv2D(6, 3, name="second")(shallow)
        super().__init__(inputs=inputs, outputs=deep)
        self.pyramid_outputs = {"P1": shallow, "P2": deep}


def test_pyramid_is_taken_whole_or_by_level():
    whole = keras_gradattn.attach(Pyramid(), num_classes=3, **HEAD)
    level = keras_gradattn.attach(Pyramid(), ["P2"], num_classes=3, **HEAD)

    def channels(model):
        projections = model.get_layer("head").tokens.projections
        return [projection.kernel.shape[0] for projection in projections]

    assert channels(whole) == [4, 6]
    assert channels(level) == [6]


def test_attached_model_saves(tmp_path):
    model = keras_gradattn.attach(mobile_net(), FEATURES, num_classes=3, **HEAD)
    images = random_images(2, 32, 32, 3)
    model.save(tmp_path / "attached.keras")

    loaded = keras.saving.load_model(tmp_path / "attached.keras")

    np.testing.assert_array_equal(inference(loaded, images), inference(model, images))


def test_loss_is_scaled_in_float16():
    model = keras_gradattn.attach(
        mobile_net(), FEATURES, num_classes=3, dtype="mixed_float16", **HEAD
    )
    model.compile("adam", "sparse_categorical_crossentropy")

    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)


def test_features_are_the_named_layers():
    backbone = mobile_net()

    model = keras_gradattn.attach(backbone, ["block_6_expand_relu"], 2, **HEAD)

    tokens = model.get_layer("head").tokens
    channels = backbone.get_layer("block_6_expand_relu").output.shape[-1]
    assert tokens.projections[0].kernel.shape == (channels, 16)


@pytest.mark.parametrize(
    ("features", "arguments", "message"),
    [
        (["block_3_expanded"], {}, r"near 'block_3_expanded': \['block_3_expand',"),
        (None, {}, "only on a backbone with a pyramid"),
        ([], {}, "Received: features=\\[\\]"),
        ("out_relu", {}, "list of layer names"),
        (["out_relu"], {"num_classes": 0}, "Received: num_classes=0"),
        (["out_relu"], {"num_heads": 5}, "Received: width=16, num_heads=5"),
    ],
)
def test_bad_arguments(features, arguments, message):
    with pytest.raises(ValueError, match=message):
        keras_gradattn.attach(
            mobile_net(), features, **({"num_classes": 3} | HEAD | arguments)
        )


def test_subclassed_backbone_is_refused():
    class Subclassed(keras.Model):
        def call(self, inputs):
            return inputs

    with pytest.raises(ValueError, match="Functional"):
        keras_gradattn.attach(Subclassed(), ["stage"], 3)
