"""Networks of one recipe after as many epochs as the shortest run had."""

from collections.abc import Sequence

from keras_gradattn.training import MODELS
from keras_gradattn.training.comparison import group_by_seed
from studies import table
from studies.reading import (
    Experiment,
    best_validation,
    dataset_title,
    datasets_of,
    is_standard_or_control,
    network_title,
    of,
    over_seeds,
    recipe_title,
)

_LEAST_NETWORKS = 3
_HEADER = ("data set", "recipe", "", "epochs", "best validation %")


def text(experiments: Sequence[Experiment]) -> str:
    """Runs whose first epochs do not depend on how many were to follow, compared where
    there are three networks at least."""
    chosen = [
        e
        for e in experiments
        if is_standard_or_control(e)
        and of(e, "recipe")["schedule"] == "plateau"
        and of(e, "recipe")["early_stopping_patience"]
    ]
    rows = []
    for dataset in datasets_of(chosen):
        of_dataset = [e for e in chosen if of(e, "dataset") == dataset]
        for recipe in dict.fromkeys(map(recipe_title, of_dataset)):
            rows += _rows([e for e in of_dataset if recipe_title(e) == recipe])
    if not rows:
        return ""
    return table.section(
        "At equal length",
        "Runs of one recipe have different lengths. Here each is read only as far as "
        "the shortest one goes. The figure is the best validation accuracy until then. "
        "That is fair, because the learning rate falls when the accuracy stalls. So an "
        "epoch is the same however many follow.",
        table.markdown(_HEADER, rows),
    )


def _rows(runs: list[Experiment]) -> list[list[str]]:
    groups = group_by_seed(runs)
    if len({network_title(e) for e in runs}) < _LEAST_NETWORKS:
        return []
    epochs = min(e["epochs_run"] for e in runs)
    order = list(MODELS)
    groups.sort(key=lambda g: (order.index(of(g[0], "model")), network_title(g[0])))
    return [
        [
            dataset_title(group[0]),
            recipe_title(group[0]),
            network_title(group[0]),
            str(epochs),
            over_seeds(best_validation(group, epochs)),
        ]
        for group in groups
    ]
