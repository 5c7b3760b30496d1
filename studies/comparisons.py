"""Which cells are compared, and what the difference of their means is worth."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from scipy import stats

LEVEL_OF_BLOCK = 0.95
# A difference inside this is none that matters, in points.
MARGIN = 1.0

_PATHWAYS = ("pathways, attention", "pathways, equal", "pathways, static")
_MODERN = "modern_reduced"
_BROKEN, _REPAIRED = "as_released", "as_released_pixels_repaired"


@dataclasses.dataclass(frozen=True)
class Comparison:
    """First minus second: each a network and its recipe.

    Args:
        blocks: Where the two stand.
        first: Network and recipe.
        second: Network and recipe.
    """

    blocks: tuple[str, ...]
    first: tuple[str, str]
    second: tuple[str, str]

    @property
    def title(self) -> str:
        """Both names, with the recipe where a block has several."""
        names, recipes = zip(self.first, self.second, strict=True)
        if recipes[0] != recipes[1]:
            return f"{names[0]}: {' - '.join(recipes)}".replace("_", " ")
        told = "" if recipes[0] == _MODERN else f", {recipes[0].replace('_', ' ')}"
        return f"{' - '.join(names)}{told}"


def _modern(first: str, second: str) -> Comparison:
    return Comparison(("A1", "A2"), (first, _MODERN), (second, _MODERN))


# The comparisons of the protocol. Their number sets the level of each.
COMPARISONS: dict[str, tuple[Comparison, ...]] = {
    "A": (
        _modern(_PATHWAYS[0], _PATHWAYS[1]),
        _modern(_PATHWAYS[0], _PATHWAYS[2]),
        _modern(_PATHWAYS[1], "ResNet-18"),
        _modern("V2", "ResNet-18"),
        _modern("SE-ResNet-18", "ResNet-18"),
    ),
    "B": (
        *(
            Comparison(("B",), ("V2", recipe), ("ResNet-18", recipe))
            for recipe in (_BROKEN, _REPAIRED)
        ),
        *(
            Comparison(("B",), (network, _REPAIRED), (network, _BROKEN))
            for network in ("ResNet-18", "V2")
        ),
    ),
    "C": tuple(
        Comparison(("C",), (network, recipe), ("ResNet-18", recipe))
        for recipe in ("as_released", "as_described")
        for network in ("V1", "V2", "V3")
    ),
    **{
        block: tuple(
            Comparison((block,), (_PATHWAYS[0], _MODERN), (other, _MODERN))
            for other in _PATHWAYS[1:]
        )
        for block in (
            "D low data",
            "D label noise",
            "D mixed resolutions",
            "D 50 layers",
            "D 102 layers",
        )
    },
}


@dataclasses.dataclass(frozen=True)
class Difference:
    """Difference of two means with Welch's interval, in points.

    Args:
        mean: First minus second.
        low: Lower end; `None` with fewer than two values of either.
        high: Upper end.
        verdict: `"better"`, `"worse"`, `"alike"`, `"open"` or `"not decided"`.
    """

    mean: float | None
    low: float | None
    high: float | None
    verdict: str


def difference(
    first: Sequence[float], second: Sequence[float], comparisons: int, seeds: int
) -> Difference:
    """Compares two cells as the protocol says.

    Args:
        first: One value a seed, in points.
        second: Likewise.
        comparisons: How many the block has; Bonferroni divides by them.
        seeds: Values that each must have for a verdict.

    Returns:
        The `Difference`. Source of the interval: Welch (1947), Biometrika 34.

    Example:

    >>> difference([30.0, 30.2, 30.4], [25.0, 25.2, 25.4], 5, 3).verdict
    'better'
    """
    if not first or not second:
        return Difference(None, None, None, "not decided")
    mean = sum(first) / len(first) - sum(second) / len(second)
    if min(len(first), len(second)) < 2:
        return Difference(mean, None, None, "not decided")
    level = 1 - (1 - LEVEL_OF_BLOCK) / comparisons
    test = stats.ttest_ind(first, second, equal_var=False)
    low, high = map(float, test.confidence_interval(level))
    if min(len(first), len(second)) < seeds:
        return Difference(mean, low, high, "not decided")
    return Difference(mean, low, high, _verdict(low, high))


def _verdict(low: float, high: float) -> str:
    if low > 0:
        return "better"
    if high < 0:
        return "worse"
    return "alike" if low > -MARGIN and high < MARGIN else "open"
