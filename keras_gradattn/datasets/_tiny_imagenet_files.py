"""The files of Tiny ImageNet: which image belongs to which part and class."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Sequence

import numpy as np

from keras_gradattn.datasets import _images
from keras_gradattn.datasets._members import Members

_CLASSES = "wnids.txt"
_ANNOTATIONS = "val/val_annotations.txt"
_SIZE = 64


def has_tiny_imagenet(names: Sequence[str]) -> bool:
    """Whether these file names are a copy of Tiny ImageNet, whole or not."""
    return _root(names) is not None


def read_tiny_imagenet(
    members: Members, source: pathlib.Path
) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], tuple[str, ...]]:
    """Decodes the labelled images, in the order of their names.

    The order does not depend on the archive, so that a row means the same image in
    a folder and in anybody's zip of it.

    Args:
        members: Files under any top folder.
        source: What to call the copy in a message.

    Returns:
        For `train` and `validation` uint8 images (images, 64, 64, 3) and their
        labels; and the WordNet ids of the classes in label order.

    Raises:
        ValueError: If an image is missing, damaged or of another size, or belongs
            to no class.
    """
    root = _root(members.names)
    if root is None:
        raise ValueError(
            f"There should be {_CLASSES} of Tiny ImageNet. Received: {source}"
        )
    classes = _lines(members, root + _CLASSES, source)
    label_of = {name: label for label, name in enumerate(classes)}
    listed = {"train": _training(members, root)}
    listed["validation"] = sorted(
        (f"{root}val/images/{fields[0]}", fields[1])
        for line in _lines(members, root + _ANNOTATIONS, source)
        for fields in [line.split("\t")]
    )
    _check(
        source, [pair for part in listed.values() for pair in part], members, classes
    )
    parts = {}
    for part, pairs in listed.items():
        images = np.empty((len(pairs), _SIZE, _SIZE, 3), "uint8")
        for row, (name, _) in enumerate(pairs):
            images[row] = _decoded(members, name, source)
        parts[part] = images, np.array([label_of[wnid] for _, wnid in pairs], "int32")
    return parts, tuple(classes)


def _root(names: Sequence[str]) -> str | None:
    """The top folder with its `/`, empty where there is none."""
    roots = [name.removesuffix(_CLASSES) for name in names if _ends(name, _CLASSES)]
    present = set(names)
    roots = [root for root in roots if root + _ANNOTATIONS in present]
    return min(roots, key=len) if roots else None


def _ends(name: str, end: str) -> bool:
    return name == end or name.endswith(f"/{end}")


def _training(members: Members, root: str) -> list[tuple[str, str]]:
    start = f"{root}train/"
    return sorted(
        (name, name.removeprefix(start).split("/")[0])
        for name in members.names
        if name.startswith(start) and name.lower().endswith((".jpeg", ".jpg"))
    )


def _lines(members: Members, name: str, source: pathlib.Path) -> list[str]:
    if name not in members.names:
        raise ValueError(f"There should be {name} of Tiny ImageNet. Received: {source}")
    text = members.read(name).decode("utf-8", "replace")
    return [line.strip("\r") for line in text.split("\n") if line.strip()]


def _decoded(members: Members, name: str, source: pathlib.Path) -> np.ndarray:
    told = f"{name} in {source}"
    image = _images.read_rgb(functools.partial(members.read, name), told)
    if image.shape != (_SIZE, _SIZE, 3):
        raise ValueError(
            f"{told} should have {_SIZE} x {_SIZE} pixels. "
            f"Received: shape {image.shape}"
        )
    return image


def _check(
    source: pathlib.Path,
    pairs: Sequence[tuple[str, str]],
    members: Members,
    classes: Sequence[str],
) -> None:
    present = set(members.names)
    missing = [name for name, _ in pairs if name not in present]
    if missing:
        raise ValueError(
            f"{source} lacks {len(missing)} images that its label file names. "
            f"Received: {', '.join(missing[:5])}"
        )
    unknown = sorted({wnid for _, wnid in pairs} - set(classes))
    if unknown or len(classes) != 200 or len(set(classes)) != 200:
        raise ValueError(
            f"{source} should hold images of 200 classes, named in {_CLASSES}. "
            f"Received: {len(set(classes))} names; unnamed: {unknown[:5]}"
        )
