"""Files that are either whole or not there."""

import contextlib
import json
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from keras_gradattn._whole_files import replace_file
from keras_gradattn.training._reduction import to_json


def write_json(path: Path, content: Any) -> None:
    """Write `content` as readable JSON, whole or not at all."""
    text = to_json(content)
    replace_file(path, lambda file: file.write((text + "\n").encode()))


def read_json(path: Path) -> Any:
    """Read JSON, naming the file where it is damaged."""
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{path} is not a result file. Move it away to run this experiment again. "
            f"Received: {error}"
        ) from None


@contextlib.contextmanager
def results_folder(folder: Path) -> Iterator[None]:
    """A folder for results; taken away again where nothing comes to stand in it.

    Raises:
        OSError: If it takes no files, which is found out before training.
    """
    made = [level for level in (folder, *folder.parents) if not level.exists()]
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            check_takes_files(folder)
        except OSError as error:
            raise OSError(
                f"The results folder cannot be written to ({error.strerror}). "
                f"Nothing was trained. Received: results={folder}"
            ) from error
        yield
    finally:
        remove_empty(made)


def check_takes_files(folder: Path) -> None:
    """Raises OSError unless files can be written into a folder."""
    with tempfile.TemporaryFile(dir=folder):
        pass


def remove_empty(folders: Iterable[Path]) -> None:
    """Take away folders that nothing stands in, the innermost first."""
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()
