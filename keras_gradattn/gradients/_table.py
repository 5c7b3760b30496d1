"""Columns of equal length that grow by chunks."""

from collections.abc import Mapping

import numpy as np


class Table:
    """Numbers per row, in columns of any further shape.

    Args:
        shapes: Per column the shape of one row's entry.
    """

    def __init__(self, **shapes: tuple[int, ...]) -> None:
        self.shapes: Mapping[str, tuple[int, ...]] = shapes
        self.chunks: list[dict[str, np.ndarray]] = []

    def append(self, mask: np.ndarray, **columns: np.ndarray) -> None:
        """Add those rows where the mask is true."""
        if not np.any(mask):
            return
        self.chunks.append(
            {key: np.asarray(columns[key], "float64")[mask] for key in self.shapes}
        )

    def keep(self, mask: np.ndarray) -> None:
        """Drop the rows where the mask is false."""
        self.chunks = [{key: self[key][mask] for key in self.shapes}]

    def spread(self, key: str, places: np.ndarray, width: int, empty: float) -> None:
        """Give a column more entries a row: the old ones go to `places`."""
        values = self[key]
        wider = np.full((len(values), width, *values.shape[2:]), empty)
        wider[:, places] = values
        self.shapes = {**self.shapes, key: (width, *self.shapes[key][1:])}
        if self.chunks:
            self.chunks[0][key] = wider

    def __getitem__(self, key: str) -> np.ndarray:
        if len(self.chunks) > 1:
            self.chunks = [
                {
                    name: np.concatenate([chunk[name] for chunk in self.chunks])
                    for name in self.shapes
                }
            ]
        if not self.chunks:
            return np.zeros((0, *self.shapes[key]))
        return self.chunks[0][key]

    def __len__(self) -> int:
        return sum(len(next(iter(chunk.values()))) for chunk in self.chunks)
