"""One experiment is one call: train, resume, evaluate, write the JSON."""

import contextlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_gradattn import datasets
from keras_gradattn._compat import system
from keras_gradattn.datasets.folder import printable
from keras_gradattn.training import _checkpoint
from keras_gradattn.training._accelerator import accelerator
from keras_gradattn.training._data import Data
from keras_gradattn.training._depth_weights import analyze_depth_weights
from keras_gradattn.training._files import (
    read_json,
    remove_empty,
    results_folder,
    write_json,
)
from keras_gradattn.training._gradient_analysis import analyze_gradients
from keras_gradattn.training._networks import Model, Network
from keras_gradattn.training._plan import Plan, plain, plan_run
from keras_gradattn.training._reduction import reduced
from keras_gradattn.training._train import train
from keras_gradattn.training._training_loop import TrainingLoop
from keras_gradattn.training.devices import OneDevice, choose
from keras_gradattn.training.evaluation import evaluate_with_errors
from keras_gradattn.training.machines import Workers, workers
from keras_gradattn.training.recipe import Recipe
from keras_gradattn.training.results import FORMAT, read_result, what_is_missing
from keras_gradattn.training.saved_model import save_model as save_for_use

# Modules whose versions change results.
_VERSIONS = ("keras", "numpy", "tensorflow", "jax", "jaxlib", "torch", "keras-gradattn")
# With fewer test images an accuracy is chance: of 30 that are half right, 32 to 68 %
# may be seen.
_FEWEST_TEST_IMAGES = 30


def run(
    data: Data,
    model: Model = "gradattn_v2",
    recipe: str | Recipe = "modern",
    seed: int = 42,
    *,
    data_dir: str | Path | None = None,
    data_options: Mapping[str, Any] | None = None,
    results: str | Path = "results",
    max_epochs: int | None = None,
    max_steps: int | None = None,
    limit: int | None = None,
    download: bool = False,
    engine: str = "auto",
    devices: int = 1,
    model_options: Mapping[str, Any] | None = None,
    save_model: bool = False,
    pictures: bool = True,
    verbose: int | str = "auto",
) -> dict[str, Any]:
    """Run one experiment from data to JSON, or go on with it, or read its result.

    The name of the result's file says what was run, such as
    `results/digits/gradattn_v2/modern,epochs=2/seed42.json`. If the experiment is
    finished, it is not run again. If it was interrupted, it goes on from its last
    epoch. On a CPU the result is then the same to the last bit.

    Args:
        data: What to train on: a key of `keras_gradattn.datasets.SPECS`, a name of
            TensorFlow Datasets (TFDS), a folder of images, a table of images (.csv), or
            a `DatasetSplits`, such as `datasets.from_arrays` returns.
        model: What to train. Defaults to `"gradattn_v2"`. It may be:

            * a key of `MODELS`,
            * a Keras model, which is copied with its weights,
            * a function that makes a Keras model, or its name
              `"package.module:function"`. It is given those of `num_classes` and
              `input_shape` that it takes,
            * `"keras.applications:ResNet50"`, with random weights unless
              `model_options={"weights": "imagenet"}`,
            * `"keras_hub:resnet_18_imagenet"`, a preset with its weights.

            The model gets normalised images, and gives a logit or a probability for
            each class.
        recipe: Key of `RECIPES`, or a `Recipe`, such as one of
            `keras_gradattn.paper.RECIPES` or of your own. Defaults to `"modern"`.
        seed: Seed of initialisation, shuffling, augmentation and dropout. The random
            division of the data keeps the recipe's own seed. Defaults to 42.
        data_dir: Folder with the data sets. `None` (the default) is that of TFDS.
        data_options: Further arguments of what reads a folder, a table or a data set
            of TFDS, such as `{"size": 64, "on_bad": "skip"}`. Defaults to none.
        results: Folder for the JSON, its pictures and the running checkpoint. Defaults
            to `"results"`.
        max_epochs: Train at most so many epochs. Default: as the recipe says. If this
            makes the run shorter, it is marked `"short"`.
        max_steps: Train at most so many steps of the optimizer, in the same way.
        limit: Use at most so many images of each part. Default: all. A run with a limit
            is marked `"short"`.
        download: Whether a missing data set may be downloaded. Defaults to `False`.
        engine: Input pipeline: `"auto"` (the default), `"tf.data"`, `"pydataset"`, or
            `"device"`, which keeps the images on the accelerator and augments them
            inside the training step.
        devices: Train on so many devices of this machine, each with an equal share of
            every batch. JAX uses `keras.distribution.DataParallel`, and the result is
            that of one device. TensorFlow uses `MirroredStrategy`, and PyTorch a
            process for each device with `DistributedDataParallel`; there BatchNorm sees
            one share of the batch. Defaults to 1. Processes that a launcher has started
            together, on one machine or several, find one another (`docs/cluster.md`).
            The first of them writes the result. The others get the configuration only.
        model_options: Further arguments of the model's constructor, or of the function
            that makes it. Defaults to none.
        save_model: Whether to keep the tested model as `.keras` beside the JSON, with
            its preprocessing and classes (see `save_model`). A run that is finished
            without is not run again for it. Defaults to `False`.
        pictures: Whether to draw the pictures (needs matplotlib). Defaults to `True`.
        verbose: Keras' verbosity: `"auto"` (the default), 0, 1 or 2.

    Returns:
        The content of the JSON, a dictionary.

    Raises:
        ValueError: If a name is unknown (the nearest is suggested), there are fewer
            devices, or the results folder has this experiment with another
            configuration.
        OSError: If the results folder cannot be written to.

    Example:

    ```python
    narrow = {"stage_filters": (4, 4), "stage_blocks": (1, 1), "width": 8}
    result = keras_gradattn.training.run(
        "digits", "gradattn_v2", max_epochs=1, limit=64, model_options=narrow
    )
    result["metrics"]["top1"]
    ```
    """
    # First of all: processes that train together must meet before they compute.
    together = workers()
    if together is not None and devices != 1:
        raise ValueError(
            "Processes that were started together bring their own devices. "
            f"Received: devices={devices}"
        )
    _check_installed(pictures)
    plan = plan_run(
        data,
        model,
        recipe,
        seed,
        data_dir=data_dir,
        data_options=data_options,
        max_epochs=max_epochs,
        max_steps=max_steps,
        limit=limit,
        download=download,
        engine=engine,
        devices=devices if together is None else together.devices,
        model_options=model_options,
    )
    folder = Path(results)
    with results_folder(folder):
        return _run_plan(
            plan,
            folder,
            devices,
            together,
            download=download,
            engine=engine,
            save_model=save_model,
            pictures=pictures,
            verbose=_verbosity(verbose),
        )


def _check_installed(pictures: bool) -> None:
    """Find out before training what the end of a run would miss."""
    needed = {"sklearn": ("measures", "scikit-learn", "data")}
    if pictures:
        needed["matplotlib"] = ("pictures", "matplotlib", "plots")
    for module, (what, name, extra) in needed.items():
        if importlib.util.find_spec(module) is None:
            raise ImportError(
                f"The {what} of a run need {name}. Get it with: "
                f"pip install 'keras-gradattn[{extra}]'. Nothing was trained. "
                f"Received: pictures={pictures}"
            )


def _run_plan(
    plan: Plan,
    folder: Path,
    devices: int,
    together: Workers | None,
    *,
    download: bool,
    engine: str,
    save_model: bool,
    pictures: bool,
    verbose: int,
) -> dict[str, Any]:
    """Read the result, or train and write it."""
    configuration, spec = plan.configuration, plan.data.spec
    stem = folder / plan.name
    path = stem.with_name(f"{stem.name}.json")
    wanted = {"save_model": save_model, "pictures": pictures}
    finished = _finished(path, configuration, wanted)
    if finished is not None:
        return finished
    working = stem.with_name(f"{stem.name}.partial")
    told = {
        "recipe": plan.recipe,
        "configuration": configuration,
        "working": working,
        "data": plan.data,
        "network": plan.network,
        "engine": engine,
    }
    chosen = choose(devices, told, together)
    if chosen.rank:
        # The first process has the folder, tests and writes.
        train(
            spec,
            plan.recipe,
            configuration,
            working,
            network=plan.network,
            splits=plan.data.load(download),
            engine=engine,
            verbose=0,
            devices=chosen,
        )
        return {"configuration": configuration}
    with _working_folder(working):
        # Another process may have come first.
        finished = _finished(path, configuration, wanted)
        if finished is not None:
            return finished
        started = working / "configuration.json"
        if (working / _checkpoint.FILE_NAME).exists():
            _check_same(read_json(started), configuration, working)
        else:
            write_json(started, configuration)
        splits = plan.data.load(download)
        content = _run(
            spec,
            plan.recipe,
            configuration,
            working,
            network=plan.network,
            splits=splits,
            engine=engine,
            verbose=verbose,
            devices=chosen,
            save_to=stem.with_name(f"{stem.name}.keras") if save_model else None,
        )
        if pictures:
            _draw(content, splits.test, stem)
        # Last: where the JSON stands, everything else stands too.
        write_json(path, content)
        (working / _checkpoint.FILE_NAME).unlink(missing_ok=True)
    print(f"{path}: test accuracy {100 * content['metrics']['top1']:.2f} %")
    for remark in content.get("remarks", []):
        print(f"{path}: {remark}")
    return content


def _run(
    spec: Any,
    recipe: Recipe,
    configuration: dict[str, Any],
    working: Path,
    *,
    network: Network,
    splits: Any,
    engine: str,
    verbose: int,
    devices: OneDevice,
    save_to: Path | None,
) -> dict[str, Any]:
    # Everything but the training reads the test part once, as it stands.
    engine_of_rest = "auto" if engine == "device" else engine
    trained = train(
        spec,
        recipe,
        configuration,
        working,
        network=network,
        splits=splits,
        engine=engine,
        verbose=verbose,
        devices=devices,
    )
    model, loop = trained.network, trained.loop

    def batches(split: datasets.Split) -> Any:
        return datasets.batches(
            split,
            spec,
            batch_size=trained.batch_size,
            training=False,
            engine=engine_of_rest,
            one_hot=recipe.mixes_labels,
        )

    def evaluation() -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Every measure, and the worst errors."""
        measured, errors = evaluate_with_errors(
            model,
            batches(splits.test),
            validation=batches(splits.validation),
            class_names=spec.class_names,
            from_logits=trained.from_logits,
        )
        return measured.to_dict(), errors

    remarks = _remarks(splits)
    if (momentum := trained.recipe.ema_momentum) != recipe.ema_momentum:
        how = "not averaged" if momentum is None else f"averaged with {momentum:.4g}"
        remarks.append(
            f"weights {how} instead of with a momentum of {recipe.ema_momentum}, as "
            "the steps are few"
        )

    def analyzed(what: str, analysis: Callable[[], Any]) -> Any:
        """What an analysis finds; an odd network loses that, not its result."""
        try:
            return analysis()
        except Exception as error:
            if network.is_ours:
                raise
            reason = str(error).split("\n")[0]
            remarks.append(f"no {what} of this network: {reason}")
            return None

    metrics, errors = evaluation()
    if save_to is not None:
        _save(model, spec, save_to, working, trained.from_logits)
    content = {
        "format": FORMAT,
        "configuration": configuration,
        "short": _was_shortened(trained.recipe, configuration, loop),
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
        "metrics": metrics,
        "worst_errors": [_located(error, splits.test) for error in errors],
        "history": loop.history,
        "weight_norms": trained.weight_norms.state(),
        "gradients": {
            "training": trained.gradients.state(),
            "test": analyzed(
                "gradients of layer outputs",
                lambda: analyze_gradients(model, batches(splits.test)),
            ),
        },
        **(
            analyzed(
                "weights of depths",
                lambda: analyze_depth_weights(
                    model,
                    lambda: batches(splits.train),
                    batches(splits.test),
                    trained.from_logits,
                ),
            )
            or {}
        ),
        **{
            name: analysis(model, batches(splits.test))
            for name, analysis in recipe.analyses().items()
        },
    }
    # What the recipe does not test costs one more pass and tells what a recipe that
    # does would have reported.
    for name, weights in trained.other_weights.items():
        model.set_weights(weights)
        epoch = {"best": loop.best_epoch, "last": loop.epochs_run}[name]
        content["other_weights"] = {
            "weights": name,
            "epoch": epoch,
            "metrics": evaluation()[0],
        }
    if remarks:
        content["remarks"] = remarks
    return reduced(plain(content))


def _located(error: dict[str, Any], split: datasets.Split) -> dict[str, Any]:
    """An error with where its image is: row of the source, and file where it is one."""
    position = error["position"]
    paths = getattr(split.images, "paths", None)
    file = {} if paths is None else {"file": printable(paths[position])}
    return {**error, "row": int(split.rows[position]), **file}


def _remarks(splits: datasets.DatasetSplits) -> list[str]:
    count = len(splits.test)
    if count >= _FEWEST_TEST_IMAGES:
        return []
    return [f"{count} test images: this accuracy measures nothing"]


def _save(
    model: keras.Model,
    spec: datasets.DatasetSpec,
    path: Path,
    working: Path,
    from_logits: bool,
) -> None:
    saved = working / path.name
    try:
        save_for_use(model, spec, saved, from_logits=from_logits)
    except OSError:
        raise
    except Exception as error:
        # A network of somebody's that cannot be saved has a result all the same.
        warnings.warn(
            f"The model was not saved ({error}). Received: {model.name}", stacklevel=2
        )
        return
    os.replace(saved, path)


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
    differing = sorted(
        name
        for name in {*_flat(found), *_flat(wanted)}
        if _flat(found).get(name) != _flat(wanted).get(name)
    )
    if not differing:
        return
    name = differing[0]
    raise ValueError(
        f"{path} belongs to another configuration, which differs in "
        f"{', '.join(differing)}. Give the recipe another name, or choose another "
        f"results folder. Received: {name}={_flat(wanted).get(name)!r}, there: "
        f"{_flat(found).get(name)!r}"
    )


def _flat(configuration: dict[str, Any]) -> dict[str, Any]:
    return {
        **{k: v for k, v in configuration.items() if k != "recipe"},
        **{f"recipe.{k}": v for k, v in configuration["recipe"].items()},
    }


def _finished(
    path: Path, configuration: dict[str, Any], wanted: dict[str, bool]
) -> dict[str, Any] | None:
    """The result that stands there already, if it is this experiment's."""
    if not path.exists():
        return None
    finished = read_result(path)
    _check_same(finished["configuration"], configuration, path)
    print(f"{path}: finished before, not run again", file=sys.stderr)
    if missing := what_is_missing(path, **wanted):
        print(missing, file=sys.stderr)
    return finished


@contextlib.contextmanager
def _working_folder(working: Path) -> Iterator[None]:
    """The run's folder, for one process at a time; stays where a run can go on."""
    working.mkdir(parents=True, exist_ok=True)
    try:
        with system.lock(working / "lock"):
            try:
                yield
            finally:
                if not (working / _checkpoint.FILE_NAME).exists():
                    shutil.rmtree(working, ignore_errors=True)
                    # Recipe, network and data set of the run's name.
                    remove_empty(list(working.parents)[:3])
    except system.InUseError:
        raise RuntimeError(
            f"This experiment is running in another process. Received: {working}"
        ) from None


def _verbosity(verbose: int | str) -> int:
    if verbose != "auto":
        return int(verbose)
    return 1 if sys.stdout.isatty() else 2


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in _VERSIONS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def _hardware() -> dict[str, Any]:
    return {
        "system": platform.system(),
        "processor": platform.processor() or platform.machine(),
        "cpu_cores": system.cpu_cores(),
        "accelerator": accelerator(),
    }


def _draw(content: dict[str, Any], test: datasets.Split, stem: Path) -> None:
    from keras_gradattn.training import _pictures

    for name, draw in _pictures.OF_A_RESULT.items():
        draw(content, stem.with_name(f"{stem.name}-{name}.png"))
    if content["worst_errors"]:
        _pictures.draw_errors(
            content, test.images, stem.with_name(f"{stem.name}-errors.png")
        )
