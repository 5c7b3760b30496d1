"""A section of the report: networks after equally many epochs."""

from keras_gradattn import datasets
from keras_gradattn.training.comparison import group_by_seed, table
from keras_gradattn.training.experiment import MODELS
from studies.reading import (
    Experiment,
    best_validation,
    is_standard_or_control,
    network_title,
    of,
    over_seeds,
    recipe_title,
)

_LEAST_NETWORKS = 3


def equal_length_section(experiments: list[Experiment]) -> str:
    """Networks of one recipe after as many epochs as the shortest run had.

    Args:
        experiments: All runs; those whose first epochs do not depend on how many were
            to follow are compared, where there are three networks at least.

    Returns:
        Markdown, empty without such runs.
    """
    chosen = [
        e
        for e in experiments
        if is_standard_or_control(e)
        and of(e, "recipe")["schedule"] == "plateau"
        and of(e, "recipe")["early_stopping_patience"]
    ]
    rows = []
    for dataset in datasets.SPECS:
        of_dataset = [e for e in chosen if of(e, "dataset") == dataset]
        for recipe in dict.fromkeys(map(recipe_title, of_dataset)):
            rows += _rows([e for e in of_dataset if recipe_title(e) == recipe])
    if not rows:
        return ""
    header = ("data set", "recipe", "", "epochs", "best validation %")
    return "\n".join(
        [
            "## At equal length",
            "",
            "The highest validation accuracy until the last epoch of the shortest run "
            "of a data set and recipe. The rate falls when the loss stalls, so an "
            "epoch does not know how many follow.",
            "",
            table(header, rows, "markdown"),
        ]
    )


def _rows(runs: list[Experiment]) -> list[tuple[str, ...]]:
    groups = group_by_seed(runs)
    if len({network_title(e) for e in runs}) < _LEAST_NETWORKS:
        return []
    epochs = min(e["epochs_run"] for e in runs)
    order = list(MODELS)
    groups.sort(key=lambda g: (order.index(of(g[0], "model")), network_title(g[0])))
    return [
        (
            datasets.spec(of(group[0], "dataset")).title,
            recipe_title(group[0]),
            network_title(group[0]),
            str(epochs),
            over_seeds([best_validation(e, epochs) for e in group]),
        )
        for group in groups
    ]
