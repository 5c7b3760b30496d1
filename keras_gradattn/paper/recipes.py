"""The published protocols: as described, as released, and each defect repaired."""

import dataclasses
from typing import Any

import numpy as np

from keras_gradattn.datasets import DatasetSpec
from keras_gradattn.paper.damaged_pixels import DAMAGED_DATASETS, damaged_levels
from keras_gradattn.paper.published_analysis import published_figures
from keras_gradattn.training.recipe import Analysis, Recipe

# V1 of the released code has 16 heads of width 2 on these.
_SMALL_V1_HEAD_DATASETS = (
    "tiny_imagenet",
    "cifar10",
    "tissuemnist",
    "pcam",
    "pad_ufes_20",
)
_SMALL_V1_HEAD = {"width": 32, "num_heads": 16, "feed_forward": 2}
_IDENTICAL_BLOCKS_MODELS = ("gradattn_v1", "gradattn_v2")
_OTHER_INITIALIZATION_MODELS = ("se_resnet18", "cbam_resnet18")


@dataclasses.dataclass(frozen=True)
class PaperRecipe(Recipe):
    """A published protocol, with the departures of the released code as switches.

    Args:
        released_pixels: Train on damaged pixels, on CIFAR-10 and Fashion-MNIST.
        released_v1_head: V1 with width 32, 16 heads and feed-forward 2 on the five
            data sets where the released code has it so.
        released_initialization: SE and CBAM networks start in their own, different
            way.
        released_blocks: The encoder blocks of V1 and V2 start as copies of one.

    Everything else is as in `keras_gradattn.training.Recipe`.

    Example:

    >>> recipe = keras_gradattn.paper.RECIPES["as_released"]
    >>> recipe.for_dataset("svhn").released_pixels
    False
    """

    released_pixels: bool = False
    released_v1_head: bool = False
    released_initialization: bool = False
    released_blocks: bool = False

    def for_dataset(self, dataset: str) -> "PaperRecipe":
        """The recipe as it applies to one data set.

        Args:
            dataset: Name of the data set.

        Returns:
            A recipe whose switches are off where the released code has none.
        """
        applied = super().for_dataset(dataset)
        return dataclasses.replace(
            applied,
            released_pixels=self.released_pixels and dataset in DAMAGED_DATASETS,
            released_v1_head=self.released_v1_head
            and dataset in _SMALL_V1_HEAD_DATASETS,
        )

    def model_arguments(self, model: str, spec: DatasetSpec) -> dict[str, Any]:
        """Arguments by which the released code departs from its description."""
        arguments: dict[str, Any] = {}
        if self.released_v1_head and model == "gradattn_v1":
            arguments |= _SMALL_V1_HEAD
        if self.released_initialization and model in _OTHER_INITIALIZATION_MODELS:
            arguments["initialization"] = "kaiming_fan_out"
        if self.released_blocks and model in _IDENTICAL_BLOCKS_MODELS:
            arguments["identical_blocks"] = True
        return arguments

    def level_table(self, spec: DatasetSpec) -> np.ndarray | None:
        """The damaged levels where the recipe trains on them."""
        return damaged_levels(spec) if self.released_pixels else None

    def analyses(self) -> dict[str, Analysis]:
        """The published gradient analysis."""
        return {"published_analysis": published_figures}


# The authors' text (learning rate, decay, batch and patience as they give them).
_DESCRIBED = PaperRecipe(name="as_described")

# What the code does. Its departures can be switched off one by one.
_RELEASED = PaperRecipe(
    name="as_released",
    restore_best_weights=False,
    released_pixels=True,
    released_v1_head=True,
    released_initialization=True,
    released_blocks=True,
)

# Repairs of the released code: what the recipe's name says of each.
_REPAIRS: dict[str, dict[str, Any]] = {
    "pixels": {"released_pixels": False},
    "best_weights": {"restore_best_weights": True},
    "pixels_and_best_weights": {
        "released_pixels": False,
        "restore_best_weights": True,
    },
    "v1_head": {"released_v1_head": False},
    "initialization": {"released_initialization": False},
}

# The cause test: every run the same length and the same rate, the decay differs.
_FIXED_STEPS = PaperRecipe(
    name="fixed_steps_coupled",
    batch_size=32,
    max_steps=25_000,
    schedule="constant",
    early_stopping_patience=None,
    restore_best_weights=False,
)

RECIPES: dict[str, PaperRecipe] = {
    recipe.name: recipe
    for recipe in (
        _DESCRIBED,
        _RELEASED,
        *(
            dataclasses.replace(
                _RELEASED, name=f"as_released_{part}_repaired", **changes
            )
            for part, changes in _REPAIRS.items()
        ),
        _FIXED_STEPS,
        dataclasses.replace(
            _FIXED_STEPS, name="fixed_steps_decoupled", optimizer="adamw"
        ),
        dataclasses.replace(
            _FIXED_STEPS,
            name="fixed_steps_no_decay",
            optimizer="adam",
            weight_decay=0.0,
        ),
    )
}
