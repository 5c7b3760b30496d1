"""Trains one network by a recipe, from its start or from its last checkpoint."""

import dataclasses
import functools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_gradattn import datasets
from keras_gradattn.training import _checkpoint
from keras_gradattn.training._building import (
    balanced_class_weights,
    build_augmentation,
    build_loss,
    build_optimizer,
)
from keras_gradattn.training._depth import depth_of
from keras_gradattn.training._freezing import Freezing
from keras_gradattn.training._gradient_history import GradientHistory
from keras_gradattn.training._networks import Network, gives_logits
from keras_gradattn.training._progress import Progress
from keras_gradattn.training._seeding import seed_libraries
from keras_gradattn.training._training_loop import TrainingLoop
from keras_gradattn.training._weight_norms import WeightNorms
from keras_gradattn.training.devices import OneDevice
from keras_gradattn.training.recipe import Recipe

_WEIGHT_NORM_STEPS = 500
# Lengths of the average that a training lasts at least.
_SPANS = 10


@dataclasses.dataclass(frozen=True)
class Trained:
    """What a training leaves.

    Args:
        network: With the weights that the recipe tests, compiled, on one device.
        from_logits: Whether its outputs are logits, not probabilities.
        other_weights: `"best"` or `"last"`, whichever the recipe does not test, and
            its weights for `network.set_weights`; empty where they are not known.
        recipe: The recipe with the length that this run had.
        batch_size: Images in a step.
        loop: The epochs.
        gradients: Gradients by depth.
        weight_norms: Weight norms by depth.
    """

    network: keras.Model
    from_logits: bool
    other_weights: dict[str, list[np.ndarray]]
    recipe: Recipe
    batch_size: int
    loop: TrainingLoop
    gradients: GradientHistory
    weight_norms: WeightNorms


def train(
    spec: datasets.DatasetSpec,
    recipe: Recipe,
    configuration: dict[str, Any],
    working: Path,
    *,
    network: Network,
    splits: datasets.DatasetSplits,
    engine: str,
    verbose: int,
    devices: OneDevice,
) -> Trained:
    """Train one network, or go on with it.

    Args:
        spec: The data set's description.
        recipe: The protocol, after `recipe.for_dataset(...)`.
        configuration: What the run was asked for.
        working: Folder of the checkpoint.
        network: What to train.
        splits: The data.
        engine: Input pipeline, or `"device"`.
        verbose: Keras' verbosity.
        devices: What to train on.
    """
    batch_size = recipe.batch_size or spec.batch_size
    epoch_steps = len(splits.train) // batch_size
    # Fewer images than devices are left out.
    epoch_steps += len(splits.train) % batch_size >= devices.count
    recipe = _with_length(recipe, configuration, epoch_steps)
    if "content" in configuration:
        recipe = for_few_steps(
            recipe, recipe.max_steps or recipe.max_epochs * epoch_steps
        )
    # Before anything is spread over devices, where a look at one batch is no longer
    # one process' matter.
    from_logits = network.is_ours or gives_logits(network.build(spec, recipe), spec)
    with devices.scope():
        trained = _train(
            spec,
            recipe,
            configuration,
            working,
            described=network,
            from_logits=from_logits,
            splits=splits,
            engine=engine,
            verbose=verbose,
            devices=devices,
            batch_size=batch_size,
            epoch_steps=epoch_steps,
        )
        weights = trained.network.get_weights() if devices.count > 1 else None
    if weights is None:
        return trained
    # What was built for several devices stays on them.
    alone = network.build(spec, recipe)
    alone.compile(loss=build_loss(recipe, trained.from_logits))
    alone.set_weights(weights)
    return dataclasses.replace(trained, network=alone)


def _with_length(
    recipe: Recipe, configuration: dict[str, Any], epoch_steps: int
) -> Recipe:
    steps = _shortest(recipe.max_steps, configuration["max_steps"])
    most = configuration["max_epochs"]
    epochs = recipe.max_epochs if most is None else min(recipe.max_epochs, most)
    if steps and recipe.max_steps:
        epochs = most or -(-steps // epoch_steps)
    elif steps:
        epochs = min(epochs, -(-steps // epoch_steps))
    phases = _before(recipe.phases, epochs)
    return dataclasses.replace(
        recipe, max_steps=steps, max_epochs=epochs, phases=phases
    )


def _before(
    phases: Sequence[Mapping[str, Any]], epochs: int
) -> tuple[Mapping[str, Any], ...]:
    """The phases that begin within so many epochs."""
    begun: list[Mapping[str, Any]] = []
    for phase in phases:
        if epochs <= 0:
            break
        begun.append(phase)
        epochs -= phase.get("epochs", epochs)
    return tuple(begun)


def for_few_steps(recipe: Recipe, steps: int) -> Recipe:
    """The recipe with an average of weights that forgets where it began.

    A published set has a momentum of its own where its steps are few; how many images
    somebody's data has, no recipe knows.

    Args:
        recipe: The protocol.
        steps: Length of the training.

    Returns:
        The same recipe where the average goes back a tenth of the steps or less, or
        where the momentum was asked for.
    """
    momentum = recipe.ema_momentum
    if momentum is None or "ema_momentum" in recipe.changes:
        return recipe
    # After n steps the beginning still has the weight momentum**n, here exp(-10).
    shorter = 1 - _SPANS / steps
    changed = min(momentum, shorter) if shorter > 0 else None
    return dataclasses.replace(recipe, ema_momentum=changed)


def _shortest(*lengths: int | None) -> int | None:
    given = [length for length in lengths if length is not None]
    return min(given) if given else None


def _train(
    spec: Any,
    recipe: Recipe,
    configuration: dict[str, Any],
    working: Path,
    *,
    described: Network,
    from_logits: bool,
    splits: Any,
    engine: str,
    verbose: int,
    devices: OneDevice,
    batch_size: int,
    epoch_steps: int,
) -> Trained:
    seed_libraries(configuration["seed"])
    network = described.build(spec, recipe, check=False)
    depth, freezing = depth_of(network), Freezing(network)
    validation = devices.validation_part(splits.validation)
    # What is done to training images only.
    changes: dict[str, Any] = {
        "augmentation": build_augmentation(recipe, spec),
        "level_table": recipe.level_table(spec),
    }
    if engine == "device":
        feed = datasets.DeviceFeed((splits.train, validation), spec, **changes)
        model = feed.connect(network)
        batches, changes = feed.batches, {}
    else:
        batches = functools.partial(datasets.batches, spec=spec, engine=engine)

    gradients = GradientHistory(depth)
    weight_norms = WeightNorms(_WEIGHT_NORM_STEPS if recipe.max_steps else None, depth)
    loop = None
    end = 0
    # What a recipe does not divide is one phase.
    for number, phase in enumerate(recipe.phases or ({},)):
        start, end = end, _end(recipe, number)
        freezing.train_only(phase.get("train"))
        if engine != "device":
            model = devices.trained(network)
        model.compile(
            optimizer=_optimizer(recipe, phase, network, end - start, epoch_steps),
            loss=build_loss(recipe, from_logits),
            metrics=["accuracy"],
        )
        if loop is None:
            loop = TrainingLoop(
                model,
                recipe,
                configuration["seed"],
                working / _checkpoint.FILE_NAME,
                companions={"gradients": gradients, "weight_norms": weight_norms},
                devices=devices,
                validated=len(validation),
            )
            stored = loop.stored_phase()
        if number < stored:
            continue
        loop.begin_phase(model, number)
        if number == stored and loop.resume() and devices.rank == 0:
            print(
                f"{working}: resumed after epoch {loop.epochs_run} "
                f"of {recipe.max_epochs}",
                file=sys.stderr,
            )
        if loop.finished or loop.epochs_run >= end:
            continue
        data = batches(
            splits.train,
            batch_size=batch_size,
            training=True,
            seed=configuration["seed"],
            one_hot=recipe.mixes_labels,
            **changes,
            **devices.batches(),
        )
        recorders = [gradients, weight_norms] if devices.records else []
        told = [Progress(loop, len(splits.train), recipe.max_epochs)] if verbose else []
        validation_data = batches(
            validation,
            batch_size=devices.validation_batch(len(validation), batch_size),
            training=False,
            one_hot=recipe.mixes_labels,
            **devices.validation_batches(),
        )
        class_weight = (
            balanced_class_weights(splits.train.labels, spec.num_classes)
            if recipe.class_weights
            else None
        )
        model.fit(
            **devices.fed(data, class_weight),
            validation_data=devices.fed(validation_data)["x"],
            epochs=end,
            initial_epoch=loop.epochs_run,
            callbacks=[_EpochOf(data), *recorders, loop, *told],
            # The pipeline shuffles, by seed and epoch.
            shuffle=False,
            verbose=verbose,
        )
    assert loop is not None
    weights = loop.final_weights()
    tested = next(iter(weights))
    other_weights = {}
    # The tested ones last, so that they stay.
    for name in reversed(weights):
        loop.put(weights[name])
        if name != tested:
            other_weights[name] = network.get_weights()
    if model is not network:
        network.compile(loss=build_loss(recipe, from_logits))
    return Trained(
        network,
        from_logits,
        other_weights,
        recipe,
        batch_size,
        loop,
        gradients,
        weight_norms,
    )


class _EpochOf(keras.callbacks.Callback):
    """Says to the data which epoch it is.

    Said, not counted: a strategy on TensorFlow takes batches ahead of any pass.
    """

    def __init__(self, data: Any):
        super().__init__()
        self._data = data

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._data.set_epoch(epoch)


def _end(recipe: Recipe, number: int) -> int:
    """Epoch after which a phase is over, from 0."""
    if number >= len(recipe.phases) - 1:
        return recipe.max_epochs
    lengths = [phase["epochs"] for phase in recipe.phases[: number + 1]]
    return min(sum(lengths), recipe.max_epochs)


def _optimizer(
    recipe: Recipe,
    phase: Mapping[str, Any],
    network: keras.Model,
    epochs: int,
    epoch_steps: int,
) -> keras.optimizers.Optimizer:
    rate = phase.get("learning_rate", recipe.learning_rate)
    warmup = min(recipe.warmup_epochs, epochs - 1) if phase else recipe.warmup_epochs
    return build_optimizer(
        dataclasses.replace(recipe, learning_rate=rate),
        network,
        total_steps=(not phase and recipe.max_steps) or epochs * epoch_steps,
        warmup_steps=warmup * epoch_steps,
    )
