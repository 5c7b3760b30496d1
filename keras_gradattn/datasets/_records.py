"""Three ways of reading stored images: arrays, TFRecord, ArrayRecord."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

_CHUNK = 256
# Images of any size may be photographs of many megabytes.
_PHOTOGRAPHS = 8

# Some images, as one array or (where sizes differ) one by one, and their labels.
Chunk = tuple[np.ndarray | Sequence[np.ndarray], np.ndarray]


class ArrayRecords:
    """Images that are in memory already."""

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        class_names: tuple[str, ...] | None = None,
    ):
        self.images = images
        self.labels = labels
        self.class_names = class_names

    def __len__(self) -> int:
        return len(self.images)

    def read(self, rows: np.ndarray) -> Iterator[Chunk]:
        for start in range(0, len(rows), _CHUNK):
            chunk = rows[start : start + _CHUNK]
            yield self.images[chunk], self.labels[chunk]


class _PreparedRecords:
    """One split of a data set that TFDS has prepared.

    Args:
        builder: Its TFDS builder.
        split: Name of the split.
        image: Feature that is the image.
        label: Feature that is the label.
    """

    def __init__(
        self, builder: Any, split: str, image: str = "image", label: str = "label"
    ):
        self._builder = builder
        self._split = split
        self._image = image
        self._label = label

    @property
    def class_names(self) -> tuple[str, ...] | None:
        names = getattr(self._builder.info.features[self._label], "names", None)
        # Without names TFDS numbers the classes.
        return None if not names or names[0] == "0" else tuple(names)


class TensorFlowRecords(_PreparedRecords):
    """Read in order through tf.data."""

    def __init__(
        self, builder: Any, split: str, image: str = "image", label: str = "label"
    ):
        super().__init__(builder, split, image, label)
        self._length: int | None = None

    def _undecoded(self) -> Any:
        import tensorflow_datasets as tfds

        return self._dataset(**{self._image: tfds.decode.SkipDecoding()})

    def _dataset(self, **decoders: Any) -> Any:
        import tensorflow_datasets as tfds

        # One file after the other, so that rows mean the same in every format.
        return self._builder.as_dataset(
            split=self._split,
            shuffle_files=False,
            decoders=decoders or None,
            read_config=tfds.ReadConfig(
                interleave_cycle_length=1, try_autocache=False, add_tfds_id=False
            ),
        )

    def __len__(self) -> int:
        if self._length is None:
            dataset = self._undecoded()
            self._length = int(dataset.cardinality())
            if self._length < 0:
                count = dataset.reduce(np.int64(0), lambda count, _: count + 1)
                self._length = int(count)
        return self._length

    def groups(self, column: str) -> np.ndarray:
        dataset = self._undecoded()
        column_values = dataset.map(lambda example: example[column])
        return np.array(list(column_values.as_numpy_iterator()))

    def read(self, rows: np.ndarray) -> Iterator[Chunk]:
        import tensorflow as tf

        wanted = np.zeros(len(self), bool)
        wanted[rows] = True
        image_feature = self._builder.info.features[self._image]
        wanted_tensor = tf.constant(wanted)
        dataset = self._undecoded().enumerate()
        dataset = dataset.filter(lambda row, _: wanted_tensor[row])
        dataset = dataset.map(
            lambda _, example: (
                image_feature.decode_example(example[self._image]),
                example[self._label],
            ),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        if None not in image_feature.shape:
            yield from dataset.batch(_CHUNK).prefetch(2).as_numpy_iterator()
            return
        for image, label in dataset.prefetch(2).as_numpy_iterator():
            yield [image], np.asarray([label])


class RandomAccessRecords(_PreparedRecords):
    """ArrayRecord, read by position and without TensorFlow."""

    def __init__(
        self, builder: Any, split: str, image: str = "image", label: str = "label"
    ):
        super().__init__(builder, split, image, label)
        self._source = builder.as_data_source(split=split)

    def __len__(self) -> int:
        return len(self._source)

    def groups(self, column: str) -> np.ndarray:
        import tensorflow_datasets as tfds

        source = self._builder.as_data_source(
            split=self._split, decoders={self._image: tfds.decode.SkipDecoding()}
        )
        return np.array([source[row][column] for row in range(len(source))])

    def read(self, rows: np.ndarray) -> Iterator[Chunk]:
        any_size = None in self._builder.info.features[self._image].shape
        step = _PHOTOGRAPHS if any_size else _CHUNK
        for start in range(0, len(rows), step):
            chunk = rows[start : start + step].tolist()
            examples = self._source.__getitems__(chunk)
            images = [example[self._image] for example in examples]
            labels = np.asarray([example[self._label] for example in examples])
            yield images if any_size else np.stack(images), labels
