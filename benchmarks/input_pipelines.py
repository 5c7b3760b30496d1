"""What each data set's training pipeline delivers, beside what a step consumes.

KERAS_BACKEND=jax python benchmarks/input_pipelines.py [--datasets fashion_mnist ...]
    [--output FILE]

Random pixels, the published protocol's augmentation and batch. Images a second and
core: a pipeline's by the processor time of its threads, a training step's (GradAttnV1,
float32) by the clock, divided by the cores that it may use. On two cores a few minutes.
"""

import argparse
import dataclasses
import importlib.util
import json
import os
import platform
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import keras
import numpy as np

from keras_gradattn.datasets import SPECS, DatasetSpec, DeviceFeed, Split, batches
from keras_gradattn.training import RECIPES
from keras_gradattn.training.building import (
    build_augmentation,
    build_loss,
    build_model,
    build_optimizer,
)

ROUNDS = 3
RECIPE = "as_described"


@dataclasses.dataclass(frozen=True)
class Row:
    """Images a second and core; `None` where there is nothing to measure."""

    dataset: str
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


def step_rate(split: Split, spec: DatasetSpec, entries) -> float:
    """A training step, by the clock."""
    recipe = RECIPES[RECIPE].for_dataset(spec.name)
    network = build_model("gradattn_v1", spec, recipe)
    network.compile(build_optimizer(recipe, network, 1), build_loss(recipe))
    count = spec.batch_size * 3
    part = slice(min(count, len(split)))
    few = Split("train", split.images[part], split.labels[part], split.rows[part])
    ready = list(
        batches(few, spec, training=True, engine="pydataset", augmentation=entries)
    )
    network.train_on_batch(*ready[0])
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for images, labels in ready:
            network.train_on_batch(images, labels)
        seconds.append(time.perf_counter() - start)
    return len(few) / min(seconds) / len(os.sched_getaffinity(0))


def measure(name: str, with_step: bool) -> Row:
    """Everything about one data set."""
    spec = SPECS[name]
    split = random_split(spec)
    entries = build_augmentation(RECIPES[RECIPE].for_dataset(name), spec)
    tensorflow = importlib.util.find_spec("tensorflow") is not None
    return Row(
        dataset=name,
        size=f"{spec.image_size} x {spec.image_size} x {spec.channels}",
        step=step_rate(split, spec, entries) if with_step else None,
        pydataset=pipeline_rate(split, spec, "pydataset", entries),
        tf_data=pipeline_rate(split, spec, "tf.data", entries) if tensorflow else None,
        device=device_rate(split, spec, entries),
    )


def line(row: Row) -> str:
    """One line of the table."""
    ways = {"pydataset": row.pydataset, "tf.data": row.tf_data, "device": row.device}
    cells = [f"{row.dataset:14}{row.size:14}"]
    cells.append(f"{row.step:9,.0f}" if row.step else f"{'-':>9}")
    for way in ways.values():
        ratio = f"x{way / row.step:.0f}" if way and row.step else ""
        cells.append(f"{way:11,.0f} {ratio:6}" if way else f"{'-':>11} {'':6}")
    return "".join(cells)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", nargs="+", default=list(SPECS), choices=SPECS)
    parser.add_argument("--no-step", action="store_true", help="pipelines alone")
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    options = parser.parse_args()
    print("images a second and core, and the ratio to what the step consumes")
    print(
        f"{'':28}{'step':>9}{'pydataset':>11}{'':7}{'tf.data':>11}{'':7}{'device':>11}"
    )
    rows = []
    for name in options.datasets:
        rows.append(measure(name, not options.no_step))
        print(line(rows[-1]), flush=True)
    if options.output is not None:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "backend": keras.backend.backend(),
            "keras": keras.__version__,
            "processor": platform.processor() or platform.machine(),
            "cores": len(os.sched_getaffinity(0)),
            "unit": "images per second and core",
            "rows": [dataclasses.asdict(row) for row in rows],
        }
        options.output.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
