"""Training protocols as data."""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_gradattn.datasets._names import suggestion
from keras_gradattn.datasets.specs import Augmentation, DatasetSpec

if TYPE_CHECKING:
    from typing_extensions import Self

# A network and batches of test images and labels, to plain data for a JSON.
Analysis = Callable[[keras.Model, Iterable[Any]], Any]

_OPTIMIZERS = ("coupled_adam", "adamw", "adam")
_SCHEDULES = ("plateau", "cosine", "constant")
_STEMS = ("imagenet", "cifar", "auto")
_PHASE = ("train", "learning_rate", "epochs")
_PRECISIONS = (None, "auto", "mixed_bfloat16", "mixed_float16")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How to train, as plain data.

    Make your own with `dataclasses.replace(recipe, name="mine", ...)`, or change a few
    fields with `with_changes`. The signature has the defaults.

    Args:
        name: Names the result files.
        optimizer: `"coupled_adam"` (L2 in the gradient, as in PyTorch's Adam),
            `"adamw"` (decoupled decay) or `"adam"` (no decay).
        learning_rate: Peak learning rate.
        weight_decay: Factor of the decay.
        decay_norms_and_biases: Whether norm scales and every bias decay as well.
        batch_size: Images a step; `None` for the data set's own.
        max_epochs: Longest training, in epochs.
        max_steps: Fixed number of steps of the optimizer, in place of `max_epochs`.
            `None` for no fixed number.
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
        ema_momentum: Momentum of an exponential moving average over the steps, of the
            weights and of what BatchNorm remembers. This average is what is validated
            and tested. `None` is no average. If a training has few steps, take a lower
            momentum, so that the average forgets where it began.
        stem: `"imagenet"` (7x7, stride 4 in all), `"cifar"` (3x3, stride 1), or
            `"auto"`: `"cifar"` up to 64 pixels.
        mixed_precision: `None` for float32, `"auto"` for `"mixed_bfloat16"` on an
            accelerator and float32 on a CPU, or a Keras policy for either:
            `"mixed_bfloat16"` or `"mixed_float16"`.
        class_weights: `"balanced"` weights classes by inverse frequency. `None` weights
            all images alike.
        augmentation: A tuple of `keras_gradattn.datasets.Augmentation`. `None` is the
            data set's own, and `()` is none.
        group: Column of the data set that says which images must stay in one part,
            such as `"patient_id"`. `None` divides image by image.
        split_seed: Seed of the random division, the same for every training seed.
        phases: A training in parts, each with an optimizer of its own. `()` is one
            part. Otherwise give a dictionary for each part, with these keys: `"train"`
            has patterns of the names of layers that are trained, such as
            `["classifier"]`, and without it all are. `"learning_rate"` is the recipe's
            if it is missing. `"epochs"` is the length, and the last part gets what is
            left. Schedule and plateau begin anew with each part. Only in the last one
            training can stop early.
        overrides: By name of a data set, fields that differ there.
        changes: Fields that `with_changes` has set. They are in the name of the
            result's file.

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
    augmentation: tuple[Any, ...] | None = None
    group: str | None = None
    split_seed: int = 42
    phases: tuple[Mapping[str, Any], ...] = ()
    overrides: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _check_kind(field.name, getattr(self, field.name), str(field.type))
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
        _check_phases(self.phases, self.max_epochs)
        _check_augmentation(self.augmentation)
        fields = {field.name for field in dataclasses.fields(self)}
        for dataset, changes in self.overrides.items():
            if unknown := set(changes) - fields:
                raise ValueError(
                    f"`overrides` of {dataset} must name fields of a Recipe. "
                    f"Received: {sorted(unknown)}"
                )

    def for_dataset(self, dataset: str) -> Self:
        """The recipe as it applies to one data set.

        Args:
            dataset: Name of the data set.

        Returns:
            A recipe with that data set's overrides in place, none left.
        """
        changes = self.overrides.get(dataset, {})
        return dataclasses.replace(self, overrides={}, **changes)

    def with_changes(self, **changes: Any) -> Self:
        """The recipe with other fields, which win over its `overrides`.

        Args:
            **changes: Fields by name; `changes` of the new recipe names them.

        Returns:
            A recipe of the same name.

        Raises:
            ValueError: If there is no such field, or a value is out of range.

        Example:

        >>> recipe = keras_gradattn.training.RECIPES["modern"]
        >>> recipe.with_changes(learning_rate=3e-4).learning_rate
        0.0003
        """
        fields = {field.name: None for field in dataclasses.fields(self)}
        # These two say what changes changed.
        del fields["overrides"], fields["changes"]
        for name in changes:
            look_up(name, fields, "recipe field")
        overrides = {
            dataset: {k: v for k, v in own.items() if k not in changes}
            for dataset, own in self.overrides.items()
        }
        named = {**self.changes, **changes}
        return dataclasses.replace(self, overrides=overrides, changes=named, **changes)

    def model_arguments(self, model: str, spec: DatasetSpec) -> dict[str, Any]:
        """Arguments of a network's constructor that the protocol asks for.

        Args:
            model: Key of `keras_gradattn.training.MODELS`.
            spec: The data set.

        Returns:
            Argument names to values; here none.
        """
        return {}

    def level_table(self, spec: DatasetSpec) -> np.ndarray | None:
        """What each 8-bit level of a training image is replaced by.

        Args:
            spec: The data set.

        Returns:
            uint8 array (256, channels), or `None` where pixels stay as they are.
        """
        return None

    def analyses(self) -> dict[str, Analysis]:
        """What the protocol measures of a trained network beside its accuracy.

        Returns:
            Names to functions of the network and of test batches; each returns what
            the result's JSON holds under that name. Here none.
        """
        return {}

    @property
    def mixes_labels(self) -> bool:
        """Whether targets are distributions over classes instead of indices."""
        return bool(self.label_smoothing or self.mixup or self.cutmix)


# Fields of other types are checked by their values.
_KINDS: dict[str, tuple[str, tuple[type, ...]]] = {
    "int": ("a whole number", (numbers.Integral,)),
    "float": ("a number", (numbers.Real,)),
    "bool": ("true or false", (bool,)),
    "str": ("a text", (str,)),
}


def _check_kind(name: str, value: Any, annotation: str) -> None:
    kind, _, optional = (part.strip() for part in annotation.partition("|"))
    if kind not in _KINDS or (value is None and optional == "None"):
        return
    what, types = _KINDS[kind]
    if not isinstance(value, types) or (isinstance(value, bool) and kind != "bool"):
        also = " or none" if optional else ""
        raise ValueError(f"`{name}` must be {what}{also}. Received: {name}={value!r}")


def _check_augmentation(entries: Any) -> None:
    kinds = (Augmentation, Mapping)
    listed = isinstance(entries, list | tuple)
    if entries is None or (listed and all(isinstance(one, kinds) for one in entries)):
        return
    raise ValueError(
        '`augmentation` must be a list such as [{"name": "flip"}]. '
        f"Received: augmentation={entries!r}"
    )


def _check_phases(phases: Any, max_epochs: int) -> None:
    listed = isinstance(phases, list | tuple)
    if not listed or not all(isinstance(phase, Mapping) for phase in phases):
        raise ValueError(
            '`phases` must be a list such as [{"train": ["head"], "epochs": 5}, {}]. '
            f"Received: phases={phases!r}"
        )
    for index, phase in enumerate(phases):
        for name in phase:
            look_up(name, dict.fromkeys(_PHASE), "phase field")
        if isinstance(phase.get("train", []), str):
            raise ValueError(
                "`train` of a phase must be a list of patterns of layer names. "
                f"Received: train={phase['train']!r}"
            )
        if "learning_rate" in phase:
            _above("learning_rate", phase["learning_rate"], 0)
        if index < len(phases) - 1 or "epochs" in phase:
            _above("epochs", phase.get("epochs", 0), 0)
    if sum(phase.get("epochs", 0) for phase in phases[:-1]) >= max_epochs:
        raise ValueError(
            "`phases` must leave an epoch for the last one. Received: "
            f"phases={list(phases)}, max_epochs={max_epochs}"
        )


def _one_of(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    if value not in choices:
        raise ValueError(f"`{name}` must be one of {choices}. Received: {name}={value}")


def _above(name: str, value: float, bound: float) -> None:
    if not value > bound:
        raise ValueError(
            f"`{name}` must be greater than {bound}. Received: {name}={value}"
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

RECIPES: dict[str, Recipe] = {_MODERN.name: _MODERN}


def look_up(name: str, table: Mapping[str, Any], kind: str) -> Any:
    """Entry of a table by name, or an error that suggests the nearest name.

    Args:
        name: The name.
        table: What there is.
        kind: What the error calls it, such as `"recipe"`.

    Returns:
        The entry.

    Raises:
        ValueError: If there is no such entry.

    Example:

    >>> recipes = keras_gradattn.training.RECIPES
    >>> look_up("modern", recipes, "recipe").optimizer
    'adamw'
    """
    if name in table:
        return table[name]
    raise ValueError(
        f"Unknown {kind}.{suggestion(name, table)} Known: {', '.join(sorted(table))}. "
        f"Received: {name!r}"
    )
