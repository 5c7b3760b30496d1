"""An output of a model: its activation, its loss, and the labels it is to give."""

import dataclasses
import re
from typing import Any

import keras
import numpy as np

from keras_gradattn.diagnosis.layer_outputs import LayerOutput, activation_of

ONE_OF_SEVERAL = (
    "categorical_crossentropy",
    "sparse_categorical_crossentropy",
    "categorical_focal_crossentropy",
)
SPARSE = ("sparse_categorical_crossentropy",)
TWO_CLASSES = ("binary_crossentropy", "binary_focal_crossentropy")
OF_NUMBERS = (
    "mean_squared_error",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_logarithmic_error",
    "huber",
    "log_cosh",
)
_SHORT = {
    "mse": "mean_squared_error",
    "mae": "mean_absolute_error",
    "mape": "mean_absolute_percentage_error",
    "msle": "mean_squared_logarithmic_error",
    "logcosh": "log_cosh",
    "bce": "binary_crossentropy",
}


@dataclasses.dataclass(frozen=True)
class Head:
    """One output.

    Attributes:
        name: The layer that gives it, or its place.
        output: (samples, ...) its values on the probed batch, in inference mode.
        labels: All labels that were looked at, or `None`.
        loss: Name of the loss, as in `keras.losses`; `""` for one of the user's.
        from_logits: Whether the loss takes logits.
        activation: `"linear"`, `"softmax"`, `"sigmoid"`, ... by the layer, or by the
            values where no layer gives them.
    """

    name: str
    output: np.ndarray
    labels: np.ndarray | None
    loss: str
    from_logits: bool
    activation: str

    @property
    def units(self) -> int:
        """Size of the last axis."""
        return int(self.output.shape[-1]) if self.output.ndim > 1 else 1

    @property
    def classes(self) -> np.ndarray | None:
        """Labels as class numbers, `None` where they are not classes."""
        if self.labels is None or not self.labels.size:
            return None
        if self.loss in SPARSE:
            return self.labels.reshape(-1)
        if self.loss in ONE_OF_SEVERAL and self.labels.shape[-1:] == (self.units,):
            return self.labels.reshape(-1, self.units).argmax(-1)
        if self.loss in TWO_CLASSES and self.units == 1:
            return self.labels.reshape(-1)
        return None


def heads_of(
    model: keras.Model,
    outputs: list[np.ndarray],
    layers: list[LayerOutput],
    labels: list[np.ndarray],
) -> tuple[list[Head], str]:
    """The outputs of a compiled model.

    Args:
        model: The model.
        outputs: Values of the outputs, flat.
        layers: Layers in the order of computation.
        labels: Labels, flat; empty where there are none.

    Returns:
        The heads, and why there are none (`""` otherwise).
    """
    losses = in_output_order(model, getattr(model, "loss", None))
    if len(losses) == 1:
        losses = losses * len(outputs)
    if len(losses) != len(outputs) or (labels and len(labels) != len(outputs)):
        return [], (
            "Loss and output were not compared: their numbers differ "
            f"({len(losses)} losses, {len(outputs)} outputs, {len(labels)} labels)."
        )
    # Dropout hands on the tensor of the layer before it: the first one made it.
    ends = {one.gives: one.layer for one in reversed(layers)}
    heads = []
    for number, (output, loss) in enumerate(zip(outputs, losses, strict=True)):
        name, from_logits = loss_of(loss)
        last = ends.get(number)
        activation = activation_by_values(output)
        if last is not None and _gives_activation(last):
            activation = activation_of(last)
        heads.append(
            Head(
                name=last.name if last is not None else f"output {number}",
                output=output,
                labels=labels[number] if labels else None,
                loss=name,
                from_logits=from_logits,
                activation=activation,
            )
        )
    return heads, ""


def in_output_order(model: keras.Model, structure: Any) -> list[Any]:
    """Losses or labels, flat, in the order of the model's outputs.

    `keras.tree.flatten` sorts the keys of a dictionary. Outputs in a list keep the
    order that the model gives them, and `fit` finds their losses and labels by name.

    Args:
        model: A model; one made from a graph of layers knows its outputs' names.
        structure: What there is for each output.
    """
    names = getattr(model, "output_names", None) or ()
    by_name = isinstance(structure, dict) and set(names) == set(structure)
    if not by_name or isinstance(model.output, dict):
        return list(keras.tree.flatten(structure))
    return [one for name in names for one in keras.tree.flatten(structure[name])]


def loss_of(loss: Any) -> tuple[str, bool]:
    """Name as in `keras.losses` and whether it takes logits; `""` for other ones."""
    try:
        loss = keras.losses.get(loss) if isinstance(loss, str) else loss
    except ValueError:
        return "", False
    if loss is None:
        return "", False
    name = getattr(loss, "__name__", type(loss).__name__)
    module = getattr(loss, "__module__", None) or type(loss).__module__
    if not str(module).startswith("keras."):
        return "", False
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    logits = False
    if isinstance(loss, keras.losses.Loss):
        try:
            logits = bool(loss.get_config().get("from_logits", False))
        except (NotImplementedError, TypeError, AttributeError):
            return "", False
    return _SHORT.get(name, name), logits


def _gives_activation(layer: Any) -> bool:
    """Whether a layer's own activation is what makes the output's range."""
    return activation_of(layer) not in ("linear", "recurrent") or (
        hasattr(layer, "activation") and hasattr(layer, "kernel")
    )


def activation_by_values(output: np.ndarray) -> str:
    """`"softmax"` or `"sigmoid"` where the values look like it, else `"linear"`."""
    values = output.astype("float64")
    if not values.size or not np.all(np.isfinite(values)):
        return "unknown"
    inside = np.all(values >= 0) and np.all(values <= 1)
    several = values.ndim > 1 and values.shape[-1] > 1
    if inside and several and np.allclose(values.sum(-1), 1, atol=1e-2):
        return "softmax"
    if inside:
        # A few small numbers may lie there by chance.
        return "sigmoid" if values.size >= 16 else "unknown"
    return "linear"
