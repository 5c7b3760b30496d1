"""Image files as arrays."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable

import numpy as np


def read_rgb(read: Callable[[], bytes], name: str) -> np.ndarray:
    """Decodes an image file; grey becomes three equal channels.

    Args:
        read: Gives the file's content.
        name: What to call the file in a message.

    Returns:
        uint8 array (height, width, 3).

    Raises:
        ValueError: If the content cannot be read or is no image.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(read())) as image:
            return np.asarray(image.convert("RGB"))
    # Pillow calls a broken PNG a syntax error.
    except (OSError, SyntaxError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"{name} is damaged. Received: {type(error).__name__}: {error}"
        ) from error
