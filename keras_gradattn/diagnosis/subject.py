"""What is examined before training: model, data, loss, and one batch run through."""

import dataclasses
import functools
import inspect
from typing import Any

import keras
import numpy as np

from keras_gradattn.diagnosis.head import Head, heads_of, in_output_order
from keras_gradattn.diagnosis.layer_outputs import LayerOutput
from keras_gradattn.diagnosis.probe import Probe
from keras_gradattn.gradients._batches import first_batches

# Rows that are looked at, so that large data sets cost no more than a few steps.
_MOST_ROWS = 20_000
_MOST_ELEMENTS = 20_000_000
# Elements of the batch that is run through the network, and its samples.
_PROBE_ELEMENTS = 500_000
_PROBE_SAMPLES = (16, 128)
_MOST_BATCHES = 50


@dataclasses.dataclass
class Data:
    """Rows of a data set, in its order.

    Attributes:
        x: Inputs, NumPy arrays in their structure.
        y: Labels likewise, or `None`.
        in_order: Whether rows are trained on in this order; `None` where unknown.
        total: Number of rows of the data set, as far as known.
    """

    x: Any
    y: Any
    in_order: bool | None = None
    total: int = 0


class Subject:
    """A model and its data, and what is found out about them once.

    Args:
        model: A compiled, built Keras model.
        data: Training data, or `None`.
        validation: Validation data, or `None`.
        batch_size: Samples a step.
        rate_is_set_later: Whether a callback sets the learning rate during training.
    """

    def __init__(
        self,
        model: keras.Model,
        data: Data | None,
        validation: Data | None = None,
        batch_size: int = 32,
        rate_is_set_later: bool = False,
    ) -> None:
        self.model = model
        self.data = data
        self.validation = validation
        self.batch_size = batch_size
        self.rate_is_set_later = rate_is_set_later
        self.not_seen: list[str] = []

    @functools.cached_property
    def inputs(self) -> list[np.ndarray]:
        """The inputs, flat; empty where there are no data."""
        if self.data is None:
            return []
        return [np.asarray(one) for one in keras.tree.flatten(self.data.x)]

    @functools.cached_property
    def labels(self) -> list[np.ndarray]:
        """The labels, flat; empty where there are none."""
        if self.data is None or self.data.y is None:
            return []
        return [np.asarray(one) for one in in_output_order(self.model, self.data.y)]

    @functools.cached_property
    def probe(self) -> Probe | None:
        """A batch to run through the network, `None` where inputs are no numbers."""
        if self.data is None:
            return None
        if not all(one.dtype.kind in "biuf" for one in self.inputs + self.labels):
            self.not_seen.append("No batch was run: inputs or labels are no numbers.")
            return None
        samples = probe_samples(self.inputs)
        # From all over the data, so that sorted classes are all among them.
        rows = np.unique(np.linspace(0, len(self.inputs[0]) - 1, samples).astype(int))
        x = keras.tree.map_structure(lambda a: np.asarray(a)[rows], self.data.x)
        y = self.data.y
        if y is not None:
            y = keras.tree.map_structure(lambda a: np.asarray(a)[rows], y)
        return Probe(self.model, x, y)

    @functools.cached_property
    def inference(self) -> tuple[list[np.ndarray], list[LayerOutput], float] | None:
        """Outputs, layers and penalties in inference mode, `None` where it failed."""
        if self.probe is None:
            return None
        outputs, _, layers, penalty = self.probe.forward()
        return outputs, layers, penalty

    @functools.cached_property
    def heads(self) -> list[Head]:
        """Outputs with their labels, losses and activations."""
        if self.inference is None:
            return []
        outputs, layers, _ = self.inference
        heads, problem = heads_of(self.model, outputs, layers, self.labels)
        if problem:
            self.not_seen.append(problem)
        return heads

    @functools.cached_property
    def gradients(self) -> list[np.ndarray | None] | None:
        """Gradient of each trainable variable on the batch, `None` without a loss."""
        if self.probe is None or not self.heads or not self.labels:
            return None
        return self.probe.gradients()


def probe_samples(inputs: list[np.ndarray]) -> int:
    """How many samples are run through the network."""
    elements = sum(int(np.prod(one.shape[1:])) for one in inputs)
    low, high = _PROBE_SAMPLES
    wanted = int(np.clip(_PROBE_ELEMENTS // max(elements, 1), low, high))
    return min(wanted, len(inputs[0]))


def data_of(x: Any, y: Any = None, *, in_order: bool | None = None) -> Data:
    """Rows of arrays or of a data set of batches.

    Args:
        x: Arrays, or a data set that can be read more than once.
        y: Labels, where `x` are arrays.
        in_order: Whether arrays are trained on in their order.

    Raises:
        ValueError: For a generator, which reading would empty, and for what is no data.
    """
    if is_arrays(x):
        return _data_of_arrays(x, y, in_order)
    if inspect.isgenerator(x) or (hasattr(x, "__next__") and hasattr(x, "__iter__")):
        raise ValueError(
            "A generator gives each batch once, so that looking at it would take the "
            "batch from training. Give arrays or a data set. "
            f"Received: {type(x).__name__}"
        )
    return _data_of_batches(x)


def is_arrays(x: Any) -> bool:
    """Whether these are arrays, and no data set that gives batches."""
    return all(
        (hasattr(one, "shape") and hasattr(one, "dtype"))
        or isinstance(one, (int, float))
        or hasattr(one, "iloc")
        for one in keras.tree.flatten(x)
    )


def _data_of_arrays(x: Any, y: Any, in_order: bool | None) -> Data:
    x = keras.tree.map_structure(_array, x)
    y = None if y is None else keras.tree.map_structure(_array, y)
    flat = keras.tree.flatten(x)
    if not flat or not flat[0].ndim or not len(flat[0]):
        raise ValueError("The data hold no sample. Received: empty data")
    total = len(flat[0])
    elements = sum(int(np.prod(one.shape[1:])) for one in flat)
    rows = min(total, _MOST_ROWS, max(_MOST_ELEMENTS // max(elements, 1), 256))
    if rows < total:
        # Whole stretches keep the order visible, and the last rows are among them.
        chosen = np.unique(np.linspace(0, total - 1, rows).astype(int))
        x = keras.tree.map_structure(lambda a: a[chosen], x)
        y = None if y is None else keras.tree.map_structure(lambda a: a[chosen], y)
    return Data(x, y, in_order, total)


def _array(one: Any) -> np.ndarray:
    if keras.ops.is_tensor(one):
        return np.asarray(keras.ops.convert_to_numpy(one))
    return np.asarray(one)


def _data_of_batches(source: Any) -> Data:
    wanted = "Training data must be arrays or an iterable of batches."
    with _torch_generator_kept():
        found = [_pair(b) for b in first_batches(source, _MOST_BATCHES, wanted)]
    if not found:
        raise ValueError("The data hold no batch. Received: empty data")
    x = keras.tree.map_structure(lambda *a: np.concatenate(a), *(b[0] for b in found))
    y = None
    if found[0][1] is not None:
        y = keras.tree.map_structure(
            lambda *a: np.concatenate(a), *(b[1] for b in found)
        )
    rows = len(keras.tree.flatten(x)[0])
    return Data(x, y, True, rows)


def _pair(batch: Any) -> tuple[Any, Any]:
    x, y = batch, None
    if isinstance(batch, (tuple, list)):
        x, y = (*batch, None)[:2]
    x = keras.tree.map_structure(_array, x)
    return x, None if y is None else keras.tree.map_structure(_array, y)


def _torch_generator_kept() -> Any:
    """A `DataLoader` that shuffles draws from the process's generator."""
    import contextlib
    import sys

    if "torch" not in sys.modules:
        return contextlib.nullcontext()
    return sys.modules["torch"].random.fork_rng()
