"""Decoded images kept beside the files that they come from."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Parts = Mapping[str, tuple[np.ndarray, np.ndarray]]
_ABOUT = "about.json"


def folder_of(source: pathlib.Path) -> pathlib.Path:
    """Where the decoded images of `source` are kept: beside it."""
    return source.with_name(f"{source.name}.decoded")


def read(
    source: pathlib.Path, state: Mapping[str, Any]
) -> tuple[Parts, tuple[str, ...]] | None:
    """The kept images, memory-mapped, and class names; `None` if there are none.

    Args:
        source: The copy.
        state: What tells this state of the copy from another one.
    """
    folder = folder_of(source)
    try:
        found = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
        if found["state"] != dict(state):
            return None
        parts = {
            part: (
                np.load(folder / f"{part}_images.npy", mmap_mode="r"),
                np.load(folder / f"{part}_labels.npy"),
            )
            for part in found["parts"]
        }
        return parts, tuple(found["class_names"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write(
    source: pathlib.Path,
    state: Mapping[str, Any],
    parts: Parts,
    class_names: Sequence[str],
) -> None:
    """Keeps decoded images, all of them or none; does nothing where it may not write.

    Args:
        source: The copy.
        state: What tells this state of the copy from another one.
        parts: Images and labels of each part.
        class_names: Classes in label order.
    """
    folder = folder_of(source)
    with contextlib.suppress(OSError):
        temporary = pathlib.Path(
            tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent)
        )
        try:
            for part, (images, labels) in parts.items():
                np.save(temporary / f"{part}_images.npy", images)
                np.save(temporary / f"{part}_labels.npy", labels)
            content = {
                "state": dict(state),
                "parts": list(parts),
                "class_names": list(class_names),
            }
            (temporary / _ABOUT).write_text(json.dumps(content), encoding="utf-8")
            if folder.exists():
                shutil.rmtree(folder)
            os.replace(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
