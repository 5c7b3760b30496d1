"""MD5 sums of files, by which their authors publish them."""

from __future__ import annotations

import hashlib
import os


def md5_of(path: str | os.PathLike[str]) -> str:
    """The MD5 sum of a file, as hexadecimal digits."""
    digest = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as stream:
        # `hashlib.file_digest` came with Python 3.11.
        while part := stream.read(2**20):
            digest.update(part)
    return digest.hexdigest()
