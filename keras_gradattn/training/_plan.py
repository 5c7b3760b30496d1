"""What a run is, before anything is trained: its data, network, recipe and name."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_gradattn._arguments import LARGEST_SEED
from keras_gradattn.datasets.specs import DatasetSpec
from keras_gradattn.training._data import Data, RunData, choose_data
from keras_gradattn.training._freezing import Freezing
from keras_gradattn.training._networks import Model, Network, architecture
from keras_gradattn.training.recipe import RECIPES, Recipe, look_up
from keras_gradattn.training.run_name import run_name


@dataclasses.dataclass(frozen=True)
class Plan:
    """A run that could begin.

    Args:
        network: What is trained.
        data: What it is trained on.
        recipe: How, on that data.
        configuration: What was asked for, as the result holds it.
    """

    network: Network
    data: RunData
    recipe: Recipe
    configuration: dict[str, Any]

    @property
    def name(self) -> str:
        """Path of its files below the results, without an ending."""
        return run_name(self.configuration)


def plan_run(
    data: Data,
    model: Model,
    recipe: str | Recipe,
    seed: int,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    data_options: Mapping[str, Any] | None = None,
    max_epochs: int | None = None,
    max_steps: int | None = None,
    limit: int | None = None,
    download: bool = False,
    engine: str = "auto",
    devices: int = 1,
    model_options: Mapping[str, Any] | None = None,
    seen: dict[str, RunData] | None = None,
) -> Plan:
    """Find out what `run` is asked for; its arguments and errors are the same.

    Published data is not read for that, data of one's own is, unless it was `seen`.
    """
    # Unknown names first: before data is read and before anything is written.
    network = Network(model, dict(model_options or {}))
    network.check()
    named = look_up(recipe, RECIPES, "recipe") if isinstance(recipe, str) else recipe
    by_name = named.for_dataset(data if isinstance(data, str) else "")
    chosen_data = choose_data(
        data,
        {
            "data_dir": data_dir,
            "seed": by_name.split_seed,
            "group": by_name.group,
            "limit": limit,
            "engine": "auto" if engine == "device" else engine,
        },
        download=download,
        data_options=data_options or {},
        seen=seen,
    )
    spec = chosen_data.spec
    applied = named.for_dataset(spec.name)
    _check_seed(seed)
    _check_network(network, spec, applied)
    _check_devices(devices, engine, applied, applied.batch_size or spec.batch_size)
    configuration = plain(
        {
            "dataset": spec.name,
            "model": network.name,
            "recipe": _fields(applied),
            "seed": seed,
            "max_epochs": max_epochs,
            "max_steps": max_steps,
            "limit": limit,
            "model_options": network.options,
            # Named where they change the numbers, and only there: results of
            # before these choices existed stay what they are.
            **({"devices": devices} if devices != 1 else {}),
            **({"engine": engine} if engine == "device" else {}),
            **_fingerprints(chosen_data, network, applied),
        }
    )
    return Plan(network, chosen_data, applied, configuration)


def _check_network(network: Network, spec: DatasetSpec, recipe: Recipe) -> None:
    """Find out what only building tells: options out of range, layers to train.

    Networks of somebody's own are built for their fingerprint anyway, and those of
    libraries may have to be downloaded first.
    """
    if network.is_ours and (network.options or recipe.phases):
        freezing = Freezing(network.build(spec, recipe))
        for phase in recipe.phases:
            freezing.train_only(phase.get("train"))


def _check_seed(seed: Any) -> None:
    whole = isinstance(seed, int | np.integer) and not isinstance(seed, bool)
    if not whole or not 0 <= seed <= LARGEST_SEED:
        raise ValueError(
            "`seed` must be a whole number, 0 or more and below 2**32. "
            f"Received: seed={seed!r}"
        )


def _check_devices(devices: int, engine: str, recipe: Recipe, batch_size: int) -> None:
    if isinstance(devices, bool) or not isinstance(devices, int) or devices < 1:
        raise ValueError(
            f"`devices` must be a positive integer. Received: devices={devices!r}"
        )
    if batch_size % devices:
        raise ValueError(
            f"`devices` must divide the batch of {batch_size} images. "
            f"Received: devices={devices}"
        )
    if devices == 1:
        return
    backend = keras.backend.backend()
    if engine == "device" and backend != "jax":
        raise ValueError(
            "Images are kept on several devices on JAX only. "
            f"Received: devices={devices}, engine={engine!r} on the {backend} backend"
        )
    if backend != "tensorflow":
        return
    if engine == "pydataset":
        raise ValueError(
            "Several devices on TensorFlow take their batches from tf.data. "
            f"Received: devices={devices}, engine={engine!r}"
        )
    if recipe.mixed_precision == "mixed_float16":
        raise ValueError(
            "Under `MirroredStrategy` gradients cannot be recorded with loss scaling. "
            "Use mixed_bfloat16. "
            f"Received: devices={devices}, mixed_precision={recipe.mixed_precision!r}"
        )


def _fields(recipe: Recipe) -> dict[str, Any]:
    """A recipe as data. Phases are named where there are any, and only there."""
    fields = dataclasses.asdict(recipe)
    return {k: v for k, v in fields.items() if k != "phases" or v}


def _fingerprints(data: RunData, network: Network, recipe: Recipe) -> dict[str, str]:
    """What tells data and networks of one's own from others of the same name."""
    found = {} if data.content is None else {"content": data.content}
    if not network.is_published:
        # Built once more for that, which also says early whether it fits the images.
        found["architecture"] = architecture(network.build(data.spec, recipe))
    return found


def plain(value: Any) -> Any:
    """The value as JSON holds it: tuples as lists, data as dictionaries."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if hasattr(value, "to_dict"):
        return plain(value.to_dict())
    if isinstance(value, np.generic):
        return value.item()
    return value
