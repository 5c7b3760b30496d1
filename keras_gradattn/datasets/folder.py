"""A folder of image files, one folder for each class."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Sequence

import numpy as np

from keras_gradattn.datasets.assembly import Collection, Division, assemble
from keras_gradattn.datasets.file_check import BadFile, check_files, some
from keras_gradattn.datasets.labels import Labels, in_order
from keras_gradattn.datasets.levels import Levels
from keras_gradattn.datasets.parts import DatasetNotFoundError, DatasetSplits
from keras_gradattn.datasets.specs import Augmentation
from keras_gradattn.datasets.splits import NAMES

# How people call the folders of the three parts.
PART_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
# What lies beside images and is none.
_BESIDE = frozenset(
    """
    .csv .db .doc .docx .htm .html .ini .json .lnk .log .md .pdf .py .rst .tsv .txt
    .xls .xlsx .xml .yaml .yml
    """.split()  # noqa: SIM905
)
_HIDDEN = (".", "__MACOSX", "$RECYCLE.BIN")


def from_folder(
    folder: str | os.PathLike[str],
    *,
    size: int | None = None,
    channels: int | None = None,
    resize: str = "stretch",
    levels: Levels | None = None,
    on_bad: str = "stop",
    validation: float = 0.15,
    test: float = 0.15,
    seed: int = 42,
    on_rare: str = "stop",
    limit: int | None = None,
    name: str | None = None,
    batch_size: int | None = None,
    augmentation: Sequence[Augmentation] | None = None,
) -> DatasetSplits:
    """Reads a folder with a folder of images for each class.

    `photos/cat/1.jpg` is of the class `cat`, and so is `photos/cat/old/2.png`. The
    images are divided into three parts, in which each class has the same share. If the
    folders in `photos` are called train, val (or valid, validation) and test, these are
    the parts, and the classes are inside them. No other folder may stand beside them. A
    part that is not there is taken from the training part.

    Every file is decoded once now. This finds the bad ones, and the mean and deviation
    of the training part. Only paths are kept. Later an image is decoded when it is
    needed, in the threads that prepare batches.

    Hidden files and texts are passed over. Links are followed, but not in circles. Of a
    file with several images the first counts.

    Args:
        folder: The folder.
        size: Side of the network's square input in pixels. Default: the median of the
            images' shorter sides, 224 at most.
        channels: 1 (grey), 3 (colour) or 4 (colour and opacity); `.npy` files have
            their own. Default: 1 if all images are grey, else 3.
        resize: How images of another shape become square: `"stretch"` (the default),
            `"crop"` (the middle) or `"pad"` (black bars).
        levels: Stored levels that are black and white in files with more than 8 bits,
            such as (0, 4095). Default: all bits that occur.
        on_bad: What to do about bad files: `"stop"` (the default: one error names them)
            or `"skip"` (leave them out with a warning). Bad are files that are empty,
            truncated, damaged, no image or in no class folder, and class folders
            without images.
        validation: Share of the validation part, 0 to 1. Defaults to 0.15.
        test: Share of the test part, 0 to 1. Defaults to 0.15.
        seed: Seed of the division. Defaults to 42.
        on_rare: What to do about classes with too few images to be in every part:
            `"stop"` (the default) or `"train"` (they stay in the training part).
        limit: At most so many images of each part, chosen at random. Default: all.
        name: Name for files of results. Default: the folder's.
        batch_size: Images in a batch, if a recipe does not say it. Default: 32.
        augmentation: How training images are changed, if a recipe does not say it: a
            list of `Augmentation`. Default: `Augmentation("translation",
            fraction=0.1)`.

    Returns:
        A `DatasetSplits`, as from `load`. Its `bad_files` are those left out.

    Raises:
        DatasetNotFoundError: If there is no such folder.
        BadFilesError: If files are bad and are not to be skipped.
        ValueError: If there are no class folders, other folders stand beside those of
            parts, a class has too few images, or an argument is unknown.

    Example:

    ```python
    photos = datasets.from_folder("photos/", size=64)
    photos.spec.class_names  # ('cat', 'dog')
    batches = datasets.batches(photos.train, photos.spec, training=True)
    ```
    """
    division = Division(validation, test, seed, on_rare, limit)
    root = os.path.abspath(folder)
    found = _find(root)
    paths = [path for path, _, _ in found.images]
    checked = check_files(
        paths,
        size=size,
        channels=channels,
        resize=resize,
        levels=levels,
        on_bad=on_bad,
        already_bad=found.bad,
    )
    kept = [found.images[row] for row in checked.rows.tolist()]
    # Classes whose files are all bad are none.
    names = in_order({label for _, label, _ in kept})
    _check_class_folders(root, names)
    code = {label: index for index, label in enumerate(names)}
    part = np.array([NAMES.index(part) for _, _, part in kept])
    collection = Collection(
        images=checked.images,
        labels=Labels(
            np.array([code[label] for _, label, _ in kept], "int32"), tuple(names)
        ),
        moments=checked.moments,
        parts=part,
        bad_files=checked.bad,
        resize=resize,
        levels=checked.images.reading.levels,
    )
    return assemble(
        collection,
        division,
        title=name or printable(os.path.basename(root)) or "images",
        how_to_get=f"keras_gradattn.datasets.from_folder({os.fspath(folder)!r})",
        name=name,
        batch_size=batch_size,
        augmentation=augmentation,
    )


class _Found:
    """Image files with class and part, and what is wrong."""

    def __init__(self) -> None:
        self.images: list[tuple[str, str, str]] = []
        self.bad: list[BadFile] = []


def _find(root: str) -> _Found:
    if not os.path.isdir(root):
        what = "a file: unpack it first" if os.path.exists(root) else "nothing"
        raise DatasetNotFoundError(
            f"There is no such folder. Received: {root!r}, which is {what}"
        )
    found = _Found()
    folders = _folders(root)
    parts = {entry: PART_FOLDERS.get(entry.lower()) for entry in folders}
    others = [entry for entry, part in parts.items() if part is None]
    known = {part for part in parts.values() if part}
    if others and len(known) > 1 and "train" in known:
        named = [entry for entry, part in parts.items() if part]
        raise ValueError(
            f"{root!r} has folders of parts and others beside them. Move the others "
            "away, or rename the parts if they are classes. Received: "
            f"{some([*map(repr, others)])} beside {some([*map(repr, named)])}"
        )
    if len(parts) > 1 and "train" in known and not others:
        for entry, part in parts.items():
            _find_classes(os.path.join(root, entry), part or "", found)
    else:
        _find_classes(root, "train", found)
    _check_class_folders(root, in_order({label for _, label, _ in found.images}))
    return found


def _check_class_folders(root: str, classes: list[str]) -> None:
    if len(classes) < 2:
        raise ValueError(
            f"{root!r} should have a folder of images for each of two classes at "
            f"least. Received: {some(classes) or 'no folder with images'}"
        )


def _find_classes(root: str, part: str, found: _Found) -> None:
    for path in _files_in(root):
        found.bad.append(BadFile(path, "in no class folder"))
    status = os.stat(root)
    above = ((status.st_dev, status.st_ino),)
    for entry in _folders(root):
        paths = list(image_paths(os.path.join(root, entry), above))
        if not paths:
            path = os.path.join(root, entry)
            found.bad.append(BadFile(path, "a class folder without images"))
        found.images += [(path, printable(entry), part) for path in paths]


def printable(name: str) -> str:
    """A file's name as text: composed letters, and no bytes that are no text."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return unicodedata.normalize("NFC", text)


def _folders(root: str) -> list[str]:
    with os.scandir(root) as entries:
        return sorted(
            entry.name for entry in entries if entry.is_dir() and not _hidden(entry)
        )


def _files_in(root: str) -> list[str]:
    with os.scandir(root) as entries:
        return sorted(
            entry.path
            for entry in entries
            # A link that leads nowhere is a bad file; a pipe would never end.
            if (entry.is_file() or (entry.is_symlink() and not entry.is_dir()))
            and not _hidden(entry)
            and not _beside(entry.name)
        )


def _hidden(entry: os.DirEntry[str]) -> bool:
    return entry.name.startswith(_HIDDEN)


def _beside(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in _BESIDE


def image_paths(folder: str, above: tuple[tuple[int, int], ...] = ()) -> Iterator[str]:
    """Files in a folder and below that may be images, sorted.

    Args:
        folder: Where to look.
        above: Device and number of the folders that led here.
    """
    status = os.stat(folder)
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    yield from _files_in(folder)
    for entry in _folders(folder):
        yield from image_paths(os.path.join(folder, entry), (*above, here))
