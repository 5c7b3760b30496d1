"""Depth inside of nested models, in the order of computation."""

import keras
import numpy as np
import pytest

import keras_gradattn
from keras_gradattn.gradients import _layer_order
from keras_gradattn.gradients.depth_groups import group_variables
from keras_gradattn.gradients.gradient_norms import GradientNorms


def names(model, **arguments):
    return group_variables(model, model.trainable_variables, **arguments).names


def chain(depth, name, width=4):
    inputs = keras.Input((width,))
    x = inputs
    for i in range(depth):
        x = keras.layers.Dense(width, name=f"layer_{i}")(x)
    return keras.Model(inputs, x, name=name)


def test_sequential_of_backbone_and_head():
    backbone = chain(3, "backbone")
    model = keras.Sequential([backbone, keras.layers.Dense(2, name="head")])
    assert names(model) == (
        "backbone/layer_0",
        "backbone/layer_1",
        "backbone/layer_2",
        "head",
    )
    assert names(model, level=1) == ("backbone", "head")


def test_functional_in_functional_in_functional():
    inner = chain(2, "inner")
    inputs = keras.Input((4,))
    middle = keras.Model(inputs, keras.layers.Dense(4, name="after")(inner(inputs)),
                         name="middle")  # fmt: skip
    model = keras.Sequential([keras.Input((4,)), middle])
    assert names(model) == (
        "middle/inner/layer_0",
        "middle/inner/layer_1",
        "middle/after",
    )
    assert names(model, level=2) == ("middle/inner", "middle/after")


class Backwards(keras.Model):
    """Layers are made in another order than they compute in."""

    def __init__(self, depth=3):
        super().__init__(name="backwards")
        self.head = keras.layers.Dense(2, name="head")
        self.blocks = [keras.layers.Dense(4, name=f"block_{i}") for i in range(depth)]

    def call(self, x):
        for block in reversed(self.blocks):
            x = block(x)
        return self.head(x)


def test_subclassed_models_are_ordered_by_what_they_call():
    model = Backwards()
    model(np.zeros((2, 4), "float32"))
    assert names(model) == ("block_2", "block_1", "block_0", "head")
    outer = keras.Sequential([keras.Input((4,)), model])
    assert names(outer)[0] == "backwards/block_2"
    for layer in model._flatten_layers():
        assert "call" not in vars(layer)


class Stack(keras.layers.Layer):
    """Many layers in one."""

    def __init__(self, depth):
        super().__init__(name="stack")
        self.inner = [keras.layers.Dense(4, name=f"inner_{i}") for i in range(depth)]

    def build(self, shape):
        for layer in self.inner:
            layer.build(shape)

    def call(self, x):
        for layer in self.inner:
            x = layer(x)
        return x


@pytest.mark.parametrize(("depth", "groups"), [(3, 1), (21, 21), (30, 30)])
def test_no_group_holds_more_than_twenty_layers(depth, groups):
    model = keras.Sequential([keras.Input((4,)), Stack(depth)])
    assert len(names(model)) == groups


def test_weights_of_the_nested_model_itself():
    class Scaled(keras.Model):
        def __init__(self):
            super().__init__(name="scaled")
            self.dense = keras.layers.Dense(4, name="dense")
            self.scale = self.add_weight(shape=(4,), initializer="ones", name="scale")

        def call(self, x):
            return self.dense(x) * self.scale

    inner = Scaled()
    inner(np.zeros((1, 4), "float32"))
    model = keras.Sequential([keras.Input((4,)), inner])
    assert names(model) == ("scaled/dense", "scaled")


def test_kerashub_gpt2():
    import keras_hub

    backbone = keras_hub.models.GPT2Backbone(
        vocabulary_size=11, num_layers=2, num_heads=2, hidden_dim=8,
        intermediate_dim=16, max_sequence_length=12,
    )  # fmt: skip
    model = keras_hub.models.GPT2CausalLM(backbone=backbone, preprocessor=None)
    groups = names(model)
    layers = [g for g in groups if "transformer_layer" in g]
    prefix = f"{backbone.name}/"
    assert layers == [f"{prefix}transformer_layer_{i}" for i in range(2)]
    assert groups.index(layers[0]) > 0


def test_kerashub_bert_and_image_classifier():
    import keras_hub

    bert = keras_hub.models.BertBackbone(
        vocabulary_size=9, num_layers=3, num_heads=2, hidden_dim=8,
        intermediate_dim=16, max_sequence_length=8,
    )  # fmt: skip
    model = keras_hub.models.BertTextClassifier(
        backbone=bert, num_classes=2, preprocessor=None
    )
    layers = [g for g in names(model) if "transformer_layer" in g]
    assert layers == [f"{bert.name}/transformer_layer_{i}" for i in range(3)]
    resnet = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64], input_conv_kernel_sizes=[3],
        stackwise_num_filters=[64, 64], stackwise_num_blocks=[1, 1],
        stackwise_num_strides=[1, 2], block_type="basic_block",
        image_shape=(16, 16, 3),
    )  # fmt: skip
    model = keras_hub.models.ImageClassifier(
        backbone=resnet, num_classes=2, preprocessor=None
    )
    groups = names(model)
    assert len(groups) > 6
    assert groups[0].startswith(f"{resnet.name}/")
    assert groups[-1] == "predictions"


def test_recorded_in_training_by_inner_depth():
    model = keras.Sequential([chain(3, "backbone"), keras.layers.Dense(2, name="head")])
    model.compile("sgd", "mse")
    norms = GradientNorms()
    model.fit(np.ones((8, 4)), np.ones((8, 2)), verbose=0, callbacks=[norms])
    assert norms.record.groups[-2:] == ("backbone/layer_2", "head")
    assert (norms.record.norm > 0).all()


@pytest.mark.parametrize("recurrent", ["LSTM", "GRU", "SimpleRNN"])
def test_recurrent_layers_are_a_group_each(recurrent):
    layer = getattr(keras.layers, recurrent)
    model = keras.Sequential(
        [
            keras.Input((5, 3)),
            layer(4, return_sequences=True, name="lower"),
            layer(4, name="upper"),
        ]
    )
    assert names(model) == ("lower", "upper")


@pytest.mark.any_backend
@pytest.mark.parametrize("network", ["GradAttnV2", "GradAttnPathways", "ResNet18"])
def test_networks_that_know_their_depths_are_not_run_to_find_them(network, monkeypatch):
    """To run one without values takes longer than a step on PyTorch."""
    make = getattr(keras_gradattn, network)
    model = make(3, (16, 16, 3), stage_filters=(4, 8), stage_blocks=(1, 1))
    monkeypatch.setattr(
        _layer_order, "run_symbolically", lambda *_: pytest.fail("was run")
    )
    found = group_variables(model, model.trainable_variables)
    assert found.names == ("stem", "stage1", "stage2", "head")
    assert -1 not in found.members
