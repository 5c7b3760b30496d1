"""What one run's JSON says: which network, which protocol, which figures."""

import dataclasses
import json
from typing import Any

from keras_gradattn.training.recipes import RECIPES

Experiment = dict[str, Any]

MODEL_TITLES = {
    "resnet18": "ResNet-18",
    "se_resnet18": "SE-ResNet-18",
    "cbam_resnet18": "CBAM-ResNet-18",
    "gradattn_v1": "GradAttn V1",
    "gradattn_v2": "GradAttn V2",
    "gradattn_v3": "GradAttn V3",
    "gradattn_pathways": "GradAttnPathways",
}
RECIPE_TITLES = {
    "as_released": "as released",
    "as_released_pixels_repaired": "pixels repaired",
    "as_released_best_weights_repaired": "best weights repaired",
    "as_released_pixels_and_best_weights_repaired": "both repaired",
    "as_described": "as described",
    "modern": "modern",
}
# Arguments that make a control of a network: its weights of depths, seen by no image.
CONTROLS = ("mixing", "weights")


def of(experiment: Experiment, key: str) -> Any:
    """One entry of what the run was asked for."""
    return experiment["configuration"][key]


def recipe_name(experiment: Experiment) -> str:
    """Name of the recipe, which may be one of one's own."""
    return experiment["configuration"]["recipe"]["name"]


def recipe_title(experiment: Experiment) -> str:
    """The recipe as tables call it, with every field that was set otherwise."""
    name = recipe_name(experiment)
    if name in RECIPES:
        return RECIPE_TITLES.get(name, name)
    # `run --set` appends the tag to the name.
    base = next((known for known in RECIPES if name.startswith(f"{known}-")), None)
    if base is None:
        return name
    recipe = RECIPES[base].for_dataset(of(experiment, "dataset"))
    expected = json.loads(json.dumps(dataclasses.asdict(recipe)))
    found = experiment["configuration"]["recipe"]
    changes = [
        f"{key}={found[key]}"
        for key in expected
        if key != "name" and found.get(key) != expected[key]
    ]
    return ", ".join([RECIPE_TITLES.get(base, base), *changes])


def network_title(experiment: Experiment) -> str:
    """The network as tables call it, with what makes it a control."""
    options = of(experiment, "model_options")
    title = MODEL_TITLES.get(of(experiment, "model"), of(experiment, "model"))
    kinds = [str(options[name]) for name in CONTROLS if name in options]
    return ", ".join([title, *(kind for kind in kinds if kind != "attention")])


def is_standard(experiment: Experiment) -> bool:
    """Of full size, on all images: no smoke run, no control."""
    return not of(experiment, "model_options") and not of(experiment, "limit")


def is_standard_or_control(experiment: Experiment) -> bool:
    """Of full size, on all images."""
    options = set(of(experiment, "model_options"))
    return options <= set(CONTROLS) and not of(experiment, "limit")


def dead_share(experiment: Experiment) -> float:
    """Share of kernels that were dead in the last recorded window."""
    recorded = experiment["gradients"]["training"]
    kernels = sum(recorded["kernels"].values())
    return sum(recorded["windows"][-1]["dead"].values()) / kernels


def top1(experiments: list[Experiment]) -> list[float]:
    """Test accuracies in percent."""
    return [100 * e["metrics"]["top1"] for e in experiments]


def best_validation(experiment: Experiment) -> float:
    """Highest validation accuracy in percent."""
    return 100 * max(record["val_accuracy"] for record in experiment["history"])
