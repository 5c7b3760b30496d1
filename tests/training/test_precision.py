"""Mixed precision: what runs in it, how near it stays, and that a run goes on."""

import dataclasses
import json

import keras
import numpy as np
import pytest

from keras_gradattn import datasets, paper, training
from keras_gradattn.training import _building as building
from keras_gradattn.training import experiment
from keras_gradattn.training._gradient_history import GradientHistory
from keras_gradattn.training._training_loop import TrainingLoop
from tests.backend_gradients import loss_and_gradients

NARROW = {
    "stage_filters": (4, 4, 8, 8),
    "stage_blocks": (1, 1, 1, 1),
    "width": 8,
    "num_heads": 2,
    "feed_forward": 8,
    "num_layers": 1,
    "dropout": 0.0,
}
SHALLOW = NARROW | {"stage_filters": (4, 4), "stage_blocks": (1, 1)}
# bfloat16 keeps eight significant bits: rounding changes a number by at most this.
ROUNDOFF = 2.0**-9
DESCRIBED = paper.RECIPES["as_described"]


def network(precision, model="gradattn_v3"):
    recipe = dataclasses.replace(DESCRIBED, mixed_precision=precision)
    keras.utils.set_random_seed(1)
    spec = dataclasses.replace(datasets.spec("digits"), image_size=32)
    return building.build_model(model, spec, recipe, **NARROW)


def batch(count=32):
    random = np.random.default_rng(0)
    images = random.normal(size=(count, 32, 32, 1)).astype("float32")
    return images, random.integers(0, 10, count)


def test_automatic_precision_is_for_accelerators(monkeypatch):
    assert network("auto").dtype_policy.name == "float32"
    monkeypatch.setattr(building, "accelerator", lambda: "a fast one")
    mixed = network("auto")
    assert mixed.get_layer("stem_convolution").compute_dtype == "bfloat16"
    assert mixed.get_layer("head").compute_dtype == "bfloat16"
    assert mixed.output.dtype == "float32"
    assert {variable.dtype for variable in mixed.trainable_variables} == {"float32"}
    assert network(None).get_layer("stem_convolution").compute_dtype == "float32"


def test_published_protocols_are_float32():
    for name, recipe in training.RECIPES.items():
        expected = "auto" if name == "modern" else None
        assert recipe.mixed_precision == expected


def rounded_at_random(array, random):
    """An array as off as rounding to bfloat16 may have left it."""
    return array * (1 + random.uniform(-ROUNDOFF, ROUNDOFF, array.shape))


def gradients_by_group(model, images, labels):
    loss, _, gradients = loss_and_gradients(
        model, images, labels, building.build_loss(DESCRIBED)
    )
    groups = model.depth_groups()
    group_of = {
        id(variable): groups[layer.name]
        for layer in model.layers
        for variable in layer.trainable_variables
    }
    found = {}
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        found.setdefault(group_of[id(variable)], []).append(
            gradient.astype("float32").ravel()
        )
    return loss, {group: np.concatenate(parts) for group, parts in found.items()}


def test_loss_and_gradients_stay_near_float32():
    """As near as float32 itself stays when its images and weights are rounded."""
    images, labels = batch()
    exact_loss, exact = gradients_by_group(network(None), images, labels)
    found_loss, found = gradients_by_group(network("mixed_bfloat16"), images, labels)

    def distance(gradients):
        return {
            group: np.linalg.norm(gradients[group] - expected)
            for group, expected in exact.items()
        }

    sensitivity = []
    for seed in range(5):
        random = np.random.default_rng(seed)
        model = network(None)
        for variable in model.trainable_variables:
            value = keras.ops.convert_to_numpy(variable)
            variable.assign(rounded_at_random(value, random))
        rounded = rounded_at_random(images, random).astype("float32")
        _, gradients = gradients_by_group(model, rounded, labels)
        sensitivity.append(distance(gradients))
    # The 16-bit pass rounds activations and their gradients as well, at some five
    # places a layer, and roundings add up in squares: about the root of six times.
    for group, off in distance(found).items():
        typical = np.mean([distances[group] for distances in sensitivity])
        assert 0 < off < 4 * typical, group
    # The signal passes the stem, four blocks of two convolutions and the head's six
    # products, each of which rounds its input, its weight and its output once.
    noise = ROUNDOFF * (3 * (1 + 4 * 2 + 6)) ** 0.5
    assert 0 < abs(found_loss - exact_loss) / exact_loss < noise


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_recorder_sees_the_gradients_that_are_applied(precision, tmp_path):
    images, labels = batch()
    loss = building.build_loss(DESCRIBED)
    # Without the scaling, small gradients would vanish in float16.
    reference = network(precision if precision == "mixed_bfloat16" else None)
    _, _, gradients = loss_and_gradients(reference, images, labels, loss)
    recipe = dataclasses.replace(DESCRIBED, mixed_precision=precision)
    model = network(precision)
    optimizer = building.build_optimizer(recipe, model, total_steps=1)
    model.compile(optimizer, loss, metrics=["accuracy"])
    scaled = hasattr(model.optimizer, "inner_optimizer")
    assert scaled == (precision == "mixed_float16")
    if scaled:
        # Low enough for the first step not to be skipped.
        model.optimizer.build(model.trainable_variables)
        model.optimizer.dynamic_scale.assign(2.0**4)
    history = GradientHistory()
    model.fit(images, labels, batch_size=32, callbacks=[history], verbose=0)
    (window,) = history.state()["windows"]
    recorded = sum(norm**2 for norm in window["norm"].values()) ** 0.5
    expected = sum(float(np.square(g.astype("float64")).sum()) for g in gradients)
    # XLA keeps intermediate results of one compiled step in float32, or does not.
    assert recorded == pytest.approx(expected**0.5, rel=0.05)


def interrupt_after(epoch, monkeypatch):
    original = TrainingLoop.on_epoch_end

    def on_epoch_end(self, number, logs=None):
        original(self, number, logs)
        if number + 1 == epoch:
            raise KeyboardInterrupt

    monkeypatch.setattr(TrainingLoop, "on_epoch_end", on_epoch_end)


def without_times(content):
    text = json.dumps(content)
    return json.loads(
        text, object_hook=lambda d: {k: d[k] for k in d if "seconds" not in k}
    )


@pytest.mark.slow
@pytest.mark.usefixtures("without_traces")
def test_interrupted_run_ends_in_the_same_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(experiment, "analyze_gradients", lambda *a: {"layers": []})
    monkeypatch.setattr(experiment, "analyze_depth_weights", lambda *a: {})
    recipe = dataclasses.replace(
        training.RECIPES["modern"],
        name="half",
        mixed_precision="mixed_bfloat16",
        max_epochs=3,
        overrides={},
    )

    def run(folder):
        return training.run(
            "digits",
            "gradattn_v2",
            recipe,
            results=tmp_path / folder,
            limit=64,
            model_options=SHALLOW,
            pictures=False,
            verbose=0,
        )

    straight = run("straight")
    with monkeypatch.context() as patch:
        interrupt_after(2, patch)
        with pytest.raises(KeyboardInterrupt):
            run("interrupted")
    resumed = run("interrupted")
    assert resumed["epochs_run"] == 3
    assert without_times(resumed) == without_times(straight)
