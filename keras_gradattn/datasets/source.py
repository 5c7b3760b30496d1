"""Images and labels from any input pipeline: tf.data, PyDataset, PyTorch, Grain."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from keras_gradattn.datasets.arrays import to_numpy
from keras_gradattn.datasets.assembly import Collection, Division, assemble
from keras_gradattn.datasets.file_check import check_reading
from keras_gradattn.datasets.gathering import gather
from keras_gradattn.datasets.images import Array, ChosenRows
from keras_gradattn.datasets.labels import encode_labels
from keras_gradattn.datasets.levels import Levels
from keras_gradattn.datasets.parts import DatasetSplits
from keras_gradattn.datasets.specs import Augmentation
from keras_gradattn.datasets.splits import NAMES

_IMAGE_KEYS = ("image", "images", "img", "pixel_values", "x")
_LABEL_KEYS = ("label", "labels", "target", "targets", "y")


def from_source(
    source: Any,
    *,
    validation: Any = 0.15,
    test: Any = 0.15,
    class_names: Sequence[str] | None = None,
    size: int | None = None,
    resize: str = "stretch",
    levels: Levels | None = None,
    seed: int = 42,
    on_rare: str = "stop",
    limit: int | None = None,
    name: str = "source",
    batch_size: int | None = None,
    augmentation: Sequence[Augmentation] | None = None,
) -> DatasetSplits:
    """Reads an input pipeline once and makes a data set of what it gives.

    A `tf.data.Dataset`, a `keras.utils.PyDataset`, a PyTorch `DataLoader` or `Dataset`,
    a Grain `MapDataset`, `IterDataset` or `DataLoader`, or anything that can be
    iterated. It should neither augment nor repeat. Images are kept in memory, beyond 4
    GiB in a temporary file. They are put in an order of their own, made of their
    content: a source that shuffles gives the same division each time.

    Args:
        source: Gives `(image, label)` or `{"image": ..., "label": ...}`, one by one or
            in batches.
        validation: Share of the validation part, 0 to 1, or a source of its own.
            Defaults to 0.15.
        test: Share of the test part, 0 to 1, or a source of its own. Defaults to 0.15.
        class_names: Names of the classes 0, 1, ... Default: `class_names` or `classes`
            of the source, else the labels themselves.
        size: As for `from_arrays`, like everything that follows.
        resize: How images of another shape become square: `"stretch"` (the default),
            `"crop"` or `"pad"`.
        levels: Stored levels that are black and white. Default: as for `from_arrays`.
        seed: Seed of the division. Defaults to 42.
        on_rare: What to do about classes with too few images to be in every part:
            `"stop"` (the default) or `"train"` (they stay in the training part).
        limit: At most so many images of each part, chosen at random. Default: all.
        name: Name for tables, pictures and files.
        batch_size: Images in a batch, if a recipe does not say it. Default: 32.
        augmentation: How training images are changed, a list of `Augmentation`, if a
            recipe does not say it. Default: a shift by up to a tenth.

    Returns:
        A `DatasetSplits`, as from `load`.

    Raises:
        ValueError: If the source is endless or gives something else, an element may be
            one image or several, or an argument is unknown.

    Example:

    >>> pairs = [(np.full((8, 8, 3), row, "uint8"), row % 2) for row in range(40)]
    >>> toy = from_source(pairs, class_names=("even", "odd"))
    >>> len(toy.train), toy.spec.class_names
    (28, ('even', 'odd'))
    """
    own = {
        part: theirs
        for part, theirs in (("validation", validation), ("test", test))
        if not isinstance(theirs, (int, float))
    }
    shares = {
        part: share
        for part, share in (("validation", validation), ("test", test))
        if part not in own
    }
    division = Division(**shares, seed=seed, on_rare=on_rare, limit=limit)
    check_reading(size, None, resize, "stop")
    labels: list[Array] = []
    parts: list[int] = []

    def chunks() -> Iterator[Array]:
        for part, theirs in {"train": source, **own}.items():
            for chunk, chunk_labels in _elements(theirs):
                labels.append(chunk_labels)
                parts.extend([NAMES.index(part)] * len(chunk))
                yield chunk

    gathered = gather(chunks(), size=size, resize=resize, levels=levels)
    if class_names is None:
        class_names = _class_names(source)
    encoded = encode_labels(np.concatenate(labels), class_names)
    order = _order_of_content(gathered.images, encoded.codes)
    collection = Collection(
        images=ChosenRows(gathered.images, order),
        labels=type(encoded)(encoded.codes[order], encoded.class_names),
        moments=gathered.moments[order],
        parts=np.array(parts)[order],
        resize=resize,
        levels=gathered.levels,
    )
    return assemble(
        collection,
        division,
        title=name,
        how_to_get="keras_gradattn.datasets.from_source(...)",
        batch_size=batch_size,
        augmentation=augmentation,
    )


def _elements(source: Any) -> Iterator[tuple[Array, Array]]:
    """Images (images, ...) and labels (images, ...) of each element."""
    # What the elements before were: batches, single images, or taken for these.
    before: bool | None = None
    taken_for_one: tuple[Array, Array] | None = None
    for element in _iterate(source):
        if element is None:
            # What a filtered data set of Grain has in a place that it leaves out.
            continue
        image, label = (to_numpy(value) for value in _pair(element))
        is_batch = _is_batch(image, label)
        if is_batch is None and before is None:
            # Labels of three or four images seldom look like one class of as many.
            if not _is_one_hot(label):
                raise _ambiguous(image, label)
            taken_for_one = taken_for_one or (image, label)
        elif is_batch is None:
            is_batch = before
        elif is_batch and taken_for_one:
            raise _ambiguous(*taken_for_one)
        else:
            before = is_batch
        if is_batch:
            yield image, label
        else:
            yield image[None], label[None]


def _iterate(source: Any) -> Iterable[Any]:
    if isinstance(source, Mapping) or _is_array_pair(source):
        raise ValueError(
            "A source gives image after image. For arrays there is `from_arrays`. "
            f"Received: {type(source).__name__}"
        )
    if hasattr(source, "as_numpy_iterator"):
        if int(source.cardinality()) == -1:
            raise _endless(source)
        return source.as_numpy_iterator()
    if hasattr(source, "num_batches"):
        # A PyDataset: without a length it never ends.
        if source.num_batches is None:
            raise _endless(source)
        return (source[index] for index in range(source.num_batches))
    count = _length(source)
    if count is not None and count >= sys.maxsize:
        raise _endless(source)
    if count is not None and hasattr(source, "__getitem__"):
        # PyTorch's map-style data sets need not say where they end.
        return (source[index] for index in range(count))
    if not hasattr(source, "__iter__"):
        raise ValueError(
            "A source should be a tf.data.Dataset, a PyDataset, a PyTorch or Grain "
            f"loader, or anything to iterate over. Received: {type(source).__name__}"
        )
    return source


def _length(source: Any) -> int | None:
    # A loader of an iterable data set has the method, but no length.
    try:
        return len(source)
    except (TypeError, NotImplementedError):
        return None


def _is_array_pair(source: Any) -> bool:
    return (
        isinstance(source, tuple)
        and len(source) == 2
        and all(hasattr(entry, "shape") and len(entry.shape) for entry in source)
    )


def _endless(source: Any) -> ValueError:
    return ValueError(
        "A source should end, as one pass over it is a data set: leave `repeat` out. "
        f"Received: an endless {type(source).__name__}"
    )


def _pair(element: Any) -> tuple[Any, Any]:
    if isinstance(element, Mapping):
        image = next((key for key in _IMAGE_KEYS if key in element), None)
        label = next((key for key in _LABEL_KEYS if key in element), None)
        if image is None or label is None:
            raise ValueError(
                "A source's elements should have an 'image' and a 'label'. "
                f"Received: {', '.join(map(str, element))}"
            )
        return element[image], element[label]
    if not isinstance(element, (tuple, list)) or len(element) != 2:
        what = type(element).__name__
        if isinstance(element, (tuple, list)):
            what += f" of {len(element)}"
        raise ValueError(
            "A source should give (image, label), or a dictionary with 'image' and "
            f"'label'. Received: {what}"
        )
    return element[0], element[1]


def _is_batch(image: Array, label: Array) -> bool | None:
    """Whether an element is several images; `None` where shapes do not tell."""
    if label.ndim == 0:
        return False
    if image.ndim == 4:
        return True
    # Grey images without a channel, not one image with a label for each class.
    if image.ndim != 3 or len(image) != len(label) or image.shape[-1] <= 4:
        return False
    # PyTorch's (channels, height, width), with 0 or 1 for each of as many classes.
    may_be_one = len(image) in (3, 4) and label.ndim == 1 and label.dtype.kind in "biuf"
    return None if may_be_one and np.isin(label, (0, 1)).all() else True


def _is_one_hot(label: Array) -> bool:
    return bool(label.sum() == 1)


def _ambiguous(image: Array, label: Array) -> ValueError:
    return ValueError(
        "Give grey images with a channel, (images, height, width, 1), or one colour "
        "image as (height, width, channels): this may be either. "
        f"Received: an image of shape {image.shape} with the label {label.tolist()}"
    )


def _class_names(source: Any) -> tuple[str, ...] | None:
    for owner in (source, getattr(source, "dataset", None)):
        for attribute in ("class_names", "classes"):
            names = getattr(owner, attribute, None)
            if isinstance(names, (list, tuple)) and names:
                return tuple(str(name) for name in names)
    return None


def _order_of_content(images: Array, labels: Array) -> Array:
    digests = [
        hashlib.blake2b(image.tobytes() + label.tobytes(), digest_size=16).digest()
        for image, label in zip(images, labels, strict=True)
    ]
    return np.argsort(np.array(digests, dtype="S16"), kind="stable")
