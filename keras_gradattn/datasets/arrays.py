"""Images and labels that are arrays already."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from keras_gradattn.datasets.assembly import Collection, Division, assemble
from keras_gradattn.datasets.channel_statistics import all_moments
from keras_gradattn.datasets.file_check import check_reading
from keras_gradattn.datasets.gathering import Gathered, gather
from keras_gradattn.datasets.images import Array
from keras_gradattn.datasets.labels import Labels, encode_labels
from keras_gradattn.datasets.levels import EIGHT_BITS, Levels
from keras_gradattn.datasets.parts import DatasetSplits
from keras_gradattn.datasets.specs import Augmentation
from keras_gradattn.datasets.splits import NAMES

_CHUNK = 256


def from_arrays(
    images: Any,
    labels: Any,
    *,
    validation: float | tuple[Any, Any] = 0.15,
    test: float | tuple[Any, Any] = 0.15,
    groups: Any = None,
    class_names: Sequence[str] | None = None,
    size: int | None = None,
    resize: str = "stretch",
    levels: Levels | None = None,
    seed: int = 42,
    on_rare: str = "stop",
    limit: int | None = None,
    name: str = "arrays",
    batch_size: int | None = None,
    augmentation: Sequence[Augmentation] | None = None,
) -> DatasetSplits:
    """Makes a data set of arrays, or of tensors of any framework.

    Square uint8 images are not copied, so that they may be memory-mapped. Finer levels
    become float32 in units of 0 to 255.

    Args:
        images: (images, height, width, channels), (images, height, width), (images,
            channels, height, width), or a list of images of any sizes.
        labels: Classes as numbers or words (images,), or 0 and 1 (images, classes).
        validation: Share of the validation part, 0 to 1, or its own `(images, labels)`.
            Defaults to 0.15.
        test: Share of the test part, 0 to 1, or its own `(images, labels)`. Defaults to
            0.15.
        groups: What must not be in two parts, such as the patient of each image.
        class_names: Names of the classes 0, 1, ... Default: the labels themselves.
        size: As for `from_folder`, like everything that follows. Default: the shorter
            side of the first image, 224 at most.
        resize: How images of another shape become square: `"stretch"` (the default),
            `"crop"` or `"pad"`.
        levels: Stored levels that are black and white. Default: uint8 as it is, other
            integers by the bits that occur, floats as 0 to 1 or 0 to 255.
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
        ValueError: If images and labels do not belong together, or an argument is
            unknown.

    Example:

    >>> images = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3), "uint8")
    >>> toy = from_arrays(images, np.arange(60) % 3)
    >>> len(toy.train), len(toy.validation), len(toy.test)
    (42, 9, 9)
    """
    shares = {
        part: share
        for part, share in (("validation", validation), ("test", test))
        if not isinstance(share, tuple)
    }
    division = Division(**shares, seed=seed, on_rare=on_rare, limit=limit)
    check_reading(size, None, resize, "stop")
    given = [(images, labels, 0)] + [
        (*_pair(pair, part), NAMES.index(part))
        for part, pair in (("validation", validation), ("test", test))
        if isinstance(pair, tuple)
    ]
    all_labels = [to_numpy(theirs) for _, theirs, _ in given]
    for (theirs, _, part), codes in zip(given, all_labels, strict=True):
        if len(theirs) != len(codes):
            raise ValueError(
                f"There should be a label for each of the {len(theirs)} {NAMES[part]} "
                f"images. Received: {len(codes)} labels"
            )
    encoded = encode_labels(np.concatenate(all_labels), class_names)
    parts = np.repeat([part for _, _, part in given], [len(x) for x, _, _ in given])
    members = None if groups is None else to_numpy(groups)
    if members is not None and members.shape != (len(parts),):
        raise ValueError(
            f"There should be a group for each of the {len(parts)} images, those of "
            "training first, then validation, then test. "
            f"Received: groups with shape {members.shape}"
        )
    gathered = _gathered([x for x, _, _ in given], size, resize, levels)
    collection = Collection(
        images=gathered.images,
        labels=Labels(encoded.codes, encoded.class_names),
        moments=gathered.moments,
        parts=parts,
        groups=members,
        resize=resize,
        levels=gathered.levels,
    )
    return assemble(
        collection,
        division,
        title=name,
        how_to_get="keras_gradattn.datasets.from_arrays(images, labels)",
        batch_size=batch_size,
        augmentation=augmentation,
    )


def to_numpy(values: Any) -> Array:
    """An array, or a tensor of any framework on any device, as a NumPy array."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
    return np.asarray(values)


def _pair(pair: tuple[Any, ...], part: str) -> tuple[Any, Any]:
    if len(pair) != 2:
        raise ValueError(
            f"`{part}` should be a share or a tuple (images, labels). "
            f"Received: a tuple of {len(pair)}"
        )
    return pair[0], pair[1]


def _gathered(
    given: list[Any], size: int | None, resize: str, levels: Levels | None
) -> Gathered:
    if len(given) == 1 and not isinstance(given[0], (list, tuple)):
        whole = to_numpy(given[0])
        if whole.ndim == 3:
            whole = whole[..., None]
        ready = (
            whole.ndim == 4
            and whole.dtype == np.uint8
            and whole.shape[1] == whole.shape[2] == (size or whole.shape[1])
            and levels is None
            and len(whole)
        )
        if ready:
            return Gathered(whole, all_moments(whole), EIGHT_BITS)
    return gather(_chunks(given), size=size, resize=resize, levels=levels)


def _chunks(given: list[Any]) -> Iterator[list[Array]]:
    for images in given:
        if not isinstance(images, (list, tuple)):
            images = to_numpy(images)
        for start in range(0, len(images), _CHUNK):
            yield [to_numpy(image) for image in images[start : start + _CHUNK]]
