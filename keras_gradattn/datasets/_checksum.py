"""MD5 sums of files."""

from __future__ import annotations

import hashlib
import pathlib

_CHUNK = 2**20


def md5_of(path: pathlib.Path) -> str:
    """The MD5 sum of a file, read piece by piece.

    Args:
        path: The file.
    """
    # `hashlib.file_digest` is newer than Python 3.10.
    found = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as stream:
        while chunk := stream.read(_CHUNK):
            found.update(chunk)
    return found.hexdigest()
