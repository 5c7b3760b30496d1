"""Results with figures of our choosing, in the form that `run` writes."""

import dataclasses
import functools
import json

import numpy as np

from keras_gradattn import paper, training
from keras_gradattn.training._reduction import reduced, to_json
from keras_gradattn.training.evaluation import measure
from keras_gradattn.training.results import FORMAT
from keras_gradattn.training.run_name import run_name

RECIPES = {**training.RECIPES, **paper.RECIPES}

GROUPS = ("stem", "stage1", "stage2", "stage3", "stage4", "head")


def write_result(
    folder,
    dataset="fashion_mnist",
    model="resnet18",
    recipe="as_described",
    seed=0,
    accuracy=0.8,
    short=False,
    limit=None,
    dead=0,
    health=100.0,
    options=None,
    changes=None,
    other_accuracy=None,
    validation=None,
    remarks=None,
):
    """Write one result with a test accuracy of `accuracy` (in tenths of a percent)."""
    windows = [
        {
            "step": step,
            "epoch": 1,
            "norm": dict.fromkeys(GROUPS, 0.1),
            "rms": dict.fromkeys(GROUPS, 0.01),
            "dead": dict.fromkeys(GROUPS, 0) | {"stage4": dead},
            "dead_kernels": [f"stage4/{index}" for index in range(dead)],
        }
        for step in (500, 1000)
    ]
    content = {
        "format": FORMAT,
        "configuration": {
            "dataset": dataset,
            "model": model,
            "recipe": _recipe(recipe, dataset, changes or {}),
            "seed": seed,
            "max_epochs": None,
            "max_steps": None,
            "limit": limit,
            "model_options": options or {},
        },
        "short": short,
        "parameters": 11_175_370,
        "backend": "jax",
        "versions": {},
        "hardware": {"cpu_cores": 2, "accelerator": None},
        "epochs_run": 12,
        "best_epoch": 5,
        "steps": 1000,
        "training_seconds": 600.0,
        "metrics": _metrics(accuracy),
        "history": [
            {"epoch": 1, "accuracy": 0.7, "val_accuracy": accuracy - 0.01},
            {"epoch": 2, "accuracy": 0.8, "val_accuracy": accuracy},
        ],
        "weight_norms": {
            "steps": [0, 1000],
            "norms": {group: [10.0, 2.5] for group in GROUPS},
        },
        "gradients": {
            "training": {"kernels": dict.fromkeys(GROUPS, 5), "windows": windows},
            "test": {
                "health_percent": health - dead,
                "layers": [
                    {"layer": name, "norm": rms, "rms": rms}
                    for name, rms in (
                        ("stem_convolution", 0.1),
                        ("stage1_block1_convolution1", 0.0),
                        ("stage1_block1_convolution2", 0.2),
                    )
                ],
            },
        },
    }
    if recipe in paper.RECIPES:
        content["published_analysis"] = {"health_percent": health}
    if remarks is not None:
        content["remarks"] = remarks
    if model == "gradattn_pathways":
        content["pathways"] = {
            "mean": {
                "stage1_block1": {"stem": [1.0]},
                "head": {"stem": [0.25], "stage1_block1": [0.75]},
            },
            "movement": {"stage1_block1": [0.0, 0.0], "head": [0.2, 0.1]},
            "frozen_top1": accuracy - 0.02,
        }
    elif model.startswith("gradattn"):
        content["attention"] = {
            "images": 1000,
            "stages": list(GROUPS[:5]),
            "mean": np.full((3, 8, 5, 5), 0.2).tolist(),
            "movement": np.full((3, 8), 0.125).tolist(),
            "depth_share": np.full((3, 5), 0.2).tolist(),
            "depth_share_deviation": np.full((3, 5), 0.03).tolist(),
        }
    if other_accuracy is not None:
        best = RECIPES[recipe].restore_best_weights
        content["other_weights"] = {
            "weights": "last" if best else "best",
            "epoch": 12 if best else 5,
            "metrics": _metrics(other_accuracy),
        }
    if validation is not None:
        content["epochs_run"] = len(validation)
        content["history"] = [
            {"epoch": 1 + index, "accuracy": 0.9, "val_accuracy": value}
            for index, value in enumerate(validation)
        ]
    path = folder / f"{run_name(content['configuration'])}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(to_json(reduced(content)))
    return path


def _recipe(name, dataset, changes):
    recipe = RECIPES[name].with_changes(**changes).for_dataset(dataset)
    return json.loads(json.dumps(dataclasses.asdict(recipe)))


@functools.cache
def _metrics(accuracy):
    labels = np.arange(1000) % 10
    predicted = np.where(np.arange(1000) < round(1000 * accuracy), labels, labels - 1)
    scores = np.log(np.full((1000, 10), 0.01) + 0.9 * np.eye(10)[predicted % 10])
    return measure(scores, labels).to_dict()
