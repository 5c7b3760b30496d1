"""One experiment is one call: train, resume, evaluate, write the JSON."""

import contextlib
import dataclasses
import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_gradattn import datasets, models
from keras_gradattn.training._files import check_writable, read_json, write_json
from keras_gradattn.training._gradient_analysis import analyze_gradients
from keras_gradattn.training._gradient_history import GradientHistory
from keras_gradattn.training._training_loop import TrainingLoop
from keras_gradattn.training._weight_norms import WeightNorms
from keras_gradattn.training.coupled_adam import CoupledAdam
from keras_gradattn.training.evaluation import evaluate
from keras_gradattn.training.recipes import (
    RECIPES,
    RELEASED_INITIALIZATION_MODELS,
    Recipe,
    look_up,
)

MODELS: dict[str, str] = {
    "resnet18": "ResNet18",
    "se_resnet18": "SEResNet18",
    "cbam_resnet18": "CBAMResNet18",
    "gradattn_v1": "GradAttnV1",
    "gradattn_v2": "GradAttnV2",
    "gradattn_v3": "GradAttnV3",
}

_FORMAT = 1
# The released V1 head on five data sets; 16 heads of width 2.
_RELEASED_V1_HEAD = {"width": 32, "num_heads": 16, "feed_forward": 2}
# Modules whose versions change results.
_VERSIONS = ("keras", "numpy", "tensorflow", "jax", "jaxlib", "torch", "keras-gradattn")
_WEIGHT_NORM_STEPS = 500


def run(
    dataset: str,
    model: str = "gradattn_v2",
    recipe: str | Recipe = "as_described",
    seed: int = 42,
    *,
    data_dir: str | Path | None = None,
    results: str | Path = "results",
    max_epochs: int | None = None,
    max_steps: int | None = None,
    limit: int | None = None,
    download: bool = False,
    engine: str = "auto",
    model_options: Mapping[str, Any] | None = None,
    tag: str = "",
    save_model: bool = False,
    pictures: bool = True,
    verbose: int | str = "auto",
) -> dict[str, Any]:
    """Run one experiment from data to JSON, or go on with it, or read its result.

    The result is `results/<dataset>-<model>-<recipe>-seed<seed>.json`. A finished
    experiment is not run again; an interrupted one goes on from its last epoch, on a
    CPU to the same bits.

    Args:
        dataset: Key of `keras_gradattn.datasets.SPECS`.
        model: Key of `MODELS`.
        recipe: Key of `RECIPES`, or a `Recipe` of your own.
        seed: Seed of initialisation, shuffling, augmentation and dropout. The
            random split keeps the recipe's own seed.
        data_dir: Folder with the data sets; TFDS' default if `None`.
        results: Folder for the JSON, its pictures and the running checkpoint.
        max_epochs: Train at most so many epochs. A run that this cuts is marked
            `"short"`.
        max_steps: Train at most so many optimiser steps; likewise.
        limit: Use only so many images of each split; the run is marked `"short"`.
        download: Whether a missing data set may be downloaded.
        engine: Input pipeline: `"auto"`, `"tf.data"` or `"pydataset"`.
        model_options: Further arguments of the model's constructor.
        tag: Appended to the file name, to keep variations of one recipe apart.
        save_model: Whether to keep the tested model as `.keras` beside the JSON.
        pictures: Whether to draw the pictures (needs matplotlib).
        verbose: Keras' verbosity: `"auto"`, 0, 1 or 2.

    Returns:
        The content of the JSON, a dictionary.

    Raises:
        ValueError: If a name is unknown (the nearest is suggested), or the results
            folder has this experiment with another configuration.
        OSError: If the results folder cannot be written to.

    Example:

    ```python
    result = keras_gradattn.training.run(
        "digits", "gradattn_v2", "as_described", max_epochs=2
    )
    result["metrics"]["top1"]
    ```
    """
    # Unknown names first: before data is read and before anything is written.
    spec = datasets.spec(dataset)
    look_up(model, MODELS, "model")
    if isinstance(recipe, str):
        recipe = look_up(recipe, RECIPES, "recipe")
    applied = recipe.for_dataset(dataset)
    options = dict(model_options or {})
    configuration = _plain(
        {
            "dataset": dataset,
            "model": model,
            "recipe": dataclasses.asdict(applied),
            "seed": seed,
            "max_epochs": max_epochs,
            "max_steps": max_steps,
            "limit": limit,
            "model_options": options,
        }
    )

    folder = Path(results)
    check_writable(folder)
    stem = f"{dataset}-{model}-{recipe.name}-seed{seed}" + (f"-{tag}" if tag else "")
    path = folder / f"{stem}.json"
    if path.exists():
        finished = read_json(path)
        _check_same(finished["configuration"], configuration, path)
        print(f"{path}: finished before, not run again", file=sys.stderr)
        return finished
    working = folder / f"{stem}.partial"
    with _only_one(working):
        started = working / "configuration.json"
        if started.exists():
            _check_same(read_json(started), configuration, working)
        else:
            write_json(started, configuration)
        content = _run(
            spec,
            applied,
            configuration,
            working,
            splits=datasets.load(
                dataset,
                data_dir=data_dir,
                download=download,
                seed=applied.split_seed,
                group=applied.group,
                limit=limit,
                engine=engine,
            ),
            engine=engine,
            verbose=_verbosity(verbose),
            save_to=folder / f"{stem}.keras" if save_model else None,
        )
        if pictures:
            _draw(content, folder / stem)
        # Last: where the JSON stands, everything else stands too.
        write_json(path, content)
        shutil.rmtree(working)
    print(f"{path}: test accuracy {100 * content['metrics']['top1']:.2f} %")
    return content


def build_model(
    name: str,
    spec: Any,
    recipe: Recipe,
    **options: Any,
) -> keras.Model:
    """Build the network that a recipe trains on a data set, giving logits.

    Args:
        name: Key of `MODELS`.
        spec: The data set's `DatasetSpec`.
        recipe: The protocol, after `recipe.for_dataset(...)`.
        **options: Further arguments of the constructor; they win.

    Returns:
        A Functional `keras.Model` with linear output, not compiled.

    Raises:
        ValueError: If there is no such model; the nearest name is suggested.
    """
    constructor = getattr(models, look_up(name, MODELS, "model"))
    small = recipe.stem == "auto" and spec.image_size <= 64
    arguments: dict[str, Any] = {
        "input_shape": (spec.image_size, spec.image_size, spec.channels),
        "stem": "cifar" if small or recipe.stem == "cifar" else "imagenet",
        "classifier_activation": None,
        "dtype": recipe.mixed_precision if _has_accelerator() else None,
    }
    if recipe.released_v1_head and name == "gradattn_v1":
        arguments |= _RELEASED_V1_HEAD
    if recipe.released_initialization and name in RELEASED_INITIALIZATION_MODELS:
        arguments["initialization"] = "kaiming_fan_out"
    return constructor(spec.num_classes, **(arguments | options))


def build_optimizer(
    recipe: Recipe, model: keras.Model, total_steps: int, warmup_steps: int = 0
) -> keras.optimizers.Optimizer:
    """Make a recipe's optimizer for a model.

    Args:
        recipe: The protocol.
        model: The model whose norms and biases may be left out of the decay.
        total_steps: Length of the training, in steps (for the cosine schedule).
        warmup_steps: Steps of linear warm-up at its start.

    Returns:
        A Keras optimizer.
    """
    rate: Any = recipe.learning_rate
    if recipe.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(
            0.0 if warmup_steps else rate,
            decay_steps=max(1, total_steps - warmup_steps),
            warmup_target=rate if warmup_steps else None,
            warmup_steps=warmup_steps,
        )
    average = {}
    if recipe.ema_momentum is not None:
        average = {"use_ema": True, "ema_momentum": recipe.ema_momentum}
    # PyTorch's epsilon; Keras' 1e-7 is another number in another place.
    if recipe.optimizer == "coupled_adam":
        optimizer = CoupledAdam(rate, weight_decay=recipe.weight_decay, **average)
    elif recipe.optimizer == "adamw":
        optimizer = keras.optimizers.AdamW(
            rate, weight_decay=recipe.weight_decay, epsilon=1e-8, **average
        )
    else:
        optimizer = keras.optimizers.Adam(rate, epsilon=1e-8, **average)
    if recipe.weight_decay and not recipe.decay_norms_and_biases:
        # By name as well: Keras' attention has biases of two dimensions.
        optimizer.exclude_from_weight_decay(
            var_list=[
                variable
                for variable in model.trainable_variables
                if len(variable.shape) < 2 or "bias" in variable.name
            ]
        )
    return optimizer


def build_augmentation(recipe: Recipe, spec: Any) -> tuple[datasets.Augmentation, ...]:
    """A recipe's training augmentation of a data set, mixing last.

    Args:
        recipe: The protocol, after `recipe.for_dataset(...)`.
        spec: The data set's `DatasetSpec`.

    Returns:
        Entries for `keras_gradattn.datasets.batches`.
    """
    entries = spec.augmentation if recipe.augmentation is None else recipe.augmentation
    entries = [
        datasets.Augmentation(**entry) if isinstance(entry, Mapping) else entry
        for entry in entries
    ]
    if recipe.random_augment:
        entries.append(datasets.Augmentation("random_augment"))
    # With both, an image has an even chance of each.
    share = 0.5 if recipe.mixup and recipe.cutmix else 1.0
    for name in ("mixup", "cutmix"):
        if alpha := getattr(recipe, name):
            entries.append(datasets.Augmentation(name, alpha=alpha, probability=share))
    return tuple(entries)


def balanced_class_weights(labels: np.ndarray, classes: int) -> dict[int, float]:
    """Weights by inverse frequency with mean 1 over the images.

    Args:
        labels: Class indices of the training images.
        classes: Number of classes; one without images has weight 0.

    Returns:
        Class index -> `images / (present classes * images of the class)`.
    """
    counts = np.bincount(np.asarray(labels).ravel().astype(int), minlength=classes)
    present = int((counts > 0).sum())
    return {
        index: float(counts.sum() / (present * count)) if count else 0.0
        for index, count in enumerate(counts)
    }


def _run(
    spec: Any,
    recipe: Recipe,
    configuration: dict[str, Any],
    working: Path,
    *,
    splits: Any,
    engine: str,
    verbose: int,
    save_to: Path | None,
) -> dict[str, Any]:
    seed = configuration["seed"]
    keras.utils.set_random_seed(seed)
    model = build_model(
        configuration["model"], spec, recipe, **configuration["model_options"]
    )
    batch_size = recipe.batch_size or spec.batch_size
    epoch_steps = -(-len(splits.train) // batch_size)
    steps = _shortest(recipe.max_steps, configuration["max_steps"])
    epochs = _shortest(recipe.max_epochs, configuration["max_epochs"])
    if recipe.max_steps:
        epochs = configuration["max_epochs"] or -(-steps // epoch_steps)
    elif steps:
        epochs = min(epochs, -(-steps // epoch_steps))
    recipe = dataclasses.replace(recipe, max_steps=steps, max_epochs=epochs)
    model.compile(
        optimizer=build_optimizer(
            recipe,
            model,
            total_steps=steps or epochs * epoch_steps,
            warmup_steps=recipe.warmup_epochs * epoch_steps,
        ),
        loss=_loss(recipe),
        metrics=["accuracy"],
    )

    gradients = GradientHistory()
    weight_norms = WeightNorms(_WEIGHT_NORM_STEPS if recipe.max_steps else None)
    loop = TrainingLoop(
        model,
        recipe,
        seed,
        working / "checkpoint.npz",
        companions={"gradients": gradients, "weight_norms": weight_norms},
    )
    if loop.resume():
        print(
            f"{working}: resumed after epoch {loop.epochs_run} of {epochs}",
            file=sys.stderr,
        )

    def batches(split: Any, **settings: Any) -> Any:
        return datasets.batches(
            split,
            spec,
            batch_size=batch_size,
            engine=engine,
            one_hot=recipe.mixes_labels,
            **settings,
        )

    if not loop.finished:
        model.fit(
            batches(
                splits.train,
                training=True,
                seed=seed,
                augmentation=build_augmentation(recipe, spec),
                pixels="released" if recipe.released_pixels else "correct",
                initial_epoch=loop.epochs_run,
            ),
            validation_data=batches(splits.validation, training=False),
            epochs=epochs,
            initial_epoch=loop.epochs_run,
            callbacks=[gradients, weight_norms, loop],
            class_weight=(
                balanced_class_weights(splits.train.labels, spec.num_classes)
                if recipe.class_weights
                else None
            ),
            # The pipeline shuffles, by seed and epoch.
            shuffle=False,
            verbose=verbose,
        )
    loop.put_final_weights()

    evaluation = evaluate(
        model,
        batches(splits.test, training=False),
        validation=batches(splits.validation, training=False),
        class_names=spec.class_names,
        from_logits=True,
    )
    if save_to is not None:
        saved = working / save_to.name
        model.save(saved)
        os.replace(saved, save_to)
    content = {
        "format": _FORMAT,
        "configuration": configuration,
        "short": _was_shortened(recipe, configuration, loop),
        "backend": keras.backend.backend(),
        "versions": _versions(),
        "hardware": _hardware(),
        "split_sizes": {
            name: len(getattr(splits, name)) for name in ("train", "validation", "test")
        },
        "parameters": int(
            sum(np.prod(v.shape, dtype=int) for v in model.trainable_variables)
        ),
        "epochs_run": loop.epochs_run,
        "steps": loop.steps,
        "best_epoch": loop.best_epoch,
        "stopped_early": loop.stopped_early,
        "training_seconds": sum(record["seconds"] for record in loop.history),
        "metrics": evaluation.to_dict(),
        "history": loop.history,
        "weight_norms": weight_norms.state(),
        "gradients": {
            "training": gradients.state(),
            "test": analyze_gradients(model, batches(splits.test, training=False)),
        },
    }
    return _plain(content)


def _loss(recipe: Recipe) -> keras.losses.Loss:
    if recipe.mixes_labels:
        return keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=recipe.label_smoothing
        )
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def _shortest(*lengths: int | None) -> int | None:
    given = [length for length in lengths if length is not None]
    return min(given) if given else None


def _was_shortened(
    recipe: Recipe, configuration: dict[str, Any], loop: TrainingLoop
) -> bool:
    """Whether a full run of the same recipe would have gone on, or otherwise."""
    full = configuration["recipe"]
    if configuration["limit"] is not None:
        return True
    if full["max_steps"] is not None:
        return loop.steps < full["max_steps"]
    cut = recipe.max_steps is not None or recipe.max_epochs < full["max_epochs"]
    # A run that stopped by its own rule before the cut is the full run, unless
    # its schedule was laid out for the shorter length.
    return cut and not (loop.stopped_early and full["schedule"] != "cosine")


def _check_same(found: dict[str, Any], wanted: dict[str, Any], path: Path) -> None:
    if found == wanted:
        return
    differing = sorted(
        name
        for name in {*_flat(found), *_flat(wanted)}
        if _flat(found).get(name) != _flat(wanted).get(name)
    )
    name = differing[0]
    raise ValueError(
        f"{path} belongs to another configuration, which differs in "
        f"{', '.join(differing)}. Choose a `tag`, another recipe name or another "
        f"results folder. Received: {name}={_flat(wanted).get(name)!r}, there: "
        f"{_flat(found).get(name)!r}"
    )


def _flat(configuration: dict[str, Any]) -> dict[str, Any]:
    return {
        **{k: v for k, v in configuration.items() if k != "recipe"},
        **{f"recipe.{k}": v for k, v in configuration["recipe"].items()},
    }


@contextlib.contextmanager
def _only_one(working: Path) -> Iterator[None]:
    """Keep a second process from training the same experiment at the same time."""
    working.mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        try:
            import fcntl
        except ImportError:  # Windows has no flock; there, two runs are not told apart.
            yield
            return
        lock = stack.enter_context(open(working / "lock", "w"))
        try:
            # The kernel drops it when the process ends, however it ends.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RuntimeError(
                f"{working} is in use: this experiment is running in another process."
            ) from None
        yield


def _verbosity(verbose: int | str) -> int:
    if verbose != "auto":
        return int(verbose)
    return 1 if sys.stdout.isatty() else 2


def _plain(value: Any) -> Any:
    """The value as JSON holds it: tuples as lists, data as dictionaries."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if hasattr(value, "to_dict"):
        return _plain(value.to_dict())
    if isinstance(value, np.generic):
        return value.item()
    return value


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in _VERSIONS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def _has_accelerator() -> bool:
    return _accelerator() is not None


def _accelerator() -> str | None:
    """Name of the first accelerator; every backend lists them in its own way."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        device = jax.devices()[0]
        return None if device.platform == "cpu" else device.device_kind
    if backend == "tensorflow":
        import tensorflow as tf

        found = tf.config.list_physical_devices("GPU")
        if not found:
            return None
        details = tf.config.experimental.get_device_details(found[0])
        return details.get("device_name", "GPU")
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None


def _hardware() -> dict[str, Any]:
    return {
        "system": platform.system(),
        "processor": platform.processor() or platform.machine(),
        "cpu_cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "accelerator": _accelerator(),
    }


def _draw(content: dict[str, Any], stem: Path) -> None:
    from keras_gradattn.training._pictures import draw_gradients, draw_history

    draw_history(content, stem.with_name(stem.name + "-history.png"))
    draw_gradients(content, stem.with_name(stem.name + "-gradients.png"))
