"""Files of a folder, a zip or a tar archive, read one way."""

from __future__ import annotations

import contextlib
import os
import pathlib
import tarfile
import zipfile
from collections.abc import Iterator
from typing import Protocol

from keras_gradattn.datasets import _archive

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")


class Members(Protocol):
    """Files by name, with `/` between folders."""

    names: list[str]

    def read(self, name: str) -> bytes:
        """Content of one file."""
        ...


@contextlib.contextmanager
def open_members(path: pathlib.Path) -> Iterator[Members]:
    """Opens a folder or an archive; nothing is ever unpacked to disk.

    Args:
        path: A folder, or a file whose name ends like one of `ARCHIVES`.

    Raises:
        ValueError: If an archive is damaged, or a member's path leads outside.
    """
    if path.is_dir():
        yield _Folder(path)
    elif path.name.endswith(".zip"):
        with _archive.open_zip(path) as archive:
            yield _Zip(archive)
    else:
        with _open_tar(path) as archive:
            yield _Tar(path, archive)


class _Folder:
    def __init__(self, path: pathlib.Path):
        self._path = path
        self.names = [
            (pathlib.Path(folder) / name).relative_to(path).as_posix()
            for folder, _, names in os.walk(path)
            for name in names
        ]

    def read(self, name: str) -> bytes:
        return (self._path / name).read_bytes()


class _Zip:
    def __init__(self, archive: zipfile.ZipFile):
        self._archive = archive
        self.names = [name for name in archive.namelist() if not name.endswith("/")]

    def read(self, name: str) -> bytes:
        return self._archive.read(name)


class _Tar:
    def __init__(self, path: pathlib.Path, archive: tarfile.TarFile):
        self._archive = archive
        with _told_where_damaged(path):
            members = archive.getmembers()
        self.names = [member.name for member in members if member.isfile()]

    def read(self, name: str) -> bytes:
        stream = self._archive.extractfile(name)
        assert stream is not None  # Only regular files are named.
        with stream, _told_where_damaged(pathlib.Path(str(self._archive.name))):
            return stream.read()


def _open_tar(path: pathlib.Path) -> tarfile.TarFile:
    with _told_where_damaged(path):
        return tarfile.open(path)


@contextlib.contextmanager
def _told_where_damaged(path: pathlib.Path) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, tarfile.TarError) as error:
        raise ValueError(
            f"{path} cannot be read as a tar archive: it is damaged or incomplete. "
            f"Received: {type(error).__name__}: {error}"
        ) from error
