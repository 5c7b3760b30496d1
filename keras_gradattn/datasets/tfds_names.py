"""Any data set of TFDS by its name."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from keras_gradattn.datasets.assembly import Collection, Division, assemble
from keras_gradattn.datasets.file_check import check_reading
from keras_gradattn.datasets.folder import PART_FOLDERS
from keras_gradattn.datasets.gathering import gather
from keras_gradattn.datasets.images import Array
from keras_gradattn.datasets.labels import encode_labels
from keras_gradattn.datasets.levels import Levels
from keras_gradattn.datasets.parts import DatasetSplits
from keras_gradattn.datasets.prepared import Prepared
from keras_gradattn.datasets.specs import Augmentation
from keras_gradattn.datasets.splits import NAMES


def from_tfds(
    name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    download: bool = False,
    engine: str = "auto",
    image: str | None = None,
    label: str | None = None,
    group: str | None = None,
    size: int | None = None,
    resize: str = "stretch",
    levels: Levels | None = None,
    validation: float = 0.15,
    test: float = 0.15,
    seed: int = 42,
    on_rare: str = "stop",
    limit: int | None = None,
    batch_size: int | None = None,
    augmentation: Sequence[Augmentation] | None = None,
) -> DatasetSplits:
    """Reads any image classification data set of TFDS.

    Its own train, validation and test splits are used; what it lacks is taken from the
    training part. Splits without labels are left alone.

    Args:
        name: Name for `tfds.builder`, such as `"beans"` or `"med_mnist/chestmnist_64"`.
        data_dir: Folder of prepared data. Default: TFDS' own.
        download: Whether to download and prepare a missing data set. Defaults to
            `False`.
        engine: As for `load`.
        image: Feature that is the image. Default: the first one.
        label: Feature that is the label. Default: the first one.
        group: Feature that says which images must stay in one part. Default: none.
        size: As for `from_arrays`, like everything that follows.
        resize: How images of another shape become square: `"stretch"` (the default),
            `"crop"` or `"pad"`.
        levels: Stored levels that are black and white. Default: as for `from_arrays`.
        validation: Share of the validation part, 0 to 1. Defaults to 0.15.
        test: Share of the test part, 0 to 1. Defaults to 0.15.
        seed: Seed of the division. Defaults to 42.
        on_rare: What to do about classes with too few images to be in every part:
            `"stop"` (the default) or `"train"` (they stay in the training part).
        limit: At most so many images of each part, chosen at random. Default: all.
        batch_size: Images in a batch, if a recipe does not say it. Default: 32.
        augmentation: How training images are changed, a list of `Augmentation`, if a
            recipe does not say it. Default: a shift by up to a tenth.

    Returns:
        A `DatasetSplits`, as from `load`.

    Raises:
        DatasetNotFoundError: If the data set is not prepared; says how to get it.
        ValueError: If there is no such data set (the nearest is suggested), it has no
            images or labels, or an argument is unknown.

    Example:

    ```python
    beans = datasets.from_tfds("beans", download=True, size=128)
    ```
    """
    division = Division(validation, test, seed, on_rare, limit)
    check_reading(size, None, resize, "stop")
    prepared = Prepared(
        name, name, f"python -m keras_gradattn.datasets.prepare {name}", data_dir
    )
    builder = prepared.builder()
    if download:
        prepared.download(builder)
    if not builder.is_prepared():
        raise prepared.not_found()
    features = builder.info.features
    image = image or _feature(name, features, "image")
    label = label or _feature(name, features, "label")
    for feature in (image, label, *([group] if group else [])):
        if feature not in features:
            raise ValueError(
                f"{name} has the features {', '.join(features)}. Received: {feature!r}"
            )
    part_of = _parts(list(builder.info.splits))
    opened = prepared.open(
        builder, list(part_of), engine=engine, image=image, label=label
    )
    labels: list[Array] = []
    parts: list[int] = []
    groups: list[Array] = []

    def chunks() -> Iterator[Any]:
        for split, part in part_of.items():
            records = opened[split]
            rows = np.arange(len(records))
            if group is not None:
                groups.append(records.groups(group))
            for images, chunk_labels in records.read(rows):
                known = np.atleast_1d(chunk_labels.reshape(len(images), -1).min(1) >= 0)
                # What others are to predict has the label -1.
                if not known.all():
                    if group is not None:
                        raise ValueError(
                            f"{name} can be divided by group where every image has a "
                            f"label only. Received: group={group!r}"
                        )
                    images = [x for x, has in zip(images, known, strict=True) if has]
                    chunk_labels = chunk_labels[known]
                labels.append(chunk_labels)
                parts.extend([NAMES.index(part)] * len(images))
                yield images

    gathered = gather(chunks(), size=size, resize=resize, levels=levels)
    names = next(iter(opened.values())).class_names
    count = getattr(features[label], "num_classes", None)
    if names is None and count:
        names = tuple(str(index) for index in range(count))
    collection = Collection(
        images=gathered.images,
        labels=encode_labels(np.concatenate(labels), names),
        moments=gathered.moments,
        parts=np.array(parts),
        groups=np.concatenate(groups) if group is not None else None,
        resize=resize,
        levels=gathered.levels,
    )
    return assemble(
        collection,
        division,
        title=name,
        how_to_get=prepared.how_to_get,
        batch_size=batch_size,
        augmentation=augmentation,
    )


def _feature(name: str, features: Any, kind: str) -> str:
    """The first feature that is an image, or a label."""
    for key, feature in features.items():
        shape = getattr(feature, "shape", None)
        if kind == "image" and type(feature).__name__ == "Image":
            return str(key)
        if kind == "label" and (
            type(feature).__name__ == "ClassLabel"
            or (key == "label" and shape is not None and len(shape) < 2)
        ):
            return str(key)
    found = [f"{key} ({type(feature).__name__})" for key, feature in features.items()]
    raise ValueError(
        f"{name} should have a feature that is an {kind}; say which with `{kind}`. "
        f"Received: {', '.join(found)}"
    )


def _parts(splits: list[str]) -> dict[str, str]:
    """Our part for each split of TFDS."""
    named = {split: PART_FOLDERS.get(split) for split in splits}
    parts = {split: part for split, part in named.items() if part}
    if "train" in parts.values():
        return parts
    return dict.fromkeys(splits, "train")
