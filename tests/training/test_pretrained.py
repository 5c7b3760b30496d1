"""Networks of libraries, fed with what they were trained on."""

import keras
import numpy as np
import pytest

from keras_gradattn import datasets
from keras_gradattn.training import RECIPES, _pretrained
from keras_gradattn.training._networks import Network

pytestmark = pytest.mark.any_backend


def colours(channels=3):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (40, 32, 32, channels), "uint8")
    return datasets.from_arrays(images, np.arange(40) % 4)


def normalized(splits):
    data = datasets.batches(
        splits.test, splits.spec, training=False, engine="pydataset"
    )
    return data[0][0]


@pytest.mark.parametrize(
    "library", ["resnet", "densenet", "mobilenet", "efficientnet", "vgg16"]
)
def test_normalised_images_become_what_the_library_makes_of_raw_ones(library):
    splits = colours()
    preprocess = getattr(keras.applications, library).preprocess_input
    inputs = keras.Input(splits.spec.input_shape)
    model = keras.Model(
        inputs, _pretrained._as_preprocessed(inputs, splits.spec, preprocess)
    )
    raw = np.asarray(splits.test.images, "float32")
    found = keras.ops.convert_to_numpy(model(normalized(splits)))
    np.testing.assert_allclose(found, preprocess(raw.copy()), rtol=1e-4, atol=2e-3)


def test_an_application_gets_a_new_classifier_and_keeps_its_depth():
    splits = colours(channels=1)
    network = Network("keras.applications:MobileNet", {"alpha": 0.25}).build(
        splits.spec, RECIPES["modern"]
    )
    assert network(normalized(splits)).shape == (6, 4)
    # Flat: layers of the backbone are layers of the network.
    assert {"conv1", "conv_pw_13", "classifier"} <= {x.name for x in network.layers}


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("keras.applications:ResNet51", {}, "Did you mean 'ResNet50'?"),
        ("keras.applications:", {}, "no such network in keras.applications."),
        ("keras.applications:MobileNet", {"alhpa": 1}, "Did you mean 'alpha'?"),
        # The data set decides.
        ("keras.applications:MobileNet", {"classes": 3}, "no such option here."),
        ("keras_hub:resnet_18_imagenett", {}, "Did you mean 'resnet_18_imagenet'?"),
        ("keras_hub:", {}, "KerasHub has no such preset."),
    ],
)
def test_an_unknown_name_is_refused_before_data_are_read(model, options, message):
    with pytest.raises(ValueError, match="Received: ") as refused:
        Network(model, options).check()
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_preset_of_keras_hub(tmp_path):
    import keras_hub

    backbone = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[3],
        stackwise_num_filters=[64],
        stackwise_num_blocks=[1],
        stackwise_num_strides=[1],
        block_type="basic_block",
        image_shape=(None, None, 3),
    )
    backbone.save_to_preset(str(tmp_path / "preset"))
    converter = keras_hub.layers.ResNetImageConverter(scale=2.0, offset=[1.0, 2.0, 3.0])
    converter.save_to_preset(str(tmp_path / "preset"))
    splits = colours()
    network = Network(f"keras_hub:{tmp_path / 'preset'}", {}).build(
        splits.spec, RECIPES["modern"]
    )
    raw = np.asarray(splits.test.images, "float32")
    features = keras.ops.convert_to_numpy(backbone(2 * raw + np.array([1.0, 2, 3])))
    kernel, bias = network.get_layer("classifier").get_weights()
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(network(normalized(splits), training=False)),
        features.mean(axis=(1, 2)) @ kernel + bias,
        rtol=2e-3,
        atol=2e-3,
    )
