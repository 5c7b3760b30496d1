"""What was tried on pathways."""

from collections.abc import Sequence
from typing import Any

from keras_gradattn.training.comparison import group_by_seed
from studies import table
from studies.reading import (
    Experiment,
    best_validation,
    dataset_title,
    filters_in_words,
    is_of_depth_study,
    layers,
    of,
    options_of,
    over_seeds,
    recipe_title,
    told_difference,
    top1,
    training_accuracy,
    trunk_title,
    variants,
)

# What every variant is measured against, and the order of the rows above them.
_REFERENCES = ("residual", "pathways, attention")
_CONTROLS = ("pathways, equal", "pathways, static")


def text(experiments: Sequence[Experiment]) -> str:
    """Variants on part of the images, at depths at which one ran, over seeds."""
    on_part = list(filter(is_of_depth_study, experiments))
    settings = {_setting(e) for e in on_part if len(variants(e)) > _is_control(e)}
    parts = []
    for setting in sorted(settings):
        parts += _parts([e for e in on_part if _setting(e) == setting])
    if not parts:
        return ""
    return table.section(
        "What was tried on pathways",
        "Each row is one idea. Most did not win, and their options were removed. The "
        "last two columns are differences of test accuracy with Welch's 95 % interval. "
        "An interval that holds zero shows no difference.",
        *parts,
    )


def _is_control(experiment: Experiment) -> bool:
    return "mixing" in options_of(experiment)


def _setting(experiment: Experiment) -> tuple[Any, ...]:
    """All but network, variant and seed."""
    options = options_of(experiment)
    return (
        of(experiment, "dataset"),
        recipe_title(experiment),
        of(experiment, "limit"),
        of(experiment, "max_epochs") or 0,
        tuple(options["stage_blocks"]),
        tuple(options.get("stage_filters", ())),
    )


def _parts(chosen: list[Experiment]) -> list[str]:
    groups = {trunk_title(runs[0]): runs for runs in group_by_seed(chosen)}
    order = [*_REFERENCES[:1], *_CONTROLS, *_REFERENCES[1:]]
    names = [name for name in order if name in groups]
    names += sorted(name for name in groups if name not in (*order, "plain"))

    def minus(reference: str) -> table.Columns:
        def cell(runs: list[Experiment]) -> str:
            plain = groups.get(reference, [])
            if runs is plain or min(len(runs), len(plain)) < 2:
                return ""
            return told_difference(top1(runs), top1(plain))

        return {f"minus {reference}": cell}

    columns: table.Columns = {
        "": lambda runs: trunk_title(runs[0]),
        "parameters": lambda runs: f"{runs[0]['parameters']:,}",
        "training accuracy %": lambda runs: over_seeds(training_accuracy(runs), 1),
        "best validation %": lambda runs: over_seeds(best_validation(runs)),
        "test accuracy %": lambda runs: over_seeds(top1(runs)),
        **minus(_REFERENCES[0]),
        **minus(_REFERENCES[1]),
    }
    first = chosen[0]
    filters = filters_in_words(first)
    return [
        f"**{layers(first)} layers.** {dataset_title(first)}, "
        f"{of(first, 'limit'):,} images a split. The stages have {filters} filters. "
        f"The recipe is {recipe_title(first)}, with at most "
        f"{of(first, 'max_epochs')} epochs. All runs are short.",
        table.tabulate(columns, [groups[name] for name in names]),
    ]
