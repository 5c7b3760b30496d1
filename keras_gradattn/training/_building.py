"""From a recipe to the network, optimizer, loss and augmentation that it means."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_gradattn import datasets, models
from keras_gradattn.training._accelerator import accelerator
from keras_gradattn.training.coupled_adam import CoupledAdam
from keras_gradattn.training.recipe import Recipe, look_up

MODELS: dict[str, str] = {
    "resnet18": "ResNet18",
    "se_resnet18": "SEResNet18",
    "cbam_resnet18": "CBAMResNet18",
    "gradattn_v1": "GradAttnV1",
    "gradattn_v2": "GradAttnV2",
    "gradattn_v3": "GradAttnV3",
    "gradattn_pathways": "GradAttnPathways",
}


def build_model(
    name: str,
    spec: Any,
    recipe: Recipe,
    **options: Any,
) -> keras.Model:
    """Build the network that a recipe trains on a data set, giving logits.

    Args:
        name: Key of `MODELS`.
        spec: The data set's `DatasetSpec`.
        recipe: The protocol, after `recipe.for_dataset(...)`.
        **options: Further arguments of the constructor; they win.

    Returns:
        A Functional `keras.Model` with linear output, not compiled.

    Raises:
        ValueError: If there is no such model; the nearest name is suggested.

    Example:

    ```python
    from keras_gradattn import datasets, training

    recipe = training.RECIPES["modern"].for_dataset("digits")
    narrow = {"stage_filters": (4, 4), "stage_blocks": (1, 1), "width": 8}
    digits = datasets.spec("digits")
    network = training.build_model("gradattn_v2", digits, recipe, **narrow)
    ```
    """
    constructor = getattr(models, look_up(name, MODELS, "model"))
    small = recipe.stem == "auto" and spec.image_size <= 64
    arguments: dict[str, Any] = {
        "input_shape": (spec.image_size, spec.image_size, spec.channels),
        "stem": "cifar" if small or recipe.stem == "cifar" else "imagenet",
        "classifier_activation": None,
        "dtype": precision(recipe),
    }
    arguments |= recipe.model_arguments(name, spec)
    return constructor(spec.num_classes, **(arguments | options))


def build_optimizer(
    recipe: Recipe, model: keras.Model, total_steps: int, warmup_steps: int = 0
) -> keras.optimizers.Optimizer:
    """Make a recipe's optimizer for a model.

    Args:
        recipe: The protocol.
        model: The model whose norms and biases may be left out of the decay.
        total_steps: Length of the training, in steps (for the cosine schedule).
        warmup_steps: Steps of linear warm-up at its start.

    Returns:
        A Keras optimizer.

    Example:

    ```python
    from keras_gradattn import training

    recipe = training.RECIPES["modern"]
    optimizer = training.build_optimizer(recipe, model, total_steps=1000)
    model.compile(optimizer, "sparse_categorical_crossentropy")
    ```
    """
    rate: Any = recipe.learning_rate
    if recipe.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(
            0.0 if warmup_steps else rate,
            decay_steps=max(1, total_steps - warmup_steps),
            warmup_target=rate if warmup_steps else None,
            warmup_steps=warmup_steps,
        )
    average: dict[str, Any] = {}
    if recipe.ema_momentum is not None:
        average = {"use_ema": True, "ema_momentum": recipe.ema_momentum}
    # PyTorch's epsilon; Keras' 1e-7 is another number in another place.
    if recipe.optimizer == "coupled_adam":
        optimizer = CoupledAdam(rate, weight_decay=recipe.weight_decay, **average)
    elif recipe.optimizer == "adamw":
        optimizer = keras.optimizers.AdamW(
            rate, weight_decay=recipe.weight_decay, epsilon=1e-8, **average
        )
    else:
        optimizer = keras.optimizers.Adam(rate, epsilon=1e-8, **average)
    if recipe.weight_decay and not recipe.decay_norms_and_biases:
        # By name as well: Keras' attention has biases of two dimensions.
        optimizer.exclude_from_weight_decay(
            var_list=[
                variable
                for variable in model.trainable_variables
                if len(variable.shape) < 2 or "bias" in variable.name
            ]
        )
    return optimizer


def build_augmentation(recipe: Recipe, spec: Any) -> tuple[datasets.Augmentation, ...]:
    """A recipe's training augmentation of a data set, mixing last.

    Args:
        recipe: The protocol, after `recipe.for_dataset(...)`.
        spec: The data set's `DatasetSpec`.

    Returns:
        Entries for `keras_gradattn.datasets.batches`.
    """
    entries = spec.augmentation if recipe.augmentation is None else recipe.augmentation
    entries = [
        datasets.Augmentation(**entry) if isinstance(entry, Mapping) else entry
        for entry in entries
    ]
    if recipe.random_augment:
        entries.append(datasets.Augmentation("random_augment"))
    # With both, an image has an even chance of each.
    share = 0.5 if recipe.mixup and recipe.cutmix else 1.0
    for name in ("mixup", "cutmix"):
        if alpha := getattr(recipe, name):
            entries.append(datasets.Augmentation(name, alpha=alpha, probability=share))
    return tuple(entries)


def balanced_class_weights(labels: np.ndarray, classes: int) -> dict[int, float]:
    """Weights by inverse frequency with mean 1 over the images.

    Args:
        labels: Class indices of the training images.
        classes: Number of classes; one without images has weight 0.

    Returns:
        Class index -> `images / (present classes * images of the class)`.

    Example:

    >>> balanced_class_weights(np.array([0, 0, 0, 1]), 2)
    {0: 0.6666666666666666, 1: 2.0}
    """
    counts = np.bincount(np.asarray(labels).ravel().astype(int), minlength=classes)
    present = int((counts > 0).sum())
    return {
        index: float(counts.sum() / (present * count)) if count else 0.0
        for index, count in enumerate(counts)
    }


def build_loss(recipe: Recipe, from_logits: bool = True) -> keras.losses.Loss:
    """The loss that a recipe trains with, of logits or of probabilities."""
    if recipe.mixes_labels:
        return keras.losses.CategoricalCrossentropy(
            from_logits=from_logits, label_smoothing=recipe.label_smoothing
        )
    return keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)


def precision(recipe: Recipe) -> str | None:
    """The dtype policy that a recipe means on this machine, `None` for Keras' own."""
    if recipe.mixed_precision != "auto":
        return recipe.mixed_precision
    # Processors without bfloat16 arithmetic emulate it, many times slower.
    return "mixed_bfloat16" if accelerator() else None
