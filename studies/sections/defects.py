"""The released training with one defect repaired at a time."""

import dataclasses
import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from keras_gradattn import datasets, paper
from keras_gradattn.training import MODELS
from studies import pictures, table
from studies.reading import (
    MODEL_TITLES,
    RECIPE_TITLES,
    REMARK_MARK,
    Experiment,
    datasets_of,
    is_standard,
    of,
    over_seeds,
    recipe_name,
    remark_lines,
)
from studies.rounding import mean, percent

PICTURE = "defects.png"
_COLUMNS = tuple(RECIPE_TITLES)[:5]
# What `PaperRecipe.model_arguments` and `training_levels` say better, and what decides
# only which weights are tested.
_NOT_TRAINING = (
    "name",
    "changes",
    "overrides",
    "restore_best_weights",
    "released_v1_head",
    "released_initialization",
    "released_blocks",
)
# Runs of before it was known are shown, with a sign.
_FOUND_LATER = "identical_blocks"


@dataclasses.dataclass(frozen=True, order=True)
class _Tested:
    """One seed's accuracy in percent, best kind first."""

    marked: bool
    borrowed: bool
    accuracy: Fraction


_Row = tuple[str, str, list[list[_Tested]]]


def text(experiments: Sequence[Experiment]) -> str:
    """Networks of which the released protocol and a repair were run."""
    rows = _rows(experiments)
    if not rows:
        return ""
    return table.section(
        "One defect at a time",
        "The released training has two defects. It trains on damaged pixels, and it "
        "tests the weights of the last epoch in place of the best one. Here one defect "
        "is repaired at a time.",
        "A star (*) marks a figure from the run of another column. Its training is the "
        "same, and every run tests both the best and the last weights.",
        table.markdown(
            ["", "published", *(RECIPE_TITLES[name] for name in _COLUMNS)],
            [
                [_title(dataset, model), _published(dataset, model), *map(_cell, cells)]
                for dataset, model, cells in rows
            ],
        ),
        *filter(None, remark_lines(list(filter(is_standard, experiments)))),
        f"![Test accuracy by repaired defect](figures/{PICTURE})",
    )


def draw(experiments: Sequence[Experiment], folder: Path) -> None:
    """Bars of the table, a group a column."""
    rows = _rows(experiments)
    if not rows:
        return
    figure = pictures.new_figure(3.6)
    axes = figure.subplots()
    width = 0.8 / len(rows)
    for index, (dataset, model, cells) in enumerate(rows):
        figures = paper.published(dataset, model)
        values = [figures["test_top1"] if figures else None]
        values += [float(mean([t.accuracy for t in c])) if c else None for c in cells]
        shift = (index - (len(rows) - 1) / 2) * width
        present = [(i + shift, v) for i, v in enumerate(values) if v is not None]
        places, heights = [p for p, _ in present], [h for _, h in present]
        colour = pictures.COLOURS[index % len(pictures.COLOURS)]
        bars = axes.bar(
            places, heights, width, color=colour, label=_title(dataset, model)
        )
        axes.bar_label(bars, fmt="%.1f", fontsize=pictures.SMALL)
    titles = ["published", *(RECIPE_TITLES[name] for name in _COLUMNS)]
    axes.set_xticks(
        range(len(titles)), [t.replace(" repaired", "\nrepaired") for t in titles]
    )
    axes.set_ylabel("test accuracy, %")
    axes.set_ylim(0, 100)
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    pictures.save(figure, folder / PICTURE)


def _title(dataset: str, model: str) -> str:
    return f"{MODEL_TITLES[model]}, {datasets.SPECS[dataset].title}"


def _published(dataset: str, model: str) -> str:
    figures = paper.published(dataset, model)
    return f"{figures['test_top1']:.2f}" if figures else ""


def _rows(experiments: Sequence[Experiment]) -> list[_Row]:
    rows = []
    for dataset in filter(datasets.SPECS.get, datasets_of(experiments)):
        chosen = [
            e
            for e in filter(is_standard, experiments)
            if of(e, "dataset") == dataset and recipe_name(e) in paper.RECIPES
        ]
        for model in MODELS:
            of_model = [e for e in chosen if of(e, "model") == model]
            cells = [_tested(of_model, dataset, model, name) for name in _COLUMNS]
            # A row says something only where a repair can be compared.
            if cells[0] and any(cells[1:4]):
                rows.append((dataset, model, cells))
    return rows


def _tested(
    runs: list[Experiment], dataset: str, model: str, name: str
) -> list[_Tested]:
    """Accuracy under one recipe, by whichever run trained the network so."""
    recipe = paper.RECIPES[name].for_dataset(dataset)
    training, later = _training(recipe, model)
    by_seed: dict[int, _Tested] = {}
    for e in runs:
        found = paper.PaperRecipe(**of(e, "recipe"))
        found_training, found_later = _training(found, model)
        if e["short"] or found_training != training:
            continue
        if found.restore_best_weights == recipe.restore_best_weights:
            metrics = e["metrics"]
        elif "other_weights" in e:
            metrics = e["other_weights"]["metrics"]
        else:
            continue
        (accuracy,) = percent([metrics["top1"]])
        tested = _Tested(found_later != later, recipe_name(e) != name, accuracy)
        # The recipe's own run before any other of that seed.
        by_seed[of(e, "seed")] = min(by_seed.get(of(e, "seed"), tested), tested)
    return list(by_seed.values())


def _cell(tested: list[_Tested]) -> str:
    if not tested:
        return ""
    return (
        over_seeds([one.accuracy for one in tested])
        + ("*" if any(one.borrowed for one in tested) else "")
        + (f" {REMARK_MARK}" if any(one.marked for one in tested) else "")
    )


def _training(recipe: paper.PaperRecipe, model: str) -> tuple[str, Any]:
    """What of a recipe acts on one network, and what of it was found later."""
    acting = dataclasses.asdict(recipe)
    for name in _NOT_TRAINING:
        del acting[name]
    # No data set decides what a network is given beside the recipe's switches.
    arguments = recipe.model_arguments(model, datasets.SPECS["fashion_mnist"])
    later = arguments.pop(_FOUND_LATER, False)
    # As JSON: a recipe in a file has lists where ours has tuples.
    return json.dumps([acting, arguments], sort_keys=True, default=str), later
