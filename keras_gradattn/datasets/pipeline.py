"""Batches for `model.fit`: shuffled, augmented, normalised."""

from __future__ import annotations

import concurrent.futures
import os
import threading
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np

from keras_gradattn.datasets.augmentation import Augmenter
from keras_gradattn.datasets.images import Array
from keras_gradattn.datasets.loading import check_engine
from keras_gradattn.datasets.parts import Split
from keras_gradattn.datasets.pixels import normalize, replace_levels
from keras_gradattn.datasets.specs import Augmentation, DatasetSpec

# Streams of random numbers for one seed: order of images, augmentation.
_ORDER, _AUGMENTATION = 0, 1
_BLOCK = 2**17


def batches(
    split: Split,
    spec: DatasetSpec,
    *,
    batch_size: int | None = None,
    training: bool,
    seed: int = 0,
    engine: str = "auto",
    augmentation: Sequence[Augmentation] | None = None,
    level_table: np.ndarray | None = None,
    initial_epoch: int = 0,
    one_hot: bool | None = None,
    drop_remainder: bool = False,
    replicas: int = 1,
    replica: int | range | None = None,
    workers: int | None = None,
) -> Any:
    """Batches of one part of a data set, for `fit`, `evaluate` and `predict`.

    A batch depends on the seed, the epoch and its number in the epoch, and on nothing
    else. It is the same on every backend and with either engine. Each full pass moves
    on to the next epoch. `set_epoch` of the returned object says which epoch the next
    pass is.

    Give `shuffle=False` to `fit`. The batches are shuffled already, and Keras would
    reorder those of a `PyDataset` once more, by Python's global random state.

    Args:
        split: Part of a data set, such as `load("digits").train`.
        spec: Description of the data set, such as `load("digits").spec`.
        batch_size: Images in a batch. Default: that of `spec`.
        training: Whether to shuffle and augment.
        seed: Seed of order and augmentation. Defaults to 0.
        engine: `"tf.data"` gives a `tf.data.Dataset`. `"pydataset"` gives a
            `keras.utils.PyDataset`, which needs no TensorFlow. `"auto"` (the default)
            takes tf.data only on the TensorFlow backend. Elsewhere it would take
            seconds and hundreds of megabytes to import TensorFlow, for the same
            batches. For images that stay on the accelerator see `DeviceFeed`.
        augmentation: A list of `Augmentation`, in place of the data set's own. An
            empty one switches augmentation off. Used in training only.
        level_table: uint8 array (256, channels): what each 8-bit level of a training
            image is replaced by before the augmentation. Default: nothing is replaced.
        initial_epoch: Epoch of the first pass, for a resumed run. Defaults to 0.
        one_hot: Whether labels are one-hot float32 instead of integers. Default: only
            if the augmentation mixes labels.
        drop_remainder: Whether to leave out a last, smaller batch. Defaults to `False`.
        replicas: Number of devices that share each batch evenly. A last, smaller batch
            is cut down to a multiple of it. Defaults to 1.
        replica: Give only the share of this device, counted from 0, or of these.
            Default: whole batches.
        workers: Threads that prepare batches ahead; 0 prepares on demand.
            Default: half of the processor's cores, eight at most.

    Returns:
        A data set of batches: float32 images (batch, height, width, channels) and
        labels. Its `spec` is the description.

    Raises:
        ValueError: If an argument is unknown or the part has no batch.

    Example:

    >>> digits = load("digits")
    >>> data = batches(digits.train, digits.spec, training=True, engine="pydataset")
    >>> images, labels = data[0]
    >>> images.shape, labels.shape
    ((64, 8, 8, 1), (64,))
    """
    check_engine(engine)
    source = BatchSource(
        split,
        spec,
        batch_size=spec.batch_size if batch_size is None else batch_size,
        training=training,
        seed=seed,
        augmentation=augmentation,
        level_table=level_table,
        one_hot=one_hot,
        drop_remainder=drop_remainder,
        replicas=replicas,
        replica=replica,
    )
    epochs = Epochs(initial_epoch, source.length)
    if workers is None:
        workers = min(8, max(1, (os.cpu_count() or 1) // 2))
    if engine == "auto":
        tensorflow = keras.backend.backend() == "tensorflow"
        engine = "tf.data" if tensorflow else "pydataset"
    if engine == "tf.data":
        data = _tf_dataset(source, epochs, workers)
    else:
        data = PyBatches(source, epochs, workers)
    data.spec = spec
    return data


Batch = tuple[Any, Array]


class BatchSource:
    """Makes any batch of any epoch, in any order."""

    def __init__(
        self,
        split: Split,
        spec: DatasetSpec,
        *,
        batch_size: int,
        training: bool,
        seed: int,
        augmentation: Iterable[Augmentation] | None,
        level_table: np.ndarray | None,
        one_hot: bool | None,
        drop_remainder: bool,
        replicas: int,
        replica: int | range | None,
    ):
        if batch_size < 1:
            raise ValueError(
                f"`batch_size` should be positive. Received: batch_size={batch_size}"
            )
        if batch_size % replicas:
            raise ValueError(
                f"`batch_size` should be a multiple of replicas={replicas}. "
                f"Received: batch_size={batch_size}"
            )
        _check_level_table(level_table, split)
        entries = spec.augmentation if augmentation is None else tuple(augmentation)
        self._augmenter = Augmenter(entries if training else ())
        self._split = split
        self._spec = spec
        self._training = training
        self._seed = seed
        self._level_table = level_table if training else None
        self._one_hot = Augmenter(entries).mixes_labels if one_hot is None else one_hot
        if self._augmenter.mixes_labels and not self._one_hot:
            raise ValueError(
                "An augmentation that mixes labels makes one-hot labels. "
                f"Received: one_hot={one_hot}"
            )
        self._replica = replica
        self._replicas = replicas
        self.batch_size = batch_size
        self.length = len(split) // batch_size
        if not drop_remainder and len(split) % batch_size >= replicas:
            self.length += 1
        if self.length == 0:
            raise ValueError(
                f"The {split.name} part has no batch of batch_size={batch_size}. "
                f"Received: {len(split)} images"
            )
        self._order: tuple[int, np.ndarray] | None = None

    @property
    def label_shape(self) -> tuple[int, ...]:
        """Shape of one label."""
        if self._one_hot or self._spec.multi_label:
            return (self._spec.num_classes,)
        return ()

    @property
    def label_dtype(self) -> str:
        """Type of the labels."""
        return "float32" if self.label_shape else "int32"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape of one image."""
        _, height, width, _ = self._split.images.shape
        return (height, width, self._spec.channels)

    def batch(self, epoch: int, index: int) -> Batch:
        """Batch `index` of `epoch`."""
        rows, numbers = self._choices(epoch, index)
        if self._augmenter.mixes_labels:
            images = self._split.images[rows]
            labels = self._labels(self._split.labels[rows])
            images, labels = self._pixels(images, labels, numbers)
            # Images mix with their neighbours, across replicas too.
            share = self._share(len(rows))
            return images[share], labels[share]
        share = self._share(len(rows))
        rows, numbers = rows[share], numbers[share]
        images = self._split.images[rows]
        labels = self._labels(self._split.labels[rows])
        result = np.empty((len(rows), *self.image_shape), "float32")
        # A few images at a time stay in the processor's cache: twice as fast.
        step = max(1, _BLOCK // result[0].size)
        for start in range(0, len(rows), step):
            block = slice(start, start + step)
            result[block], _ = self._pixels(images[block], None, numbers[block])
        return result, labels

    def _choices(self, epoch: int, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows of a batch, and the random numbers of each."""
        first = index * self.batch_size
        rows = self._rows(epoch)[first : first + self.batch_size]
        rows = rows[: len(rows) // self._replicas * self._replicas]
        random = np.random.default_rng([self._seed, epoch, _AUGMENTATION, index])
        return rows, random.random((len(rows), self._augmenter.numbers), "float32")

    def _share(self, count: int) -> slice:
        if self._replica is None:
            return slice(None)
        size = count // self._replicas
        mine = self._replica
        if isinstance(mine, int):
            mine = range(mine, mine + 1)
        return slice(mine.start * size, mine.stop * size)

    def _pixels(
        self, images: Array, labels: Array | None, numbers: Array
    ) -> tuple[Array, Any]:
        mean, std = self._spec.mean, self._spec.std
        if self._level_table is not None:
            images = replace_levels(images, self._level_table)
        images, labels = self._augmenter(images, labels, numbers)
        return normalize(images, mean, std), labels

    def _rows(self, epoch: int) -> np.ndarray:
        if not self._training:
            return np.arange(len(self._split))
        order = self._order
        if order is None or order[0] != epoch:
            random = np.random.default_rng([self._seed, epoch, _ORDER])
            order = (epoch, random.permutation(len(self._split)))
            self._order = order
        return order[1]

    def _labels(self, labels: np.ndarray) -> np.ndarray:
        if self._one_hot and labels.ndim == 1:
            # Not a row of a unit matrix, which is huge where classes are many.
            rows = np.zeros((len(labels), self._spec.num_classes), "float32")
            rows[np.arange(len(labels)), labels] = 1
            return rows
        return labels.astype(self.label_dtype)


def _check_level_table(level_table: np.ndarray | None, split: Split) -> None:
    if level_table is None:
        return
    wanted = (256, split.images.shape[-1])
    if level_table.shape != wanted or level_table.dtype != np.uint8:
        raise ValueError(
            f"`level_table` should be a uint8 array of shape {wanted}. "
            f"Received: {level_table.dtype} with shape {level_table.shape}"
        )


class Epochs:
    """Which epoch the next pass is: one further after each full pass."""

    def __init__(self, initial_epoch: int, length: int):
        self.epoch = initial_epoch
        self._length = length
        self._handed_out: set[int] = set()

    def set(self, epoch: int) -> None:
        """The next pass is `epoch`."""
        self.epoch = epoch
        self._handed_out.clear()

    def begin(self) -> int:
        """A pass begins; one that was left half-way is begun again."""
        if len(self._handed_out) == self._length:
            self.epoch += 1
        self._handed_out.clear()
        return self.epoch

    def hand_out(self, index: int) -> int:
        """The epoch of a batch that is handed out now."""
        if len(self._handed_out) == self._length or index in self._handed_out:
            self.begin()
        self._handed_out.add(index)
        return self.epoch


class PyBatches(keras.utils.PyDataset):
    """Batches without TensorFlow, prepared ahead by threads."""

    def __init__(self, source: BatchSource, epochs: Epochs, workers: int):
        # Keras' own workers carry batches of one pass over into the next.
        super().__init__(workers=1)
        self._source = source
        self._epochs = epochs
        self._threads = workers
        self._executor: concurrent.futures.Executor | None = None
        self._ahead: dict[tuple[int, int], concurrent.futures.Future[Batch]] = {}
        self._last = -1
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._source.length

    def set_epoch(self, epoch: int) -> None:
        """Says which epoch the next pass is."""
        with self._lock:
            self._epochs.set(epoch)

    def on_epoch_begin(self) -> None:
        with self._lock:
            self._epochs.begin()

    def __getitem__(self, index: int) -> Batch:
        if not 0 <= index < len(self):
            raise IndexError(f"There are {len(self)} batches. Received: {index}")
        with self._lock:
            epoch = self._epochs.hand_out(index)
            future = self._ahead.pop((epoch, index), None)
            # Whoever asks in another order would leave what is ahead unused.
            if self._threads and index in (0, self._last + 1):
                self._prepare_ahead(epoch, index)
            self._last = index
        if future is None:
            return self._source.batch(epoch, index)
        return future.result()

    def _prepare_ahead(self, epoch: int, index: int) -> None:
        if self._executor is None:
            self._executor = concurrent.futures.ThreadPoolExecutor(self._threads)
        last = min(index + 2 * self._threads, len(self) - 1)
        wanted = [(epoch, ahead) for ahead in range(index + 1, last + 1)]
        for stale in set(self._ahead) - set(wanted):
            self._ahead.pop(stale).cancel()
        for key in wanted:
            if key not in self._ahead:
                self._ahead[key] = self._executor.submit(self._source.batch, *key)


def _tf_dataset(source: BatchSource, epochs: Epochs, workers: int) -> Any:
    import tensorflow as tf

    _warn_of_claimed_accelerators(tf.config.get_visible_devices("GPU"))

    def make_batch(epoch: Any, index: Any) -> tuple[Any, Any, Any]:
        images, labels = tf.numpy_function(
            lambda epoch, index: source.batch(int(epoch), int(index)),
            (epoch, index),
            (tf.float32, tf.as_dtype(source.label_dtype)),
        )
        images.set_shape((None, *source.image_shape))
        labels.set_shape((None, *source.label_shape))
        return index, images, labels

    def one_pass(_: Any) -> Any:
        epoch = tf.numpy_function(
            lambda: np.int64(epochs.begin()), (), tf.int64, stateful=True
        )
        indices = tf.data.Dataset.range(source.length)
        return indices.map(
            lambda index: make_batch(epoch, index),
            num_parallel_calls=workers or None,
            deterministic=True,
        )

    def hand_out(index: Any, images: Any, labels: Any) -> tuple[Any, Any]:
        tf.numpy_function(
            lambda index: np.int64(epochs.hand_out(int(index))),
            (index,),
            tf.int64,
            stateful=True,
        )
        return images, labels

    dataset = tf.data.Dataset.range(1).flat_map(one_pass)
    if workers:
        dataset = dataset.prefetch(tf.data.AUTOTUNE)
    # After the prefetching, so that a pass counts when it has been handed out.
    dataset = dataset.map(hand_out)
    options = tf.data.Options()
    options.experimental_optimization.inject_prefetch = False
    dataset = dataset.with_options(options)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(source.length))
    dataset.set_epoch = epochs.set
    return dataset


def _warn_of_claimed_accelerators(seen: Sequence[Any]) -> None:
    """Say that TensorFlow, which only prepares batches here, takes a GPU's memory."""
    if seen and keras.backend.backend() != "tensorflow":
        warnings.warn(
            "TensorFlow prepares the batches and claims the memory of every GPU that "
            "it sees. Call `keras_gradattn.config.keep_tensorflow_off_accelerators()` "
            "right after the imports, or take the engine 'pydataset'. "
            f"Received: engine='tf.data' with {len(seen)} GPUs in view",
            RuntimeWarning,
            stacklevel=4,
        )
