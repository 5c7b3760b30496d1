"""A section of the report: what was tried on pathways."""

from keras_gradattn import datasets
from keras_gradattn.training.comparison import group_by_seed, table
from studies.reading import (
    Experiment,
    best_validation,
    difference,
    is_of_depth_study,
    layers,
    of,
    over_seeds,
    recipe_title,
    top1,
    trunk_title,
    variants,
)

# What every variant is measured against, and the order of the rows above them.
_REFERENCES = ("residual", "pathways, attention")
_CONTROLS = ("pathways, prior", "pathways, equal", "pathways, static")


def variants_section(experiments: list[Experiment]) -> str:
    """Variants of pathways on part of the images, over seeds.

    Args:
        experiments: All runs; those on part of the images at a depth at which a
            variant ran are the study.

    Returns:
        Markdown, empty without such runs.
    """
    on_part = list(filter(is_of_depth_study, experiments))
    settings = {_setting(e) for e in on_part if len(variants(e)) > _is_control(e)}
    lines = []
    for setting in sorted(settings):
        lines += ["", *_setting_lines([e for e in on_part if _setting(e) == setting])]
    return "\n".join(["## What was tried on pathways", *lines]) if lines else ""


def _is_control(experiment: Experiment) -> bool:
    return "weights" in of(experiment, "model_options")


def _setting(experiment: Experiment) -> tuple:
    """All but network, variant and seed."""
    options = of(experiment, "model_options")
    return (
        of(experiment, "dataset"),
        recipe_title(experiment),
        of(experiment, "limit"),
        of(experiment, "max_epochs") or 0,
        tuple(options["stage_blocks"]),
        tuple(options.get("stage_filters", ())),
    )


def _setting_lines(chosen: list[Experiment]) -> list[str]:
    groups = {trunk_title(runs[0]): runs for runs in group_by_seed(chosen)}
    order = [*_REFERENCES[:1], *_CONTROLS, *_REFERENCES[1:]]
    names = [name for name in order if name in groups]
    names += sorted(name for name in groups if name not in (*order, "plain"))
    rows = [
        (
            name,
            f"{groups[name][0]['parameters']:,}",
            over_seeds([100 * e["history"][-1]["accuracy"] for e in groups[name]], 1),
            over_seeds([best_validation(e) for e in groups[name]]),
            over_seeds(top1(groups[name])),
            *(_difference(groups, name, reference) for reference in _REFERENCES),
        )
        for name in names
    ]
    first = chosen[0]
    filters = of(first, "model_options").get("stage_filters", "as published")
    header = (
        "", "parameters", "training accuracy %", "best validation %",
        "test accuracy %", *(f"minus {reference}" for reference in _REFERENCES),
    )  # fmt: skip
    return [
        f"{datasets.spec(of(first, 'dataset')).title}, {of(first, 'limit'):,} images a "
        f"split, {layers(first)} layers, filters {filters}, recipe "
        f"{recipe_title(first)}, at most {of(first, 'max_epochs')} epochs; all short. "
        "Differences of the test accuracy with Welch's 95 % interval; one that holds "
        "zero shows no difference.",
        "",
        table(header, rows, "markdown"),
    ]


def _difference(groups: dict[str, list], name: str, reference: str) -> str:
    if name == reference or reference not in groups:
        return ""
    other, plain = top1(groups[name]), top1(groups[reference])
    if min(len(other), len(plain)) < 2:
        return ""
    between, low, high = difference(other, plain)
    return f"{between:+.2f} ({low:+.2f} to {high:+.2f})"
