"""What is examined before training: model, data, loss, and one batch run through."""

import dataclasses
import functools
import inspect
import os
from collections.abc import Iterator
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
# Elements that are taken at once from arrays of any size.
_CHUNK_ELEMENTS = 1_000_000


@dataclasses.dataclass
class Data:
    """Rows of a data set, in its order.

    Attributes:
        x: Inputs of the rows that are looked at, NumPy arrays in their structure.
        y: Their labels likewise, or `None`.
        all_x: Inputs of all rows that are at hand.
        all_y: Their labels.
        in_order: Whether rows are trained on in this order; `None` where unknown.
        total: Number of rows of the data set, `None` where it was not read to its end.
        batch_size: Samples of a batch, `None` where rows come in none.
        left_out: Batches of another shape than the first one's.
    """

    x: Any
    y: Any
    all_x: Any
    all_y: Any
    in_order: bool | None = None
    total: int | None = None
    batch_size: int | None = None
    left_out: int = 0

    @property
    def rows(self) -> int:
        """Number of rows that are looked at."""
        return len(keras.tree.flatten(self.x)[0])

    def not_seen(self) -> list[str]:
        """Which rows are not looked at, in sentences."""
        sentences = []
        if self.total is None:
            sentences.append(f"Data: the first {self.rows:,} rows were read.")
        elif self.total > self.rows:
            sentences.append(
                f"Scale and columns of the inputs: {self.rows:,} of {self.total:,} "
                "rows were looked at."
            )
        if self.left_out:
            sentences.append(
                "Data: batches of another shape than the first were left out, "
                f"{self.left_out} of them."
            )
        return sentences


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
        self.not_seen: list[str] = [] if data is None else data.not_seen()

    @functools.cached_property
    def inputs(self) -> list[np.ndarray]:
        """The inputs, flat; empty where there are no data."""
        if self.data is None:
            return []
        return [np.asarray(one) for one in keras.tree.flatten(self.data.x)]

    @functools.cached_property
    def all_inputs(self) -> list[np.ndarray]:
        """Inputs of all rows that are at hand, flat."""
        return [] if self.data is None else keras.tree.flatten(self.data.all_x)

    @functools.cached_property
    def all_labels(self) -> list[np.ndarray]:
        """Labels of all rows that are at hand, flat; empty where there are none."""
        if self.data is None or self.data.all_y is None:
            return []
        return in_output_order(self.model, self.data.all_y)

    @functools.cached_property
    def labels(self) -> list[np.ndarray]:
        """All labels; of large ones, as masks are, those of the rows looked at."""
        elements = sum(one.size for one in self.all_labels)
        if self.data is None or elements <= _MOST_ELEMENTS:
            return self.all_labels
        return in_output_order(self.model, self.data.y)

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
        ValueError: For a generator, which reading would empty, for lists of numbers,
            and for what is no data.
    """
    if isinstance(x, (str, bytes, os.PathLike)):
        raise ValueError(
            "Training data must be arrays or an iterable of batches, and no path. "
            f"Received: {x!r}"
        )
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
        or isinstance(one, (int, float, str, bytes))
        or hasattr(one, "iloc")
        for one in keras.tree.flatten(x)
    )


def _data_of_arrays(x: Any, y: Any, in_order: bool | None) -> Data:
    x = keras.tree.map_structure(_array, x)
    y = None if y is None else keras.tree.map_structure(_array, y)
    flat = keras.tree.flatten(x)
    labels = [] if y is None else keras.tree.flatten(y)
    if not all(one.ndim for one in (*flat, *labels)):
        raise ValueError(
            "A list is taken for several inputs or labels, so that numbers in it stand "
            "for whole arrays: give np.array(...). Received: a list of numbers or words"
        )
    if not flat or not len(flat[0]):
        raise ValueError("The data hold no sample. Received: empty data")
    found = Data(x, y, x, y, in_order, len(flat[0]))
    elements = sum(int(np.prod(one.shape[1:])) for one in flat)
    rows = min(found.rows, _MOST_ROWS, max(_MOST_ELEMENTS // max(elements, 1), 256))
    if rows < found.rows:
        # From all over the data, the last row among them.
        chosen = np.unique(np.linspace(0, found.rows - 1, rows).astype(int))
        found.x = keras.tree.map_structure(lambda a: a[chosen], x)
        if y is not None:
            found.y = keras.tree.map_structure(lambda a: a[chosen], y)
    return found


def chunks(array: np.ndarray) -> Iterator[np.ndarray]:
    """An array by stretches of rows, so that what is made of one stays small.

    Args:
        array: (rows, ...) of any size.
    """
    size = max(_CHUNK_ELEMENTS // max(int(np.prod(array.shape[1:])), 1), 1)
    for begin in range(0, len(array), size):
        yield array[begin : begin + size]


def _array(one: Any) -> np.ndarray:
    if keras.ops.is_tensor(one):
        return np.asarray(keras.ops.convert_to_numpy(one))
    return np.asarray(one)


def _data_of_batches(source: Any) -> Data:
    wanted = "Training data must be arrays or an iterable of batches."
    found: list[tuple[Any, Any]] = []
    shapes: list[Any] = []
    read = elements = 0
    with _torch_generator_kept():
        for batch in first_batches(source, _MOST_BATCHES, wanted):
            pair = _pair(batch)
            read += 1
            own = _shapes_of_rows(pair)
            shapes = shapes or own
            # Texts are padded to the longest of their batch.
            if own == shapes:
                found.append(pair)
                elements += sum(one.size for one in keras.tree.flatten(pair[0]))
            if elements > _MOST_ELEMENTS:
                break
    if not found:
        raise ValueError("The data hold no batch. Received: empty data")
    x = keras.tree.map_structure(lambda *a: np.concatenate(a), *(b[0] for b in found))
    y = None
    if found[0][1] is not None:
        y = keras.tree.map_structure(
            lambda *a: np.concatenate(a), *(b[1] for b in found)
        )
    ended = read < _MOST_BATCHES and elements <= _MOST_ELEMENTS and len(found) == read
    total = len(keras.tree.flatten(x)[0]) if ended else None
    size = len(keras.tree.flatten(found[0][0])[0])
    return Data(x, y, x, y, True, total, size, read - len(found))


def _shapes_of_rows(pair: tuple[Any, Any]) -> list[tuple[int, ...]]:
    return [one.shape[1:] for one in keras.tree.flatten(pair) if one is not None]


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
    return sys.modules["torch"].random.fork_rng(devices=[])
