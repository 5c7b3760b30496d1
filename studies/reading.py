"""What one run's JSON says: which network, which protocol, which figures."""

import dataclasses
import json
import statistics
from collections.abc import Sequence
from typing import Any

from keras_gradattn.training._earlier_defaults import RESIDUAL_START
from keras_gradattn.training.comparison import mean_and_deviation, show
from keras_gradattn.training.recipe import RECIPES

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
# Arguments that make a control or a variant of a network, and what tables call it.
VARIANTS = {
    "mixing": "{}",
    "weights": "{}",
    "query": "{} query",
    "gate": "{} gates",
    "top_k": "top {} sources",
    "logit_cap": "logits within {}",
    "source_dropout": "sources left out at {}",
    "heads": "{} heads",
    "normalized": "not normalized",
    "older_weight": "older depths at {}",
}


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
    """The network as tables call it, with what makes it a control or a variant."""
    title = MODEL_TITLES.get(of(experiment, "model"), of(experiment, "model"))
    kinds = [kind for kind in variants(experiment) if kind != "attention"]
    return ", ".join([title, *kinds])


def variants(experiment: Experiment) -> list[str]:
    """What makes the network a control or a variant, as tables call it."""
    options = of(experiment, "model_options")
    kinds = []
    if options.items() >= RESIDUAL_START.items():
        # Of equal weights only their scale is a residual network's.
        equal = options.get("weights") == "equal"
        kinds = ["not normalized" if equal else "residual start"]
        options = {k: v for k, v in options.items() if k not in RESIDUAL_START}
    return [
        VARIANTS[name].format(options[name]) for name in VARIANTS if name in options
    ] + kinds


def trunk_title(experiment: Experiment) -> str:
    """How the network joins its blocks: the trunk of a study of depth or of ideas."""
    if of(experiment, "model") == "gradattn_pathways":
        kinds = variants(experiment)
        if "weights" not in of(experiment, "model_options"):
            kinds.insert(0, "attention")
        return ", ".join(["pathways", *kinds])
    if of(experiment, "model") == "resnet18":
        shortcuts = of(experiment, "model_options").get("shortcuts", True)
        return "residual" if shortcuts else "plain"
    return "published"


def layers(experiment: Experiment) -> int:
    """Depth of a network whose blocks were chosen, classifier included."""
    return 2 * sum(of(experiment, "model_options")["stage_blocks"]) + 2


def is_standard(experiment: Experiment) -> bool:
    """Of full size, on all images: no smoke run, no control."""
    return not of(experiment, "model_options") and not of(experiment, "limit")


def is_standard_or_control(experiment: Experiment) -> bool:
    """Of full size, on all images."""
    options = set(of(experiment, "model_options"))
    return options <= set(VARIANTS) and not of(experiment, "limit")


def is_of_depth_study(experiment: Experiment) -> bool:
    """On part of the images, at a depth of its own."""
    return bool(
        of(experiment, "limit") and "stage_blocks" in of(experiment, "model_options")
    )


def dead_share(experiment: Experiment) -> float:
    """Share of kernels that were dead in the last recorded window."""
    recorded = experiment["gradients"]["training"]
    kernels = sum(recorded["kernels"].values())
    return sum(recorded["windows"][-1]["dead"].values()) / kernels


def top1(experiments: list[Experiment]) -> list[float]:
    """Test accuracies in percent."""
    return [100 * e["metrics"]["top1"] for e in experiments]


def over_seeds(values: Sequence[float], digits: int = 2) -> str:
    """`85.91 ± 0.12 (n=3)`, or `85.91` for a single seed."""
    text = show(*mean_and_deviation(values), digits)
    return text + (f" (n={len(values)})" if len(values) > 1 else "")


def difference(
    other: Sequence[float], plain: Sequence[float]
) -> tuple[float, float, float]:
    """Difference of two means over seeds with its 95 % interval.

    Args:
        other: One value a seed, two at least.
        plain: One value a seed, two at least.

    Returns:
        The mean of `other` minus that of `plain`, and the lower and upper end of
        Welch's interval, which does not take the variances for equal.
    """
    # scikit-learn's dependency.
    from scipy.stats import ttest_ind

    interval = ttest_ind(other, plain, equal_var=False).confidence_interval()
    between = statistics.fmean(other) - statistics.fmean(plain)
    return between, float(interval.low), float(interval.high)


def best_validation(experiment: Experiment, epochs: int | None = None) -> float:
    """Highest validation accuracy in percent, of the first `epochs` if given."""
    return 100 * max(r["val_accuracy"] for r in experiment["history"][:epochs])
