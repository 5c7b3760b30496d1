"""What can be recorded, and what to do where something cannot."""

from typing import Any

import keras

from keras_gradattn.gradients._recorded_step import (
    gradient_variables,
    replicated_strategy,
    tap_variables,
)


def optimizers_of(model: keras.Model) -> dict[str, object]:
    """Optimizers among the attributes of a model, by name."""
    found = {}
    for name in dir(model):
        if name.startswith("_") or isinstance(
            getattr(type(model), name, None), property
        ):
            continue
        value = getattr(model, name, None)
        if isinstance(value, keras.optimizers.Optimizer):
            found[name] = value
    return found


def chosen_optimizer(model: keras.Model, wanted: Any) -> Any:
    """The optimizer that a recorder is about.

    Args:
        model: A compiled model.
        wanted: `None` for `model.optimizer`, the name of an attribute, or an optimizer.

    Raises:
        ValueError: If there is none, or not of that name.
    """
    if isinstance(wanted, str):
        optimizer = getattr(model, wanted, None)
    elif wanted is not None:
        optimizer = wanted
    else:
        optimizer = getattr(model, "optimizer", None)
    if optimizer is not None and hasattr(optimizer, "apply"):
        return optimizer
    others = sorted(optimizers_of(model))
    raise ValueError(
        "`GradientNorms` reads what `model.optimizer` is given, and this model has no "
        "Keras optimizer there: compile it with one, name another one of its "
        "attributes (`GradientNorms(optimizer='generator_optimizer')`), or record a "
        f"loop of your own with `GradientNorms.watching`. "
        f"Received: optimizer={wanted!r}, optimizers of the model: {others}, "
        f"model.optimizer={getattr(model, 'optimizer', None)!r}"
    )


def refuse_unsupported(model: keras.Model, optimizer: Any) -> None:
    """Raise where recorded numbers could not be trusted.

    Raises:
        ValueError: With the reason and what to do instead.
    """
    own = optimizer is getattr(model, "optimizer", None)
    if own and model.built and not gradient_variables(model):
        raise ValueError(
            "`GradientNorms` needs trainable weights, and the model has none. "
            f"Received: model={model.name!r}"
        )
    if keras.backend.backend() == "tensorflow":
        _refuse_strategy(model)
    if keras.backend.backend() == "jax" and not own:
        raise ValueError(
            "On JAX only `model.optimizer` can be recorded in `fit`: what other "
            "optimizers are given does not leave the compiled step. Call "
            "`watch.step(gradients)` inside the step, with `GradientNorms.watching`. "
            f"Received: optimizer={type(optimizer).__name__}"
        )


def _refuse_strategy(model: keras.Model) -> None:
    import tensorflow as tf

    strategy = model.distribute_strategy
    if isinstance(strategy, tf.distribute.ParameterServerStrategy):
        raise ValueError(
            "`GradientNorms` cannot record under `ParameterServerStrategy`: its "
            "workers do not wait for each other, so that no step has one gradient. "
            f"Received: strategy={type(strategy).__name__}"
        )
    if replicated_strategy(model) is None:
        return
    if tap_variables(model):
        raise ValueError(
            "Layer-output gradients cannot be recorded under a strategy with several "
            "replicas: each sees its own part of the batch, and norms of parts do not "
            "add up to the norm of the batch. Train the tapped model on one device, "
            "or measure it afterwards with `analyze_gradient_flow`. "
            f"Received: strategy={type(strategy).__name__}"
        )
    if hasattr(model.optimizer, "inner_optimizer"):
        raise ValueError(
            "`GradientNorms` does not support loss scaling together with several "
            "replicas: whether a step is skipped is decided outside of the replicas. "
            "Use `mixed_bfloat16`, or one device. "
            f"Received: optimizer={type(model.optimizer).__name__}"
        )
