"""Why does attention over depth learn more slowly than a plain average?

    python -m studies.slow_attention --data-dir DATA --results RESULTS

Trains small pathways networks that differ in one thing each (`VARIANTS`) on the same
images in the same order, and writes one JSON a network: loss by step, gradient norms by
depth and of the query, and what the mixing weights do on validation images. A JSON that
is there is not made again. Nothing here reads the test part.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pathlib
import sys
from typing import Any

import keras
import numpy as np

from keras_gradattn import GradientNorms, datasets, depth_weights
from keras_gradattn.layers import DepthMixing
from keras_gradattn.training import build_model, build_optimizer
from keras_gradattn.training._seeding import seed_libraries
from studies.cells import STAGE_FILTERS
from studies.reduced import MODERN_REDUCED, TINY_IMAGENET_32, register

EPOCHS = 3
IMAGES = 25_600
_VALIDATION = 4_000
_PROBED = 512
_WINDOW = 50


@dataclasses.dataclass(frozen=True)
class Variant:
    """One network of the comparison.

    Args:
        name: Name of its JSON.
        seed: Seed of initialisation and order.
        options: Arguments of the model.
        scale: What query times key is multiplied by. Query weights start at zero and
            Adam's step does not see the gradient's size, so that this is the rate of
            the query weights and the inverse temperature at once.
        start: Share of the training in which attention is held at the plain average.
        decay_of_query: Whether query weights decay.
        detached: Whether the gradient of query times key stops at the descriptors.
    """

    name: str
    seed: int = 1
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    scale: float = 1.0
    start: float = 0.0
    decay_of_query: bool = True
    detached: bool = False


_ATTENTION, _EQUAL, _STATIC = (
    {"mixing": mixing} for mixing in ("attention", "equal", "static")
)
VARIANTS = (
    Variant("attention", options=_ATTENTION),
    Variant("equal", options=_EQUAL),
    Variant("attention-scale0.1", options=_ATTENTION, scale=0.1),
    Variant("attention-detached", options=_ATTENTION, detached=True),
    Variant("attention-late", options=_ATTENTION, start=0.5),
    Variant("static", options=_STATIC),
    Variant("attention-scale10", options=_ATTENTION, scale=10.0),
    Variant("attention-seed2", seed=2, options=_ATTENTION),
    Variant("equal-seed2", seed=2, options=_EQUAL),
    Variant("attention-no-decay", options=_ATTENTION, decay_of_query=False),
)


class Products:
    """Query times key of every mixing in this process, changed as a variant says."""

    scale = 1.0
    detached = False
    _original = DepthMixing._products

    @classmethod
    def install(cls) -> None:
        """Change them from now on."""

        def products(mixing, maps, descriptors, wide):
            if cls.detached:
                descriptors = [keras.ops.stop_gradient(d) for d in descriptors]
            return cls.scale * cls._original(mixing, maps, descriptors, wide)

        DepthMixing._products = products


class Losses(keras.callbacks.Callback):
    """Mean training loss of each window of steps, from the running mean of `fit`."""

    def __init__(self, variant: Variant, total_steps: int):
        super().__init__()
        self._variant = variant
        self._start = variant.start * total_steps
        self._steps = 0
        self._sum_before = 0.0
        self.windows: list[float] = []

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        Products.scale = self._variant.scale if self._steps >= self._start else 0.0

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self._steps += 1
        if (batch + 1) % _WINDOW == 0:
            total = float(logs["loss"]) * (batch + 1)
            if batch + 1 == _WINDOW:
                self._sum_before = 0.0
            self.windows.append((total - self._sum_before) / _WINDOW)
            self._sum_before = total


class Mixing(keras.callbacks.Callback):
    """What the mixing weights do on a few validation images, after each epoch."""

    def __init__(self, images: np.ndarray):
        super().__init__()
        self._images = images
        self.epochs: list[dict[str, Any]] = []

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.epochs.append(self._query_norms() | self._weights())

    def _query_norms(self) -> dict[str, Any]:
        norms = {
            variable.path: float(np.linalg.norm(np.asarray(variable)))
            for variable in self.model.trainable_variables
            if "_mixing/" in variable.path
        }
        return {"norms": norms}

    def _weights(self) -> dict[str, Any]:
        found = depth_weights(self.model, self._images)
        content = {}
        # A block whose weights cannot differ is left out.
        for block, values in zip(
            found.targets, np.moveaxis(found.values, 1, 0), strict=True
        ):
            values = values[..., ~np.isnan(values).any((0, 1))]
            if values.shape[-1] < 2:
                continue
            logits = np.log(np.maximum(values, 1e-30))
            logits = logits - logits.mean(-1, keepdims=True)
            mean = values.mean(0, keepdims=True)
            entropy = -(values * np.log(np.maximum(values, 1e-30))).sum(-1)
            content[block] = {
                "entropy_share": float(entropy.mean() / np.log(values.shape[-1])),
                "movement": float(np.abs(values - mean).sum(-1).mean() / 2),
                "logit_spread": float(logits.std(-1).mean()),
                "logit_spread_over_images": float(logits.std(0).mean()),
                "oldest_share": float(values[..., 0].mean() * values.shape[-1]),
            }
        return {"weights": content}


def train(variant: Variant, splits: datasets.DatasetSplits) -> dict[str, Any]:
    """One network of the comparison and what was seen on its way."""
    spec = TINY_IMAGENET_32
    recipe = dataclasses.replace(MODERN_REDUCED, max_epochs=EPOCHS)
    steps = len(splits.train) // spec.batch_size
    seed_libraries(variant.seed)
    Products.detached = variant.detached
    model = build_model(
        "gradattn_pathways",
        spec,
        recipe,
        stage_filters=STAGE_FILTERS,
        **variant.options,
    )
    optimizer = build_optimizer(recipe, model, steps * EPOCHS, steps)
    if not variant.decay_of_query:
        optimizer.exclude_from_weight_decay(
            var_list=[
                variable
                for variable in model.trainable_variables
                if len(variable.shape) < 2 or "query" in variable.path
            ]
        )
    model.compile(
        optimizer,
        keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=recipe.label_smoothing
        ),
        metrics=["accuracy"],
    )
    training = datasets.batches(
        splits.train, spec, training=True, seed=variant.seed, one_hot=True
    )
    validation = datasets.batches(splits.validation, spec, training=False, one_hot=True)
    probed = next(
        iter(
            datasets.batches(
                splits.validation, spec, training=False, batch_size=_PROBED
            )
        )
    )[0]
    losses = Losses(variant, steps * EPOCHS)
    gradients = GradientNorms(groups=_group)
    mixing = Mixing(np.asarray(probed))
    history = model.fit(
        training,
        validation_data=validation,
        epochs=EPOCHS,
        callbacks=[losses, gradients, mixing],
        shuffle=False,
        verbose=2,
    ).history
    return {
        "variant": dataclasses.asdict(variant),
        "images": len(splits.train),
        "epochs": EPOCHS,
        "history": {name: [float(v) for v in vs] for name, vs in history.items()},
        "loss_by_window": losses.windows,
        "window": _WINDOW,
        "gradient_norms": _by_window(gradients.record),
        "mixing": mixing.epochs,
    }


def _group(variable: keras.Variable) -> str:
    if "_mixing/" in variable.path:
        return "query" if "query" in variable.path else "bias"
    if "_from_" in variable.path:
        return f"{variable.path.split('_from_')[0]} alignment"
    return variable.path.split("_")[0].split("/")[0]


def _by_window(record: Any) -> dict[str, list[float]]:
    norms = np.asarray(record.norm)
    windows = norms[: len(norms) // _WINDOW * _WINDOW].reshape(
        -1, _WINDOW, norms.shape[1]
    )
    return {
        group: windows.mean(1)[:, column].tolist()
        for column, group in enumerate(record.groups)
    }


def _load(data_dir: str) -> datasets.DatasetSplits:
    register()
    splits = datasets.load(
        TINY_IMAGENET_32.name, data_dir=data_dir, limit=IMAGES, verify=False
    )
    few = splits.validation
    few = dataclasses.replace(
        few,
        images=few.images[:_VALIDATION],
        labels=few.labels[:_VALIDATION],
        rows=few.rows[:_VALIDATION],
    )
    return dataclasses.replace(splits, validation=few)


def main(arguments: list[str] | None = None) -> int:
    """Trains every variant that has no JSON yet."""
    parser = argparse.ArgumentParser(prog="python -m studies.slow_attention")
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--results", required=True, type=pathlib.Path)
    options = parser.parse_args(arguments)
    options.results.mkdir(parents=True, exist_ok=True)
    splits = _load(options.data_dir)
    Products.install()
    for variant in VARIANTS:
        path = options.results / f"slow_attention-{variant.name}.json"
        if path.exists():
            continue
        print(variant.name, flush=True)
        content = json.dumps(train(variant, splits), indent=1)
        unfinished = path.with_suffix(".unfinished")
        unfinished.write_text(content, encoding="utf-8")
        os.replace(unfinished, path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
