"""From labelled images to the three parts of a data set and its description."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from types import MappingProxyType

import numpy as np

from keras_gradattn.datasets._numbers import is_count
from keras_gradattn.datasets.channel_statistics import mean_and_std
from keras_gradattn.datasets.file_check import BadFile, some
from keras_gradattn.datasets.images import Array, ChosenRows, Images
from keras_gradattn.datasets.labels import Labels
from keras_gradattn.datasets.levels import EIGHT_BITS, Levels
from keras_gradattn.datasets.parts import DatasetSplits, Split
from keras_gradattn.datasets.specs import Augmentation, DatasetSpec, Source
from keras_gradattn.datasets.splits import NAMES
from keras_gradattn.datasets.stratified import (
    rare_classes,
    shares_of,
    stratified_split,
)

# Right for every kind of image: nothing is mirrored, turned or recoloured.
DEFAULT_AUGMENTATION = (Augmentation("translation", fraction=0.1),)
DEFAULT_BATCH_SIZE = 32


@dataclasses.dataclass(frozen=True)
class Collection:
    """Labelled images that are not divided yet.

    Args:
        images: All of them, at the network's size.
        labels: Their labels.
        moments: Of each image, in units of 0 to 255, (images, 2, channels).
        parts: Index in `NAMES` of each image's part where the source says it.
        groups: Group of each image.
        bad_files: Files that were left out.
        resize: How images became square.
        levels: Stored levels that became 0 and 255.
    """

    images: Images
    labels: Labels
    moments: Array
    parts: Array | None = None
    groups: Array | None = None
    bad_files: tuple[BadFile, ...] = ()
    resize: str = "stretch"
    levels: Levels = EIGHT_BITS


@dataclasses.dataclass(frozen=True)
class Division:
    """How a collection is divided.

    Args:
        validation: Share of the validation part, unless the source has one.
        test: Share of the test part, unless the source has one.
        seed: Of the division, and of the subset that `limit` takes.
        on_rare: Whether classes with too few images to be in every part `"stop"`
            or stay in the `"train"` part.
        limit: At most so many images of each part, chosen at random.
    """

    validation: float = 0.15
    test: float = 0.15
    seed: int = 42
    on_rare: str = "stop"
    limit: int | None = None

    def __post_init__(self) -> None:
        shares_of(self.validation, self.test)
        if self.on_rare not in ("stop", "train"):
            raise ValueError(
                "`on_rare` should be 'stop' or 'train'. "
                f"Received: on_rare={self.on_rare!r}"
            )
        if self.limit is not None and not is_count(self.limit):
            raise ValueError(
                f"`limit` should be positive. Received: limit={self.limit!r}"
            )
        if self.seed != 0 and not is_count(self.seed):
            raise ValueError(
                "`seed` should be a whole number, 0 or more. "
                f"Received: seed={self.seed!r}"
            )


def assemble(
    collection: Collection,
    division: Division,
    *,
    title: str,
    how_to_get: str,
    name: str | None = None,
    batch_size: int | None = None,
    augmentation: Sequence[Augmentation] | None = None,
) -> DatasetSplits:
    """Divides a collection and describes it.

    Args:
        collection: The images.
        division: How to divide them.
        title: Name for tables and pictures.
        how_to_get: Where the images come from.
        name: Name for files. Default: made of the title.
        batch_size: Images in a batch. Default: 32.
        augmentation: Table of the training part. Default: `DEFAULT_AUGMENTATION`.

    Raises:
        ValueError: If a class has too few images, a group is in two parts that the
            source gives, or a part is empty.
    """
    labels, images = collection.labels, collection.images
    if batch_size is not None and not is_count(batch_size):
        raise ValueError(
            f"`batch_size` should be positive. Received: batch_size={batch_size!r}"
        )
    if not all(isinstance(entry, Augmentation) for entry in augmentation or ()):
        raise ValueError(
            "`augmentation` should hold entries such as Augmentation('mixup'). "
            f"Received: augmentation={augmentation!r}"
        )
    rows = _divide(collection, division)
    empty = [part for part in NAMES if not len(rows[part])]
    if empty:
        raise ValueError(
            f"There are too few images: nothing is left for {' and '.join(empty)}. "
            f"Received: {len(images)} images of {len(labels.class_names)} classes"
        )
    if division.limit is not None:
        random = np.random.default_rng(division.seed)
        rows = {
            part: np.sort(random.permutation(mine)[: division.limit])
            for part, mine in rows.items()
        }
    mean, std = mean_and_std(collection.moments[rows["train"]])
    channels = images.shape[-1]
    spec = DatasetSpec(
        name=file_name(title) if name is None else file_name(name),
        title=title,
        num_classes=len(labels.class_names),
        class_names=labels.class_names,
        image_size=images.shape[1],
        channels=channels,
        source_channels=channels,
        mean=mean,
        std=std,
        split_sizes=MappingProxyType({part: len(rows[part]) for part in NAMES}),
        batch_size=DEFAULT_BATCH_SIZE if batch_size is None else batch_size,
        augmentation=(
            DEFAULT_AUGMENTATION if augmentation is None else tuple(augmentation)
        ),
        source=Source(),
        citation="",
        how_to_get=how_to_get,
        multi_label=labels.multi_label,
        resize=collection.resize,
        levels=collection.levels,
        deep=images.dtype != np.uint8,
    )
    splits = {
        part: Split(part, _chosen(images, mine), labels.codes[mine], mine)
        for part, mine in rows.items()
    }
    return DatasetSplits(spec, **splits, bad_files=collection.bad_files)


def file_name(title: str) -> str:
    """A name for files: letters, digits, `.`, `-` and `_` of the title.

    Example:

    >>> file_name("my photos/2024")
    'my_photos_2024'
    """
    return re.sub(r"[^\w.-]+", "_", title).strip("._") or "images"


def _chosen(images: Images, rows: Array) -> Images:
    chosen = getattr(images, "chosen", None)
    result: Images = ChosenRows(images, rows) if chosen is None else chosen(rows)
    return result


def _divide(collection: Collection, division: Division) -> dict[str, Array]:
    codes, groups = collection.labels.codes, collection.groups
    parts = collection.parts
    if parts is None:
        parts = np.zeros(len(codes), np.int64)
    given = {NAMES[index] for index in np.unique(parts)} - {"train"}
    rows = {part: np.flatnonzero(parts == i) for i, part in enumerate(NAMES)}
    if groups is not None and given:
        _check_groups(rows, groups)
    _check_classes(collection.labels, rows, given)
    if given == {"validation", "test"}:
        return rows
    shares = {
        "validation": 0.0 if "validation" in given else division.validation,
        "test": 0.0 if "test" in given else division.test,
    }
    mine = rows["train"]
    my_groups = None if groups is None else groups[mine]
    least = 1 + sum(share > 0 for share in shares.values())
    if division.on_rare == "stop" and not collection.labels.multi_label:
        _check_rare(collection.labels, codes[mine], my_groups, least)
    divided = stratified_split(
        codes[mine],
        (1 - sum(shares.values()), shares["validation"], shares["test"]),
        division.seed,
        groups=my_groups,
    )
    return {
        part: rows[part] if part in given else mine[divided[part]] for part in NAMES
    }


def _check_classes(labels: Labels, rows: dict[str, Array], given: set[str]) -> None:
    if labels.multi_label:
        return
    known = np.bincount(
        labels.codes[rows["train"]], minlength=len(labels.class_names)
    ).astype(bool)
    for part in sorted(given):
        unknown = np.unique(labels.codes[rows[part]])
        unknown = unknown[~known[unknown]]
        if len(unknown):
            names = [repr(labels.class_names[code]) for code in unknown]
            raise ValueError(
                f"The {part} part should have the classes of the training part only. "
                f"Received: {some(names)}"
            )


def _check_groups(rows: dict[str, Array], groups: Array) -> None:
    seen: dict[object, str] = {}
    for part, mine in rows.items():
        for group in np.unique(groups[mine]).tolist():
            if group in seen:
                raise ValueError(
                    "A group should be in one part only. "
                    f"Received: {group!r} in {seen[group]} and {part}"
                )
            seen[group] = part


def _check_rare(labels: Labels, codes: Array, groups: Array | None, least: int) -> None:
    rare = rare_classes(codes, groups, least)
    if len(rare):
        unit = "images" if groups is None else "groups"
        names = [
            f"{labels.class_names[code]!r} ({count})" for code, count in rare.tolist()
        ]
        raise ValueError(
            f"Each class should have {least} {unit}, one for each part. Add some, or "
            "keep such classes in the training part with on_rare='train'. "
            f"Received: {some(names)}"
        )
