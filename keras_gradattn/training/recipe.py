"""Training protocols as data: what was described, what was released, what is modern."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from keras_gradattn.datasets._names import suggestion
from keras_gradattn.datasets.specs import Augmentation

# Where the released code's switches have an effect at all.
RELEASED_PIXELS_DATASETS = ("cifar10", "fashion_mnist")
RELEASED_V1_HEAD_DATASETS = (
    "tiny_imagenet",
    "cifar10",
    "tissuemnist",
    "pcam",
    "pad_ufes_20",
)
RELEASED_INITIALIZATION_MODELS = ("se_resnet18", "cbam_resnet18")

_OPTIMIZERS = ("coupled_adam", "adamw", "adam")
_SCHEDULES = ("plateau", "cosine", "constant")
_STEMS = ("imagenet", "cifar", "auto")
_PRECISIONS = (None, "auto", "mixed_bfloat16", "mixed_float16")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One training protocol; a user's own is `dataclasses.replace(recipe, ...)`.

    Args:
        name: Names the result files.
        optimizer: `"coupled_adam"` (L2 in the gradient, as in PyTorch's Adam),
            `"adamw"` (decoupled decay) or `"adam"` (no decay).
        learning_rate: Peak learning rate.
        weight_decay: Factor of the decay.
        decay_norms_and_biases: Whether norm scales and every bias decay as well.
        batch_size: Images a step; `None` for the data set's own.
        max_epochs: Longest training, in epochs.
        max_steps: Fixed number of optimiser steps; overrides `max_epochs`.
        schedule: `"plateau"` (on validation accuracy), `"cosine"` or `"constant"`.
        plateau_factor: What a plateau multiplies the learning rate by.
        plateau_patience: Epochs without improvement that a plateau may last; the
            next one reduces the rate, as in PyTorch. No minimum delta.
        minimum_learning_rate: The plateau schedule's floor.
        warmup_epochs: Epochs of linear warm-up (cosine schedule only).
        early_stopping_patience: Epochs without a better validation accuracy after
            which training stops; `None` for never.
        restore_best_weights: Whether the weights of the best validation epoch are
            tested, rather than the last.
        label_smoothing: Share of the target spread over all classes, 0 to 1.
        mixup: Beta parameter of MixUp (Zhang et al. 2018); 0 for none.
        cutmix: Beta parameter of CutMix (Yun et al. 2019); 0 for none. With both,
            each is applied to half of the images.
        random_augment: Whether RandAugment (Cubuk et al. 2020) follows the data
            set's augmentation.
        ema_momentum: Momentum of the exponential moving average over steps, of the
            weights and of what BatchNorm remembers, which is then what is validated
            and tested; `None` for no average.
        stem: `"imagenet"` (7x7, stride 4 in all), `"cifar"` (3x3, stride 1), or
            `"auto"`: `"cifar"` up to 64 pixels.
        mixed_precision: `None` for float32, `"auto"` for `"mixed_bfloat16"` on an
            accelerator and float32 on a CPU, or a Keras policy for either:
            `"mixed_bfloat16"` or `"mixed_float16"`.
        class_weights: `"balanced"` weights classes by inverse frequency.
        augmentation: `None` for the data set's own, `()` for none, or other entries.
        group: Split by this column of the data set, such as `"patient_id"`.
        split_seed: Seed of the random split, the same for every training seed.
        released_pixels: Train on the released code's broken pixels (CIFAR-10 and
            Fashion-MNIST; no effect elsewhere).
        released_v1_head: V1 with width 32, 16 heads and feed-forward 2 on the five
            data sets where the released code has it so.
        released_initialization: SE and CBAM networks initialised in their released,
            different way.
        overrides: Data set name -> fields that differ there.

    Raises:
        ValueError: If a field is out of range or unknown.

    Example:

    ```python
    import dataclasses
    from keras_gradattn.training import RECIPES

    longer = dataclasses.replace(RECIPES["modern"], name="longer", max_epochs=300)
    ```
    """

    name: str
    optimizer: str = "coupled_adam"
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    decay_norms_and_biases: bool = True
    batch_size: int | None = None
    max_epochs: int = 100
    max_steps: int | None = None
    schedule: str = "plateau"
    plateau_factor: float = 0.2
    plateau_patience: int = 3
    minimum_learning_rate: float = 1e-7
    warmup_epochs: int = 0
    early_stopping_patience: int | None = 7
    restore_best_weights: bool = True
    label_smoothing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    random_augment: bool = False
    ema_momentum: float | None = None
    stem: str = "imagenet"
    mixed_precision: str | None = None
    class_weights: str | None = None
    augmentation: tuple | None = None
    group: str | None = None
    split_seed: int = 42
    released_pixels: bool = False
    released_v1_head: bool = False
    released_initialization: bool = False
    overrides: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        _one_of("optimizer", self.optimizer, _OPTIMIZERS)
        _one_of("schedule", self.schedule, _SCHEDULES)
        _one_of("stem", self.stem, _STEMS)
        _one_of("mixed_precision", self.mixed_precision, _PRECISIONS)
        _one_of("class_weights", self.class_weights, (None, "balanced"))
        _above("learning_rate", self.learning_rate, 0)
        _above("max_epochs", self.max_epochs, 0)
        for name in ("batch_size", "max_steps", "early_stopping_patience"):
            if getattr(self, name) is not None:
                _above(name, getattr(self, name), 0)
        for name in ("weight_decay", "warmup_epochs", "mixup", "cutmix"):
            if getattr(self, name) < 0:
                raise ValueError(
                    f"`{name}` must not be negative. "
                    f"Received: {name}={getattr(self, name)}"
                )
        for name in ("label_smoothing", "ema_momentum"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise ValueError(
                    f"`{name}` must lie in [0, 1). Received: {name}={value}"
                )
        fields = {field.name for field in dataclasses.fields(self)}
        for dataset, changes in self.overrides.items():
            if unknown := set(changes) - fields:
                raise ValueError(
                    f"`overrides` of {dataset} must name fields of a Recipe. "
                    f"Received: {sorted(unknown)}"
                )

    def for_dataset(self, dataset: str) -> "Recipe":
        """The recipe as it applies to one data set.

        Args:
            dataset: Name of the data set.

        Returns:
            A `Recipe` with that data set's overrides in place, none left, and the
            released switches off where the released code does not have them.
        """
        changes = dict(self.overrides.get(dataset, {}))
        if dataset not in RELEASED_PIXELS_DATASETS:
            changes["released_pixels"] = False
        if dataset not in RELEASED_V1_HEAD_DATASETS:
            changes["released_v1_head"] = False
        return dataclasses.replace(self, overrides={}, **changes)

    @property
    def mixes_labels(self) -> bool:
        """Whether targets are distributions over classes instead of indices."""
        return bool(self.label_smoothing or self.mixup or self.cutmix)


def _one_of(name: str, value: Any, choices: tuple) -> None:
    if value not in choices:
        raise ValueError(f"`{name}` must be one of {choices}. Received: {name}={value}")


def _above(name: str, value: float, bound: float) -> None:
    if not value > bound:
        raise ValueError(
            f"`{name}` must be greater than {bound}. Received: {name}={value}"
        )


# The authors' text (learning rate, decay, batch and patience as they give them).
_DESCRIBED = Recipe(name="as_described")

# What the code does. The four departures can be switched off one by one.
_RELEASED = Recipe(
    name="as_released",
    restore_best_weights=False,
    released_pixels=True,
    released_v1_head=True,
    released_initialization=True,
)

# The cause test: every run the same length and the same rate, the decay differs.
_FIXED_STEPS = Recipe(
    name="fixed_steps_coupled",
    batch_size=32,
    max_steps=25_000,
    schedule="constant",
    early_stopping_patience=None,
    restore_best_weights=False,
)

_MODERN = Recipe(
    name="modern",
    optimizer="adamw",
    weight_decay=0.05,
    decay_norms_and_biases=False,
    max_epochs=60,
    schedule="cosine",
    warmup_epochs=3,
    early_stopping_patience=None,
    label_smoothing=0.1,
    mixup=0.2,
    cutmix=1.0,
    ema_momentum=0.999,
    stem="auto",
    mixed_precision="auto",
    overrides={
        "tiny_imagenet": {
            "max_epochs": 100,
            "warmup_epochs": 5,
            "random_augment": True,
            "augmentation": (Augmentation("flip"), Augmentation("crop", padding=8)),
        },
        "cifar10": {"random_augment": True},
        # Cutting a digit or a cell apart changes what it is.
        "svhn": {"cutmix": 0.0, "max_epochs": 30},
        # Few steps in all: the average must have forgotten where it began.
        "digits": {"cutmix": 0.0, "max_epochs": 100, "ema_momentum": 0.99},
        "tissuemnist": {"cutmix": 0.0, "max_epochs": 30},
        "bloodmnist": {"cutmix": 0.0},
        "pbc28": {"cutmix": 0.0, "ema_momentum": 0.99},
        # The label of a patch is decided by its centre alone (PCam README).
        "pcam": {"cutmix": 0.0, "mixup": 0.0, "max_epochs": 20},
        "pad_ufes_20": {
            "cutmix": 0.0,
            "max_epochs": 100,
            "ema_momentum": 0.99,
            "group": "patient_id",
            "class_weights": "balanced",
        },
    },
)

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        _DESCRIBED,
        _RELEASED,
        dataclasses.replace(
            _RELEASED, name="as_released_pixels_repaired", released_pixels=False
        ),
        dataclasses.replace(
            _RELEASED,
            name="as_released_best_weights_repaired",
            restore_best_weights=True,
        ),
        dataclasses.replace(
            _RELEASED,
            name="as_released_pixels_and_best_weights_repaired",
            released_pixels=False,
            restore_best_weights=True,
        ),
        dataclasses.replace(
            _RELEASED, name="as_released_v1_head_repaired", released_v1_head=False
        ),
        dataclasses.replace(
            _RELEASED,
            name="as_released_initialization_repaired",
            released_initialization=False,
        ),
        _MODERN,
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


def recipe(name: str) -> Recipe:
    """Look a recipe up by its name.

    Args:
        name: A key of `RECIPES`.

    Returns:
        The `Recipe`.

    Raises:
        ValueError: If there is none of that name; the nearest one is suggested.

    Example:

    ```python
    keras_gradattn.training.recipe("as_described").learning_rate  # 0.001
    ```
    """
    return look_up(name, RECIPES, "recipe")


def look_up(name: str, table: Mapping[str, Any], kind: str) -> Any:
    """Entry `name` of `table`, or a `ValueError` that suggests the nearest name."""
    if name in table:
        return table[name]
    raise ValueError(
        f"Unknown {kind}.{suggestion(name, table)} Known: {', '.join(sorted(table))}. "
        f"Received: {name!r}"
    )
