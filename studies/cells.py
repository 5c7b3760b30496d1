"""The cells of the study as a table, in the order in which they decide something."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from keras_gradattn.training.run_name import run_name

SEEDS = (1, 2, 3)
# A quarter of the published widths.
STAGE_FILTERS = (16, 32, 64, 128)
HEAD = {"width": 64, "num_heads": 8, "feed_forward": 128}

_TITLES = {
    "resnet18": "ResNet-18",
    "se_resnet18": "SE-ResNet-18",
    "gradattn_v1": "V1",
    "gradattn_v2": "V2",
    "gradattn_v3": "V3",
    "gradattn_pathways": "pathways, {mixing}",
}


@dataclasses.dataclass(frozen=True)
class Cell:
    """One network on one data set with one recipe.

    Args:
        block: Question of `PROTOCOL.md` that it answers.
        dataset: Key of `keras_gradattn.datasets.SPECS` or `studies.reduced.DATASETS`.
        model: Key of `keras_gradattn.training.MODELS`.
        recipe: Name for `studies.reduced.recipe`.
        epochs: Length of the run.
        options: Arguments of the model beside `stage_filters`.
        limit: Images of each part at most.
    """

    block: str
    dataset: str
    model: str
    recipe: str
    epochs: int
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict, hash=False)
    limit: int | None = None

    @property
    def network(self) -> str:
        """Name of the network in tables."""
        return _TITLES[self.model].format(**{"mixing": "attention", **self.options})

    @property
    def model_options(self) -> dict[str, Any]:
        """What the model's constructor is given."""
        return {"stage_filters": list(STAGE_FILTERS), **self.options}

    def name(self, seed: int) -> str:
        """Path of the result below its folder, without its ending."""
        return run_name(
            {
                "dataset": self.dataset,
                "model": self.model,
                "recipe": {"name": self.recipe},
                "seed": seed,
                "model_options": self.model_options,
                "max_epochs": self.epochs,
                "limit": self.limit,
            }
        )


def _pathways(block: str, mixing: str, **settings: Any) -> Cell:
    # What is the default is not named.
    options = {} if mixing == "attention" else {"mixing": mixing}
    options |= settings.pop("options", {})
    return Cell(block, model="gradattn_pathways", options=options, **settings)


def _published(
    block: str, model: str, recipe: str, *, head: bool = True, **settings: Any
) -> Cell:
    has_head = model.startswith("gradattn") and head
    return Cell(
        block,
        model=model,
        recipe=recipe,
        options=HEAD if has_head else {},
        **settings,
    )


_A = {"dataset": "tiny_imagenet_32", "recipe": "modern_reduced", "epochs": 3}
_B = {"dataset": "cifar10", "epochs": 5}
_C = {"dataset": "tiny_imagenet", "epochs": 5}
_LOW = _A | {"limit": 10_000, "epochs": 20}
_NOISE = _A | {"dataset": "tiny_imagenet_32_label_noise"}
_MIXED = _A | {"dataset": "tiny_imagenet_32_mixed_resolutions"}
# 50 and 102 layers.
_DEEP, _DEEPEST = [3, 6, 12, 3], [4, 8, 34, 4]


def _three(block: str, **settings: Any) -> tuple[Cell, ...]:
    """Pathways with attention, equal and static weights."""
    return tuple(
        _pathways(block, mixing, **settings)
        for mixing in ("attention", "equal", "static")
    )


# Every block runs seed by seed, so that a block that is cut short is balanced.
BLOCKS: dict[str, tuple[Cell, ...]] = {
    "A1": (
        _pathways("A1", "attention", **_A),
        _pathways("A1", "equal", **_A),
        _pathways("A1", "static", **_A),
        _published("A1", "resnet18", **_A),
    ),
    "A2": (
        _published("A2", "gradattn_v2", **_A),
        _published("A2", "se_resnet18", **_A),
    ),
    "B": tuple(
        _published("B", model, recipe, **_B)
        for recipe in ("as_released", "as_released_pixels_repaired")
        for model in ("resnet18", "gradattn_v2")
    ),
    "C": (
        *(
            # The released V1 has a small head of its own here.
            _published("C", model, "as_released", head=model != "gradattn_v1", **_C)
            for model in ("resnet18", "gradattn_v3", "gradattn_v2", "gradattn_v1")
        ),
        *(
            _published("C", model, "as_described", **_C)
            for model in ("resnet18", "gradattn_v3", "gradattn_v2", "gradattn_v1")
        ),
    ),
    "D low data": _three("D low data", **_LOW),
    "D label noise": _three("D label noise", **_NOISE),
    "D mixed resolutions": _three("D mixed resolutions", **_MIXED),
    "D 50 layers": _three("D 50 layers", options={"stage_blocks": _DEEP}, **_A),
    "D 102 layers": _three("D 102 layers", options={"stage_blocks": _DEEPEST}, **_A),
}


def runs() -> list[tuple[Cell, int]]:
    """Every cell with every seed, in order."""
    return [
        (cell, seed) for cells in BLOCKS.values() for seed in SEEDS for cell in cells
    ]
