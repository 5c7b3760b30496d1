"""Zip archives, read member by member: nothing is ever unpacked to disk."""

from __future__ import annotations

import os
import pathlib
import zipfile


def open_zip(path: str | os.PathLike[str]) -> zipfile.ZipFile:
    """Opens an archive whose members all stay inside its folder.

    Args:
        path: The archive.

    Raises:
        ValueError: If it is damaged, or a member's path leads outside.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} cannot be read as a zip archive: it is damaged or incomplete. "
            f"Received: {type(error).__name__}: {error}"
        ) from error
    for name in archive.namelist():
        if not is_confined(name):
            archive.close()
            raise ValueError(
                f"{path} holds a member whose path leads outside its folder. "
                f"Received: {name!r}"
            )
    return archive


def is_confined(name: str) -> bool:
    """Whether a relative path stays inside the folder that it starts from."""
    for flavour in (pathlib.PurePosixPath, pathlib.PureWindowsPath):
        path = flavour(name)
        if path.is_absolute() or path.drive or path.root or ".." in path.parts:
            return False
    return True


def read_lines(archive: zipfile.ZipFile, name: str) -> list[str]:
    """Lines of a text member, without empty ones.

    Raises:
        ValueError: If the archive has no such member.
    """
    try:
        text = archive.read(name).decode("utf-8")
    except KeyError:
        raise ValueError(
            f"{archive.filename} lacks its label file {name}: the archive is "
            f"incomplete or another one. Received: {len(archive.namelist())} members"
        ) from None
    return [line.strip("\r") for line in text.split("\n") if line.strip()]
