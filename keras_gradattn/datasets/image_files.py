"""Image files, decoded on demand in the thread that asks for them."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike

from keras_gradattn.datasets.images import Array
from keras_gradattn.datasets.levels import EIGHT_BITS, Levels, to_units

if TYPE_CHECKING:
    from PIL import Image

RESIZES = ("stretch", "crop", "pad")
GREY = frozenset(("1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L", "I;16N"))
DEEP = GREY - {"1", "L", "LA", "La"}
_ORIENTATION = 0x0112
_WHITE = {1: "L", 3: "RGB"}


class BadFileError(ValueError):
    """A file that gives no image; the message is the reason."""


@dataclasses.dataclass(frozen=True)
class Reading:
    """How an image file becomes pixels.

    Args:
        size: Side of the square in pixels.
        channels: 1 (grey), 3 (colour), 4 (colour and opacity); `.npy` files have
            as many as they have.
        resize: `"stretch"` fills the square, `"crop"` cuts the middle out,
            `"pad"` puts black bars beside.
        levels: Stored levels that become 0 and 255, of files with more than 8 bits.
        deep: Whether the pixels are float32 because some files have more than 8 bits.
    """

    size: int
    channels: int
    resize: str = "stretch"
    levels: Levels = EIGHT_BITS
    deep: bool = False

    @property
    def dtype(self) -> str:
        """Type of the pixels."""
        return "float32" if self.deep else "uint8"


class ImageFiles:
    """Files as one array (files, height, width, channels), decoded when asked for.

    Nothing is kept in memory but the paths. Pillow lets other threads run while it
    decodes, so each thread that asks for rows works on its own.

    Args:
        paths: The files.
        reading: How to read them.

    Example:

    ```python
    images = ImageFiles(["cat.jpg", "dog.png"], splits.spec.reading)
    images[[0, 1]].shape  # (2, 224, 224, 3)
    ```
    """

    def __init__(self, paths: Sequence[str | os.PathLike[str]], reading: Reading):
        self.paths = [os.fspath(path) for path in paths]
        self.reading = reading

    @property
    def shape(self) -> tuple[int, ...]:
        """Files, height, width, channels."""
        size = self.reading.size
        return (len(self.paths), size, size, self.reading.channels)

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8, or float32 where files have more than 8 bits."""
        return np.dtype(self.reading.dtype)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, rows: Any) -> Any:
        if isinstance(rows, slice):
            return ImageFiles(self.paths[rows], self.reading)
        chosen = np.arange(len(self))[rows]
        if chosen.ndim == 0:
            return self._read(int(chosen))
        result = np.empty((len(chosen), *self.shape[1:]), self.dtype)
        for place, row in enumerate(chosen.tolist()):
            result[place] = self._read(row)
        return result

    def __array__(
        self, dtype: DTypeLike | None = None, copy: bool | None = None
    ) -> Array:
        return np.asarray(self[np.arange(len(self))], dtype=dtype)

    def chosen(self, rows: Array) -> ImageFiles:
        """Some of the files, still not read.

        Args:
            rows: Integers (chosen,).

        Returns:
            The chosen `ImageFiles`.
        """
        return ImageFiles([self.paths[row] for row in rows.tolist()], self.reading)

    def __repr__(self) -> str:
        return f"ImageFiles({len(self)} files, {self.reading})"

    def _read(self, row: int) -> Array:
        try:
            return read_image(self.paths[row], self.reading)
        except BadFileError as error:
            raise BadFileError(
                f"A file that could be read before cannot be read now. "
                f"Received: {self.paths[row]!r}: {error}"
            ) from error


def read_image(path: str, reading: Reading) -> Array:
    """Reads one file.

    Transparent pixels are laid on white, palettes become colours, photographs are
    turned upright as their EXIF entry says.

    Args:
        path: The file.
        reading: How to read it.

    Returns:
        Array (size, size, channels) of the type `reading.dtype`.

    Raises:
        BadFileError: If it is empty, truncated, damaged or no image.
    """
    pixels = read_levels(path, reading)
    if pixels.dtype == np.uint8:
        return pixels.astype("float32") if reading.deep else pixels
    scaled = to_units(pixels, reading.levels)
    rounded: Array = np.rint(scaled).astype("uint8")
    return scaled if reading.deep else rounded


def read_levels(path: str, reading: Reading) -> Array:
    """As `read_image`, but files of more than 8 bits keep their own levels.

    Returns:
        uint8 array (size, size, channels), or a float32 one in stored levels.
    """
    if path[-4:].lower() == ".npy":
        return _read_npy(path, reading)
    pixels: Array = _with_pillow(path, lambda image: _pixels(image, reading))
    return pixels


@dataclasses.dataclass(frozen=True)
class Header:
    """What a file says of itself before it is decoded.

    Args:
        width: Pixels in a row.
        height: Rows.
        channels: 1 for grey, 3 for colour; of an array its own.
        deep: Whether it has more than 8 bits a channel.
        integers: Whether its levels are integers.
    """

    width: int
    height: int
    channels: int
    deep: bool
    integers: bool


def read_header(path: str) -> Header:
    """Reads what comes before the pixels.

    Raises:
        BadFileError: If the file is empty or no image.
    """
    if path[-4:].lower() == ".npy":
        array = _load_npy(path)
        return Header(
            array.shape[1],
            array.shape[0],
            array.shape[2],
            array.dtype != np.uint8,
            array.dtype.kind in "iu",
        )
    header: Header = _with_pillow(path, _header)
    return header


def _header(image: Image.Image) -> Header:
    channels = 1 if image.mode in GREY else 3
    return Header(*image.size, channels, image.mode in DEEP, image.mode != "F")


_REGISTERING = threading.Lock()


def _with_pillow(path: str, function: Callable[[Image.Image], Any]) -> Any:
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise ImportError(
            "Image files are read with Pillow. Get it with: "
            "pip install 'keras-gradattn[data]'"
        ) from error
    try:
        if not Image.ID:
            # Threads that open the first files at once would each load the formats.
            with _REGISTERING:
                Image.init()
        with Image.open(path) as image:
            return function(image)
    except (BadFileError, MemoryError):
        raise
    except UnidentifiedImageError:
        empty = os.path.getsize(path) == 0
        raise BadFileError("empty" if empty else "not an image") from None
    # A damaged file raises whatever its format's reader stumbles over.
    except Exception as error:
        raise BadFileError(_reason(error)) from error


def _reason(error: Exception) -> str:
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(reason).split())


def _pixels(image: Image.Image, reading: Reading) -> Array:
    from PIL import Image

    if image.format == "JPEG":
        # The decoder halves a large photograph for nothing, never below the size.
        mode = "L" if reading.channels == 1 else "RGB"
        image.draft(mode, (reading.size, reading.size))
    image.load()
    orientation = image.getexif().get(_ORIENTATION, 1)
    if image.mode in DEEP:
        # As floats: one resize for every way of storing more than 8 bits.
        levels = np.array(image, dtype="float32")
        image = Image.fromarray(levels)
    else:
        image = _in_channels(image, reading.channels)
    image = _upright(_resized(image, reading), orientation)
    pixels = np.asarray(image)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.shape[-1] != reading.channels:
        # A deep grey file among colours.
        pixels = np.repeat(pixels[..., :1], reading.channels, axis=-1)
        if reading.channels == 4:
            pixels[..., 3] = reading.levels[1]
    return pixels


def _in_channels(image: Image.Image, channels: int) -> Image.Image:
    from PIL import Image

    if channels == 4:
        return image if image.mode == "RGBA" else image.convert("RGBA")
    mode = _WHITE.get(channels)
    if mode is None:
        raise BadFileError(f"no image file has {channels} channels, only .npy files do")
    if image.has_transparency_data:
        # What is under a transparent pixel is often black: nothing should be seen.
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image)
    return image if image.mode == mode else image.convert(mode)


def _resized(image: Image.Image, reading: Reading) -> Image.Image:
    from PIL import Image

    size = (reading.size, reading.size)
    width, height = image.size
    if (width, height) == size:
        return image
    if reading.resize == "crop":
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        return _bilinear(image, size, (left, top, left + side, top + side))
    if reading.resize == "pad":
        longer = max(width, height)
        inner_width, inner_height = (
            max(1, round(side * reading.size / longer)) for side in (width, height)
        )
        paper = Image.new(image.mode, size)
        paper.paste(
            _bilinear(image, (inner_width, inner_height)),
            ((reading.size - inner_width) // 2, (reading.size - inner_height) // 2),
        )
        return paper
    return _bilinear(image, size)


def _bilinear(
    image: Image.Image,
    size: tuple[int, int],
    box: tuple[float, float, float, float] | None = None,
) -> Image.Image:
    from PIL import Image

    # Averages whole pixels first as far as they go: a fifth less work, and a level of
    # difference in the mean.
    return image.resize(size, Image.Resampling.BILINEAR, box=box, reducing_gap=1.0)


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    from PIL import Image

    turn = Image.Transpose
    ways = {
        2: turn.FLIP_LEFT_RIGHT,
        3: turn.ROTATE_180,
        4: turn.FLIP_TOP_BOTTOM,
        5: turn.TRANSPOSE,
        6: turn.ROTATE_270,
        7: turn.TRANSVERSE,
        8: turn.ROTATE_90,
    }
    return image.transpose(ways[orientation]) if orientation in ways else image


def _load_npy(path: str) -> Array:
    try:
        array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        empty = os.path.exists(path) and os.path.getsize(path) == 0
        raise BadFileError("empty" if empty else _reason(error)) from error
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.dtype.kind not in "uif" or 0 in array.shape:
        raise BadFileError(
            f"should be (height, width, channels), not {array.dtype} {array.shape}"
        )
    return array


def _read_npy(path: str, reading: Reading) -> Array:
    return fit_array(_load_npy(path), reading)


def fit_array(array: Array, reading: Reading) -> Array:
    """Makes an array square, as an image file.

    Args:
        array: (height, width, channels), integers or floats.
        reading: The size, and how to get there.

    Returns:
        (size, size, channels): uint8, or float32 in stored levels.

    Raises:
        BadFileError: If it has other channels, or levels that are no numbers.
    """
    from PIL import Image

    if array.shape[-1] != reading.channels:
        raise BadFileError(f"{array.shape[-1]} channels instead of {reading.channels}")
    if array.dtype == np.uint8:
        if array.shape[:2] == (reading.size, reading.size):
            return array
        if reading.channels in (1, 3, 4):
            whole = array[..., 0] if reading.channels == 1 else array
            image = _resized(Image.fromarray(np.ascontiguousarray(whole)), reading)
            return np.asarray(image).reshape(reading.size, reading.size, -1)
    if not np.isfinite(array).all():
        raise BadFileError("has levels that are no numbers")
    planes = [
        _resized(Image.fromarray(array[..., channel].astype("float32")), reading)
        for channel in range(reading.channels)
    ]
    pixels = np.stack([np.asarray(plane) for plane in planes], axis=-1)
    rounded: Array = np.rint(pixels).astype("uint8")
    return rounded if array.dtype == np.uint8 else pixels
