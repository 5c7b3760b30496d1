"""Reads a data set by name and divides it as published."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_gradattn.datasets import _npz, _records, local_copies
from keras_gradattn.datasets._names import suggestion
from keras_gradattn.datasets.images import Array
from keras_gradattn.datasets.parts import DatasetNotFoundError, DatasetSplits, Split
from keras_gradattn.datasets.prepared import Prepared, not_found
from keras_gradattn.datasets.resize import resize
from keras_gradattn.datasets.specs import SPECS, DatasetSpec
from keras_gradattn.datasets.splits import NAMES, group_split, random_split
from keras_gradattn.datasets.tfds_names import from_tfds

# Larger parts are decoded into a memory-mapped temporary file.
_LARGEST_IN_MEMORY = 4 * 2**30
_LONG_WORK = 50_000


def load(
    name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    download: bool = False,
    seed: int = 42,
    group: str | None = None,
    limit: int | None = None,
    engine: str = "auto",
    verify: bool = True,
) -> DatasetSplits:
    """Reads a data set by name and divides it as published.

    If the name is not in `SPECS`, the data set is looked for in TensorFlow Datasets
    (TFDS), as `from_tfds` does.

    Args:
        name: Key in `SPECS`, such as `"fashion_mnist"`, or a name for `tfds.builder`.
        data_dir: Folder with the data. It may hold data prepared by TFDS, the MedMNIST
            file, or the authors' own files: of SVHN (.mat), PCam (.h5) or PAD-UFES-20
            (metadata.csv and images). Of Tiny ImageNet or CIFAR-10 an archive or the
            extracted folder will do. Default: TFDS' own (`~/tensorflow_datasets`).
        download: Whether to download and prepare a missing data set with TFDS. Defaults
            to `False`.
        seed: Seed of the random division, and of the subset that `limit` takes.
            Defaults to 42.
        group: Column that says which images must stay in one part, such as
            `"patient_id"` for `pad_ufes_20`. Default: divide image by image, as
            published.
        limit: At most so many images for each part, chosen at random. Default: all.
        engine: `"tf.data"` reads TFRecord and needs TensorFlow. `"pydataset"` reads
            ArrayRecord and needs none. `"auto"` (the default) takes what is there.
        verify: Whether to compare the authors' own files with the published MD5 sums
            and numbers of images. A difference is a warning. Defaults to `True`.

    Returns:
        A `DatasetSplits` with `spec`, `train`, `validation` and `test`.

    Raises:
        DatasetNotFoundError: If the data set is not there; says how to get it.
        ValueError: If a name or argument is unknown, a file is damaged, labels
            are out of range or images have the wrong shape.

    Example:

    >>> digits = load("digits")
    >>> len(digits.train), digits.train.images.shape
    (1257, (1257, 8, 8, 1))
    """
    check_engine(engine)
    if name not in SPECS:
        return _load_from_tfds(
            name,
            data_dir=data_dir,
            download=download,
            seed=seed,
            group=group,
            limit=limit,
            engine=engine,
        )
    description = SPECS[name]
    if limit is not None and limit < 1:
        raise ValueError(f"`limit` should be positive. Received: limit={limit}")
    if group is not None and group != description.source.group:
        raise ValueError(
            f"{description.title} cannot be divided by group. Received: group={group!r}"
            if description.source.group is None
            else f"{description.title} can be divided by "
            f"group={description.source.group!r}. Received: group={group!r}"
        )
    parts = _open(description, data_dir, download, engine, verify)
    rows = _divide(description, parts, seed, group)
    if limit is not None:
        random = np.random.default_rng(seed)
        rows = {key: random.permutation(rows[key])[:limit] for key in NAMES}
    # Ascending, so that every format is read from front to back.
    rows = {key: np.sort(rows[key]) for key in NAMES}
    splits = _read(description, parts, rows)
    class_names = next(iter(parts.values())).class_names
    if class_names is not None and len(class_names) == description.num_classes:
        description = dataclasses.replace(description, class_names=class_names)
    return DatasetSplits(
        description, splits["train"], splits["validation"], splits["test"]
    )


def _load_from_tfds(name: str, **options: Any) -> DatasetSplits:
    try:
        return from_tfds(name, **options)
    except ImportError:
        # Without TFDS there are no other names.
        raise ValueError(
            f"There is no such data set.{suggestion(name, SPECS)} "
            f"Known: {', '.join(SPECS)}, and with tensorflow-datasets all of TFDS. "
            f"Received: name={name!r}"
        ) from None


def check_engine(engine: str) -> None:
    """Raises ValueError unless the engine is known."""
    if engine not in ("auto", "tf.data", "pydataset"):
        raise ValueError(
            "`engine` should be 'auto', 'tf.data' or 'pydataset'. "
            f"Received: engine={engine!r}"
        )


def _open(
    description: DatasetSpec,
    data_dir: str | os.PathLike[str] | None,
    download: bool,
    engine: str,
    verify: bool,
) -> dict[str, Any]:
    source = description.source
    if description.name == "digits":
        return {"train": _digits(description)}
    copy = local_copies.find_copy(description, data_dir)
    if copy is not None:
        return local_copies.read_copy(description, copy, verify=verify)
    if source.npz is not None:
        path = _find_npz(source.npz, data_dir)
        if path is not None:
            if source.md5 is not None and verify:
                _verify(description, path, source.md5)
            return {
                name: _records.ArrayRecords(images, labels)
                for name, (images, labels) in _npz.read_npz(path).items()
            }
    how_to_get = description.how_to_get
    if local_copies.has_archives(description):
        how_to_get += ", or put its authors' archive there"
    if source.tfds is None:
        raise not_found(description.title, how_to_get, data_dir)
    prepared = Prepared(description.name, description.title, how_to_get, data_dir)
    builder = prepared.builder()
    if download:
        prepared.download(builder)
    splits = source.splits
    wanted = source.merge or tuple((splits or {}).values())
    parts: dict[str, Any] = dict(prepared.open(builder, wanted, engine=engine))
    if source.merge or splits is None:
        return parts
    return {name: parts[split] for name, split in splits.items()}


def _verify(description: DatasetSpec, path: pathlib.Path, md5: str) -> None:
    """A question about a file that is another one, which is not the end."""
    try:
        _npz.verify_md5(path, md5)
    except ValueError as error:
        hint = (
            " A file rebuilt from the PBC photographs is the data set 'pbc28'."
            if description.name == "bloodmnist"
            else ""
        )
        warnings.warn(
            f"{error} What it holds is checked all the same. Is that file meant? "
            f"`verify=False` says yes.{hint}",
            stacklevel=4,
        )


def _find_npz(
    name: str, data_dir: str | os.PathLike[str] | None
) -> pathlib.Path | None:
    if data_dir is None:
        return None
    folder = pathlib.Path(data_dir)
    candidates = (folder / name, folder / "medmnist" / name)
    return next((path for path in candidates if path.is_file()), None)


def _digits(description: DatasetSpec) -> _records.ArrayRecords:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DatasetNotFoundError(
            f"{description.title} comes with scikit-learn, which is not installed. "
            f"Get it with: {description.how_to_get}"
        ) from error
    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype("uint8")[..., None]
    return _records.ArrayRecords(images, digits.target)


def _divide(
    description: DatasetSpec, parts: Mapping[str, Any], seed: int, group: str | None
) -> dict[str, Array]:
    if not description.source.merge:
        return {name: np.arange(len(parts[name])) for name in NAMES}
    if group is None:
        return random_split(sum(len(part) for part in parts.values()), seed)
    groups = np.concatenate([part.groups(group) for part in parts.values()])
    return group_split(groups, seed)


def _read(
    description: DatasetSpec, parts: Mapping[str, Any], rows: dict[str, Array]
) -> dict[str, Split]:
    if not description.source.merge:
        splits: dict[str, Split] = {}
        for name in NAMES:
            part_rows = {name: rows[name]}
            splits |= _read_parts(description, [parts[name]], part_rows)
        return splits
    return _read_parts(description, list(parts.values()), rows)


def _read_parts(
    description: DatasetSpec, parts: list[Any], rows: dict[str, Array]
) -> dict[str, Split]:
    """Reads the wanted rows of all parts in one pass, each into its split."""
    wanted = np.sort(np.concatenate(list(rows.values())))
    # Which split each wanted image belongs to, and where there it stands.
    owner = np.empty(len(wanted), int)
    place = np.empty(len(wanted), int)
    splits: dict[str, Split] = {}
    pixels: list[Array] = []
    for index, (name, split_rows) in enumerate(rows.items()):
        found = np.searchsorted(wanted, split_rows)
        owner[found], place[found] = index, np.arange(len(split_rows))
        pixels.append(_empty_images(description, len(split_rows)))
        labels_shape = (description.num_classes,) if description.multi_label else ()
        empty = np.empty((len(split_rows), *labels_shape), "int32")
        splits[name] = Split(name, pixels[index], empty, split_rows)
    progress = _progress(len(wanted))
    done = first = 0
    for part in parts:
        inside = wanted[(wanted >= first) & (wanted < first + len(part))] - first
        first += len(part)
        for images, labels in part.read(inside):
            images = _same_size(description, images)
            labels = _checked_labels(description, labels)
            chunk = slice(done, done + len(images))
            done += len(images)
            for index, split in enumerate(splits.values()):
                mine = owner[chunk] == index
                pixels[index][place[chunk][mine]] = images[mine]
                split.labels[place[chunk][mine]] = labels[mine]
            if progress is not None:
                progress.update(done)
    if done != len(wanted):
        raise ValueError(
            f"{description.title} should hold {len(wanted)} images. Received: {done}"
        )
    return splits


def _progress(count: int) -> keras.utils.Progbar | None:
    if count < _LONG_WORK:
        return None
    # In a log, where nothing can be overwritten, one line when it is done.
    verbose = 1 if sys.stdout.isatty() else 2
    return keras.utils.Progbar(count, verbose=verbose, unit_name="image")


def _empty_images(description: DatasetSpec, count: int) -> Array:
    size = description.image_size
    return _allocate((count, size, size, description.source_channels))


def _allocate(shape: tuple[int, ...]) -> np.ndarray:
    if np.prod(shape, dtype=np.int64) <= _LARGEST_IN_MEMORY:
        return np.empty(shape, "uint8")
    with tempfile.TemporaryFile(prefix="keras_gradattn_") as stream:
        return np.memmap(stream, "uint8", mode="w+", shape=shape)


def _same_size(
    description: DatasetSpec, images: np.ndarray | Sequence[np.ndarray]
) -> np.ndarray:
    size = description.image_size
    if not isinstance(images, np.ndarray):
        return np.concatenate(
            [_same_size(description, image[None]) for image in images]
        )
    channels = description.source_channels
    if images.ndim != 4 or images.shape[-1] != channels or images.dtype != np.uint8:
        raise ValueError(
            f"Images of {description.title} should be uint8 (height, width, "
            f"{channels}). Received: {images.dtype} with shape {images.shape[1:]}"
        )
    return resize(images, size)


def _checked_labels(description: DatasetSpec, labels: np.ndarray) -> np.ndarray:
    labels = np.asarray(labels)
    if description.multi_label:
        if labels.shape[1:] != (description.num_classes,):
            raise ValueError(
                f"Labels of {description.title} should have shape (images, "
                f"{description.num_classes}). Received: {labels.shape}"
            )
        limit = 2
    else:
        labels = labels.reshape(len(labels))
        limit = description.num_classes
    if labels.size and not (labels.min() >= 0 and labels.max() < limit):
        wrong = labels[(labels < 0) | (labels >= limit)]
        raise ValueError(
            f"Labels of {description.title} should be 0 to {limit - 1}. "
            f"Received: {int(wrong.flat[0])} ({wrong.size} labels out of range)"
        )
    return labels
