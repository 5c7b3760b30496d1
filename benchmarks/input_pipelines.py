"""What each data set's training pipeline delivers, beside what a step consumes.

KERAS_BACKEND=jax python -m benchmarks.input_pipelines [--datasets fashion_mnist ...]
    [--recipes modern ...] [--output FILE]

Random pixels, the augmentation and the network of a recipe, its batch. Images a second
and core: a pipeline's by the processor time of its threads, a training step's
(GradAttnV1, float32) by the clock, divided by the cores that it may use.
"""

import argparse
import dataclasses
import importlib.util
import itertools
import json
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import keras
import numpy as np

from benchmarks.speed.machine import describe_machine, machine_line
from keras_gradattn.datasets import SPECS, DatasetSpec, DeviceFeed, Split, batches
from keras_gradattn.paper import RECIPES
from keras_gradattn.training import Recipe
from keras_gradattn.training._building import (
    build_augmentation,
    build_loss,
    build_model,
    build_optimizer,
)

ROUNDS = 3


@dataclasses.dataclass(frozen=True)
class Row:
    """Images a second and core; `None` where there is nothing to measure."""

    dataset: str
    recipe: str
    size: str
    step: float | None
    pydataset: float
    tf_data: float | None
    device: float


def random_split(spec: DatasetSpec) -> Split:
    """Random pixels, a few batches of them."""
    count = 2048 if spec.image_size < 200 else 256
    shape = (count, spec.image_size, spec.image_size, spec.source_channels)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype="uint8")
    labels = (np.arange(count) % spec.num_classes).astype("int32")
    return Split("train", images, labels, np.arange(count))


def rate(count: int, run: Callable[[], object]) -> float:
    """Images a second of processor time, the best of a few rounds."""
    run()
    seconds = []
    for _ in range(ROUNDS):
        start = time.process_time()
        run()
        seconds.append(time.process_time() - start)
    return count / min(seconds)


def exhaust(data: Iterable) -> None:
    """Take every batch of one pass."""
    for _ in data:
        pass


def pipeline_rate(split: Split, spec: DatasetSpec, engine: str, entries) -> float:
    """A pipeline on the host, alone."""
    data = batches(
        split, spec, training=True, engine=engine, augmentation=entries, workers=0
    )
    return rate(len(split), lambda: exhaust(data))


def device_rate(split: Split, spec: DatasetSpec, entries) -> float:
    """The augmentation that runs inside the step, compiled alone."""
    feed = DeviceFeed((split,), spec, augmentation=entries)
    data = feed.batches(split, training=True, drop_remainder=True)
    augment = compiled(feed._layer)

    def run() -> None:
        for inputs, _ in data:
            keras.ops.convert_to_numpy(augment(inputs))

    return rate(len(data) * len(data[0][1]), run)


def compiled(layer: keras.layers.Layer) -> Callable:
    """The layer in training mode, compiled the way that backend's `fit` does it."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        step = jax.jit(
            lambda weights, inputs: layer.stateless_call(
                [], weights, inputs, training=True
            )[0]
        )
        weights = [variable.value for variable in layer.non_trainable_variables]
        return lambda inputs: step(weights, inputs)
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.function(
            lambda inputs: layer(inputs, training=True), jit_compile=True
        )
    return lambda inputs: layer(inputs, training=True)


def step_rate(split: Split, spec: DatasetSpec, recipe: Recipe, entries) -> float:
    """A training step, by the clock."""
    network = build_model("gradattn_v1", spec, recipe)
    network.compile(build_optimizer(recipe, network, 1), build_loss(recipe))
    data = batches(split, spec, training=True, engine="pydataset", augmentation=entries)
    images, labels = data[0]
    network.train_on_batch(images, labels)
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        network.train_on_batch(images, labels)
        seconds.append(time.perf_counter() - start)
    return len(images) / min(seconds) / len(os.sched_getaffinity(0))


def measure(name: str, recipe_name: str, with_step: bool) -> Row:
    """Everything about one data set in one recipe."""
    recipe = RECIPES[recipe_name].for_dataset(name)
    spec = SPECS[name]
    split = random_split(spec)
    entries = build_augmentation(recipe, spec)
    tensorflow = importlib.util.find_spec("tensorflow") is not None
    return Row(
        dataset=name,
        recipe=recipe_name,
        size=f"{spec.image_size} x {spec.image_size} x {spec.channels}",
        step=step_rate(split, spec, recipe, entries) if with_step else None,
        pydataset=pipeline_rate(split, spec, "pydataset", entries),
        tf_data=pipeline_rate(split, spec, "tf.data", entries) if tensorflow else None,
        device=device_rate(split, spec, entries),
    )


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    lines = [
        "| | recipe | size | step | pydataset | tf.data | device |",
        "|---|---|---|--:|--:|--:|--:|",
    ]
    for row in rows:
        cells = [row.dataset, row.recipe, row.size]
        cells.append(f"{row.step:,.0f}" if row.step else "")
        for way in (row.pydataset, row.tf_data, row.device):
            ratio = f" (x{way / row.step:,.0f})" if way and row.step else ""
            cells.append(f"{way:,.0f}{ratio}" if way else "")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--datasets", nargs="+", default=list(SPECS), choices=SPECS)
    add("--recipes", nargs="+", default=["as_described"], choices=RECIPES)
    add("--no-step", action="store_true", help="pipelines alone")
    add("--output", type=Path, help="write the figures as JSON")
    options = parser.parse_args()
    machine = describe_machine()
    print(f"{machine_line(machine)}; {keras.backend.backend()} backend\n", flush=True)
    rows = []
    for name, recipe in itertools.product(options.datasets, options.recipes):
        rows.append(measure(name, recipe, not options.no_step))
        print(table(rows[-1:]).splitlines()[-1], flush=True)
    print("\nimages a second and core, and the ratio to what the step consumes\n")
    print(table(rows))
    if options.output is not None:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "machine": machine,
            "backend": keras.backend.backend(),
            "unit": "images per second and core",
            "rows": [dataclasses.asdict(row) for row in rows],
        }
        options.output.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
