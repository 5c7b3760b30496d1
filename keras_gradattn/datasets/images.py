"""What a part of a data set holds its images in: an array, or files read on demand."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

Array = NDArray[Any]


class Images(Protocol):
    """Images that look like one array (images, height, width, channels).

    Indexing with rows gives a NumPy array. `numpy.asarray` reads all of them.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Images, height, width, channels."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8; float32 in units of 0 to 255 where the source has finer levels."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any) -> Any: ...

    def __array__(self, *arguments: Any, **options: Any) -> Any: ...


class ChosenRows:
    """Some rows of images, without a copy.

    Args:
        images: All images.
        rows: The chosen ones, integers (chosen,).

    Example:

    >>> ChosenRows(np.arange(8).reshape(4, 2, 1, 1), np.array([3, 0]))[[0]].ravel()
    array([6, 7])
    """

    def __init__(self, images: Images, rows: ArrayLike):
        self._images = images
        self._rows = np.asarray(rows, dtype=np.int64)

    @property
    def shape(self) -> tuple[int, ...]:
        """Chosen images, height, width, channels."""
        return (len(self._rows), *self._images.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the images."""
        return self._images.dtype

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: Any) -> Any:
        if isinstance(rows, slice):
            return ChosenRows(self._images, self._rows[rows])
        return self._images[self._rows[rows]]

    def __array__(
        self, dtype: DTypeLike | None = None, copy: bool | None = None
    ) -> Array:
        return np.asarray(self._images[self._rows], dtype=dtype)

    def chosen(self, rows: Array) -> ChosenRows:
        """Some of these rows.

        Args:
            rows: Integers (chosen,).
        """
        return ChosenRows(self._images, self._rows[rows])

    def __repr__(self) -> str:
        return f"<{self.shape} {self.dtype}, rows of {type(self._images).__name__}>"
