"""Test accuracy by network and protocol, a section for each data set."""

from collections.abc import Sequence

from keras_gradattn import paper
from keras_gradattn.training import MODELS
from keras_gradattn.training.comparison import group_by_seed
from studies import table
from studies.reading import (
    MODEL_TITLES,
    RECIPE_TITLES,
    Experiment,
    dataset_title,
    datasets_of,
    difference,
    is_of_decay_study,
    is_standard_or_control,
    mark,
    network_title,
    of,
    over_seeds,
    recipe_name,
    recipe_title,
    remark_lines,
    told_difference,
    top1,
)
from studies.sections.references import REFERENCES

_PLAIN = "ResNet-18"


def text(experiments: Sequence[Experiment]) -> str:
    """Published protocols and others, each a table, and differences from ResNet-18."""
    chosen = [
        e for e in experiments if is_standard_or_control(e) and not is_of_decay_study(e)
    ]
    sections = [
        _section([e for e in chosen if of(e, "dataset") == name])
        for name in datasets_of(chosen)
    ]
    return "\n\n".join(sections)


def _section(runs: list[Experiment]) -> str:
    dataset = of(runs[0], "dataset")
    of_paper = [e for e in runs if recipe_name(e) in paper.RECIPES]
    others = [e for e in runs if recipe_name(e) not in paper.RECIPES]
    reference = REFERENCES.get(dataset)
    return table.section(
        dataset_title(runs[0]),
        *_tables(of_paper, published=True),
        *_tables(others, published=False),
        f"For comparison, trained by others: {reference}." if reference else "",
        *filter(None, remark_lines(runs)),
        "\n".join(_differences(runs)),
    )


def _tables(runs: list[Experiment], *, published: bool) -> list[str]:
    """Networks by recipes, as many tables as a reader's width asks for."""
    recipes, fixed = _recipes_of(runs), 2 if published else 1
    wide = table.MOST_COLUMNS - fixed
    parts = [recipes[start : start + wide] for start in range(0, len(recipes), wide)]
    return [_table(runs, part, published=published) for part in parts]


def _table(runs: list[Experiment], recipes: list[str], *, published: bool) -> str:
    rows = []
    for network, model in _networks_of(runs).items():
        cells = [_cell(_seeds(runs, network, recipe)) for recipe in recipes]
        figures = paper.published(of(runs[0], "dataset"), model)
        # A control was not published.
        known = figures if network == MODEL_TITLES[model] else None
        told = [f"{known['test_top1']:.2f}" if known else ""] if published else []
        if any(cells):
            rows.append([network, *told, *cells])
    return table.markdown(["", *(["published"] if published else []), *recipes], rows)


def _cell(runs: list[Experiment]) -> str:
    return over_seeds(top1(runs)) + mark(runs) if runs else ""


def _recipes_of(runs: list[Experiment]) -> list[str]:
    """Titles of their recipes: ours in their order, then one's own."""
    known = list(RECIPE_TITLES.values())

    def place(title: str) -> tuple[int, str]:
        base = title.split(",")[0]
        return (known.index(base) if base in known else len(known), title)

    return sorted({recipe_title(e) for e in runs}, key=place)


def _networks_of(runs: list[Experiment]) -> dict[str, str]:
    """Titles of their networks to models, controls behind what they are controls of."""
    found = {(of(e, "model"), network_title(e)) for e in runs}
    order = list(MODELS)
    ordered = sorted(found, key=lambda pair: (order.index(pair[0]), pair[1]))
    return {title: model for model, title in ordered}


def _seeds(runs: list[Experiment], network: str, recipe: str) -> list[Experiment]:
    """Runs of one network that differ in nothing but their seed."""
    groups = group_by_seed(
        [e for e in runs if (network_title(e), recipe_title(e)) == (network, recipe)]
    )
    # Of several lengths the full one, then the one with most seeds.
    return max(
        groups, key=lambda g: (not any(e["short"] for e in g), len(g)), default=[]
    )


def _differences(runs: list[Experiment]) -> list[str]:
    """Each network against ResNet-18, only where seeds allow a statement."""
    lines = []
    for recipe in _recipes_of(runs):
        plain = top1(_seeds(runs, _PLAIN, recipe))
        for network in _networks_of(runs):
            other = top1(_seeds(runs, network, recipe))
            if network == _PLAIN or len(plain) < 2 or len(other) < 2:
                continue
            _, low, high = difference(other, plain)
            verdict = "a difference" if low * high > 0 else "no difference is shown"
            lines.append(
                f"* {network} minus {_PLAIN}, {recipe}: "
                f"{told_difference(other, plain)}, {len(other)} and {len(plain)} "
                f"seeds: {verdict}."
            )
    if lines:
        lines[:0] = ["Differences in points, with Welch's 95 % interval:", ""]
    return lines
