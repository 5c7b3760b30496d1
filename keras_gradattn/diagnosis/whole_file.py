"""Files that are either whole or as they were."""

import contextlib
import os
import tempfile
from pathlib import Path


def write_whole(path: str | os.PathLike[str], text: str) -> None:
    """Write text beside a file and move it into place, so that no reader sees a part.

    Args:
        path: File to write.
        text: Its content.
    """
    place = Path(path)
    handle, beside = tempfile.mkstemp(
        dir=place.parent, prefix=f".{place.name}.", suffix=".partial"
    )
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        # A file that is made like this is private; a report is for everybody.
        os.chmod(beside, 0o644)
        os.replace(beside, place)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.remove(beside)
        raise
