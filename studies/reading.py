"""What one run's JSON says: which network, which protocol, which figures."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from keras_gradattn import datasets
from studies.rounding import Number, mean, percent, with_deviation, written

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
    "fixed_steps_coupled": "coupled L2",
    "fixed_steps_decoupled": "decoupled decay",
    "fixed_steps_no_decay": "no decay",
}
DECAY_STUDY = ("fixed_steps_coupled", "fixed_steps_decoupled", "fixed_steps_no_decay")
# Options that make a control or a variant of a network, and what tables call them;
# an empty title is what the others are compared with.
VARIANTS: Mapping[str, str | Mapping[Any, str]] = {
    "mixing": "{}",
    "query": "{} query",
    "gate": "{} gates",
    "top_k": "top {} sources",
    "logit_cap": "logits within {}",
    "source_dropout": "sources left out at {}",
    "channel_groups": "{} channel groups",
    "normalized": {False: "not normalized", True: ""},
    "older_weight": {1: "", 0.05: "older depths at 0.05"},
    "start": "{} start",
}
# Changes of a recipe that a remark tells instead of its title.
_REMARKED_CHANGES = ("released_blocks",)
REMARK_MARK = "†"


# === What was run ===


def of(experiment: Experiment, key: str) -> Any:
    """One entry of what the run was asked for."""
    return experiment["configuration"][key]


def options_of(experiment: Experiment) -> dict[str, Any]:
    """The options of its network."""
    options: dict[str, Any] = of(experiment, "model_options")
    return options


def dataset_title(experiment: Experiment) -> str:
    """The data set as tables call it; one that the package does not have by its key."""
    name = of(experiment, "dataset")
    return datasets.SPECS[name].title if name in datasets.SPECS else str(name)


def datasets_of(experiments: Sequence[Experiment]) -> list[str]:
    """Keys of their data sets, the package's own first and in its order."""
    found = {of(e, "dataset") for e in experiments}
    known = [name for name in datasets.SPECS if name in found]
    return known + sorted(found.difference(known))


def recipe_name(experiment: Experiment) -> str:
    """Name of the recipe, which may be one of one's own."""
    return str(of(experiment, "recipe")["name"])


def recipe_title(experiment: Experiment) -> str:
    """The recipe as tables call it, with every field that was set otherwise."""
    name = recipe_name(experiment)
    changes = [
        f"{key}={value}"
        for key, value in of(experiment, "recipe").get("changes", {}).items()
        if key not in _REMARKED_CHANGES
    ]
    return ", ".join([RECIPE_TITLES.get(name, name), *changes])


def network_title(experiment: Experiment) -> str:
    """The network as tables call it, with what makes it a control or a variant."""
    model = of(experiment, "model")
    kinds = [kind for kind in variants(experiment) if kind != "attention"]
    return ", ".join([MODEL_TITLES.get(model, model), *kinds])


def variants(experiment: Experiment) -> list[str]:
    """What makes the network a control or a variant, as tables call it."""
    options = options_of(experiment)
    kinds = [
        _variant(title, options[n]) for n, title in VARIANTS.items() if n in options
    ]
    if options.get("mixing") == "equal" and options.get("start") == "residual":
        # Of equal weights only their scale is a residual network's.
        kinds[kinds.index("residual start")] = "not normalized"
    return list(filter(None, kinds))


def _variant(title: str | Mapping[Any, str], value: Any) -> str:
    if isinstance(title, str):
        return title.format(value)
    return title.get(value, str(value))


def trunk_title(experiment: Experiment) -> str:
    """How the network joins its blocks: the trunk of a study of depth or of ideas."""
    options = options_of(experiment)
    if of(experiment, "model") == "gradattn_pathways":
        kinds = variants(experiment)
        if "mixing" not in options:
            kinds.insert(0, "attention")
        return ", ".join(["pathways", *kinds])
    if of(experiment, "model") == "resnet18":
        return "residual" if options.get("shortcuts", True) else "plain"
    return "published"


def layers(experiment: Experiment) -> int:
    """Depth of a network whose blocks were chosen, classifier included."""
    blocks: list[int] = options_of(experiment)["stage_blocks"]
    return 2 * sum(blocks) + 2


def filters_in_words(experiment: Experiment) -> str:
    """Filters of its stages, where they were chosen: `16, 32, 64 and 128`."""
    filters = options_of(experiment).get("stage_filters")
    if not filters:
        return "the published"
    *others, last = map(str, filters)
    return f"{', '.join(others)} and {last}" if others else last


def is_standard(experiment: Experiment) -> bool:
    """Of full size, on all images: no smoke run, no control."""
    return not options_of(experiment) and not of(experiment, "limit")


def is_standard_or_control(experiment: Experiment) -> bool:
    """Of full size, on all images."""
    options = set(options_of(experiment))
    return options <= set(VARIANTS) and not of(experiment, "limit")


def is_of_depth_study(experiment: Experiment) -> bool:
    """On part of the images, at a depth of its own."""
    return bool(of(experiment, "limit") and "stage_blocks" in options_of(experiment))


def is_of_decay_study(experiment: Experiment) -> bool:
    """Of fixed length, to compare kinds of decay."""
    return recipe_name(experiment) in DECAY_STUDY


def mark(runs: Sequence[Experiment]) -> str:
    """What stands behind a figure: a sign of remarks, and whether it is short."""
    remarked = f" {REMARK_MARK}" if any(e.get("remarks") for e in runs) else ""
    return remarked + (", short" if any(e["short"] for e in runs) else "")


def remark_lines(runs: Sequence[Experiment]) -> list[str]:
    """The remarks that a table's signs stand for, as Markdown lines."""
    remarks = dict.fromkeys(text for e in runs for text in e.get("remarks", ()))
    return [line for text in remarks for line in ("", f"{REMARK_MARK} {text}.")]


# === Its figures ===


def dead_kernels(experiment: Experiment) -> int:
    """How many kernels were dead in the last recorded window."""
    dead: dict[str, list[int]] = experiment["gradients"]["training"]["dead"]
    return sum(of_depth[-1] for of_depth in dead.values())


def dead_share(experiment: Experiment) -> float:
    """Share of kernels that were dead in the last recorded window."""
    kernels: dict[str, int] = experiment["gradients"]["training"]["kernels"]
    return dead_kernels(experiment) / sum(kernels.values())


def top1(experiments: Sequence[Experiment]) -> list[Fraction]:
    """Test accuracies in percent."""
    return percent(e["metrics"]["top1"] for e in experiments)


def best_validation(
    experiments: Sequence[Experiment], epochs: int | None = None
) -> list[Fraction]:
    """Highest validation accuracies in percent, of the first `epochs` if given."""
    return percent(max(e["history"]["val_accuracy"][:epochs]) for e in experiments)


def training_accuracy(experiments: Sequence[Experiment]) -> list[Fraction]:
    """Training accuracies of the last epoch in percent."""
    return percent(e["history"]["accuracy"][-1] for e in experiments)


def over_seeds(values: Sequence[Number], digits: int = 2) -> str:
    """`85.91 ± 0.12 (n=3)`, or `85.91` for a single seed."""
    text = with_deviation(values, digits)
    return text + (f" (n={len(values)})" if len(values) > 1 else "")


def difference(
    other: Sequence[Number], plain: Sequence[Number]
) -> tuple[Fraction, float, float]:
    """Difference of two means over seeds with its 95 % interval.

    Args:
        other: One value a seed, two at least.
        plain: One value a seed, two at least.

    Returns:
        The mean of `other` minus that of `plain`, and the lower and upper end of
        Welch's interval, which does not take the variances for equal.
    """
    # scikit-learn's dependency.
    from scipy.stats import ttest_ind  # type: ignore[import-untyped]

    samples = [list(map(float, values)) for values in (other, plain)]
    interval = ttest_ind(*samples, equal_var=False).confidence_interval()
    return mean(other) - mean(plain), float(interval.low), float(interval.high)


def told_difference(other: Sequence[Number], plain: Sequence[Number]) -> str:
    """`+0.46 (0.25 to 0.67)`: what `difference` finds."""
    between, low, high = difference(other, plain)
    return f"{written(between, sign=True)} ({written(low)} to {written(high)})"
