# ruff: noqa: E402
"""Trains on two virtual devices or processes, and once more in another way.

Usage: python devices_script.py RESULTS WAY...

Prints both results of each way as JSON. The ways are an engine, where the other
training is without several devices, and `resumed`, where it is in two goes.
"""

import contextlib
import functools
import json
import os
import sys
import unittest.mock
from pathlib import Path

BACKEND = os.environ["KERAS_BACKEND"]
# Devices are set up before a backend starts.
if BACKEND == "jax":
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
elif BACKEND == "tensorflow":
    import tensorflow as tf

    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * 2,
    )

import keras
import numpy as np

from keras_gradattn import datasets, training
from keras_gradattn.training import _building as building
from keras_gradattn.training import _training_loop, experiment
from keras_gradattn.training import devices as _devices
from tests.backend_gradients import loss_and_gradients

# Without dropout, and without the biases of queries and keys: their gradient is zero
# but for rounding, which Adam would blow up to whole steps.
MODEL = "gradattn_v3"
NARROW = {
    "stage_filters": (4, 8),
    "stage_blocks": (1, 1),
    "width": 8,
    "num_heads": 2,
    "feed_forward": 8,
    "num_layers": 1,
}
RECIPE = training.Recipe(
    name="devices",
    batch_size=32,
    label_smoothing=0.1,
    mixup=0.2,
    # So much that a decay counted on every device would be seen.
    weight_decay=0.05,
    ema_momentum=0.5,
    class_weights="balanced",
)
# The last batch of an epoch has 26 images.
EPOCHS, SEED, IMAGES = 2, 42, 90
# One image more than whole batches: neither replica may go without.
VALIDATION = 65

load = datasets.load


def load_odd_validation(*arguments, **settings):
    splits = load(*arguments, **settings)
    part = splits.validation
    cut = slice(VALIDATION)
    part = datasets.Split(part.name, part.images[cut], part.labels[cut], part.rows[cut])
    return datasets.DatasetSplits(splits.spec, splits.train, part, splits.test)


def by_run(results, devices, engine, dropout=0.0):
    content = training.run(
        "digits",
        MODEL,
        RECIPE,
        SEED,
        results=f"{results}/{devices}",
        limit=IMAGES,
        max_epochs=EPOCHS,
        model_options=NARROW | {"dropout": dropout},
        engine=engine,
        devices=devices,
        save_model=True,
        pictures=False,
        verbose=0,
    )
    (saved,) = Path(results, str(devices)).rglob("*.keras")
    network = keras.saving.load_model(saved)
    rms = content["gradients"]["training"]["rms"]
    return {
        "loss": content["history"]["loss"],
        "val_loss": content["history"]["val_loss"],
        "val_accuracy": content["history"]["val_accuracy"],
        "test_loss": content["metrics"]["loss"],
        "rms": [list(of_epoch) for of_epoch in zip(*rms.values(), strict=True)],
        "weights": flat(network.get_weights()),
    }


def by_two_goes(results, engine):
    """Interrupted before the second epoch, and resumed."""
    begin = _training_loop.TrainingLoop.on_epoch_begin

    def interrupt(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt
        begin(self, epoch, logs)

    with (
        contextlib.suppress(KeyboardInterrupt),
        unittest.mock.patch.object(
            _training_loop.TrainingLoop, "on_epoch_begin", interrupt
        ),
    ):
        dropped(results, 2, engine)
    return dropped(results, 2, engine)


def masks():
    """What each of two devices drops of the same values (TensorFlow)."""
    devices = _devices.choose(2, {})
    with devices.scope():
        layer = keras.layers.Dropout(0.5, seed=SEED)
        devices.seed_others([layer.seed_generator.state], SEED, epoch=0)
    dropped = devices._strategy.run(lambda: layer(tf.ones((4, 8)), training=True))
    return [mask.numpy().tolist() for mask in dropped.values]


def by_hand():
    """One process that takes each half of a batch for itself, and applies the mean."""
    splits = datasets.load("digits", limit=IMAGES)
    keras.utils.set_random_seed(SEED)
    network = building.build_model(MODEL, splits.spec, RECIPE, dropout=0.0, **NARROW)
    optimizer = building.build_optimizer(RECIPE, network, total_steps=1)
    optimizer.build(network.trainable_variables)
    loss_of = weighted(building.build_loss(RECIPE))
    statistics = [v for v in network.non_trainable_variables if "moving" in v.path]
    groups = network.depth_groups()
    group_of = {
        id(variable): groups[layer.name]
        for layer in network.layers
        for variable in layer.trainable_variables
    }
    class_weights = building.balanced_class_weights(splits.train.labels, 10)
    losses, rms, val_losses, val_accuracies, snapshots = [], [], [], [], []
    data = datasets.batches(
        splits.train,
        splits.spec,
        batch_size=RECIPE.batch_size,
        training=True,
        seed=SEED,
        augmentation=building.build_augmentation(RECIPE, splits.spec),
        one_hot=True,
        engine="pydataset",
    )
    (images, labels), *others = datasets.batches(
        splits.validation,
        splits.spec,
        batch_size=VALIDATION,
        training=False,
        one_hot=True,
        engine="pydataset",
    )
    assert not others
    for epoch in range(EPOCHS):
        data.set_epoch(epoch)
        step_losses, step_rms, step_images = [], [], []
        for batch in range(len(data)):
            before = [np.array(keras.ops.convert_to_numpy(v)) for v in statistics]
            shares = []
            for x, y in zip(*(np.split(part, 2) for part in data[batch]), strict=True):
                for variable, value in zip(statistics, before, strict=True):
                    variable.assign(value)
                weights = [class_weights[label] for label in y.argmax(1)]
                loss, _, gradients = loss_and_gradients(
                    network, x, y, functools.partial(loss_of, weights=weights)
                )
                after = [np.array(keras.ops.convert_to_numpy(v)) for v in statistics]
                shares.append((loss, gradients, after))
            step_losses.append(np.mean([share[0] for share in shares]))
            step_images.append(len(data[batch][0]))
            gradients = [
                sum(pair) / 2 for pair in zip(*(s[1] for s in shares), strict=True)
            ]
            for variable, *pair in zip(
                statistics, *(s[2] for s in shares), strict=True
            ):
                variable.assign(sum(pair) / 2)
            squares = dict.fromkeys(dict.fromkeys(groups.values()), 0.0)
            sizes = dict.fromkeys(squares, 0)
            for variable, gradient in zip(
                network.trainable_variables, gradients, strict=True
            ):
                squares[group_of[id(variable)]] += float(np.square(gradient).sum())
                sizes[group_of[id(variable)]] += gradient.size
            step_rms.append([(squares[g] / sizes[g]) ** 0.5 for g in squares])
            optimizer.apply(
                [keras.ops.convert_to_tensor(g) for g in gradients],
                network.trainable_variables,
            )
        losses.append(float(np.average(step_losses, weights=step_images)))
        rms.append(np.mean(step_rms, axis=0).tolist())
        with averages_in_place(network, optimizer):
            outputs = network(images, training=False)
            snapshots.append(network.get_weights())
        val_losses.append(float(loss_of(labels, outputs)))
        right = keras.ops.convert_to_numpy(outputs).argmax(1) == labels.argmax(1)
        val_accuracies.append(float(right.mean()))
    network.set_weights(snapshots[int(np.argmax(val_accuracies))])
    evaluation = training.evaluate(
        network,
        datasets.batches(splits.test, splits.spec, training=False, engine="pydataset"),
        from_logits=True,
    )
    return {
        "loss": losses,
        "val_loss": val_losses,
        "val_accuracy": val_accuracies,
        "test_loss": evaluation.loss,
        "rms": rms,
        "weights": flat(network.get_weights()),
    }


def weighted(loss):
    def loss_of(labels, outputs, weights=None):
        return loss(labels, outputs, sample_weight=weights)

    return loss_of


@contextlib.contextmanager
def averages_in_place(network, optimizer):
    raw = [keras.ops.convert_to_numpy(v) for v in network.trainable_variables]
    averages = optimizer._model_variables_moving_average
    for variable, average in zip(network.trainable_variables, averages, strict=True):
        variable.assign(average)
    yield
    for variable, value in zip(network.trainable_variables, raw, strict=True):
        variable.assign(value)


def flat(weights):
    # Seeds of generators, which draw nothing here, are no numbers to compare.
    return [
        w
        for weight in weights
        if weight.dtype.kind == "f"
        for w in weight.ravel().tolist()
    ]


def both(results, way):
    """Several devices, and what must come out the same."""
    if way == "resumed":
        other = by_two_goes(f"{results}/goes", "auto")
        return {"several": straight(results), "other": other}
    if BACKEND == "jax":
        # BatchNorm sees the whole batch, and dropout draws for it.
        auto = way == "auto"
        several = straight(results) if auto else dropped(f"{results}/{way}", 2, way)
        return {"several": several, "other": alone(results)}
    return {"several": by_run(f"{results}/{way}", 2, way), "other": by_hand()}


@functools.cache
def straight(results):
    """Two devices with dropout, in one go."""
    return dropped(f"{results}/straight", 2, "auto")


@functools.cache
def alone(results):
    """The same on one device."""
    return dropped(f"{results}/alone", 1, "auto")


def dropped(results, devices, engine):
    return by_run(results, devices, engine, dropout=0.3)


if __name__ == "__main__":
    results, *ways = sys.argv[1:]
    # A further process of PyTorch's loads the data for itself, all of it.
    if BACKEND != "torch":
        datasets.load = load_odd_validation
    else:
        VALIDATION = IMAGES
    experiment.analyze_gradients = lambda *arguments: {"layers": []}
    experiment.analyze_depth_weights = lambda *arguments: {}
    found = {way: both(results, way) for way in ways}
    if BACKEND == "tensorflow":
        found["masks"] = masks()
    print(json.dumps(found))
