"""Small data from seeds, and what can be wrong with it.

Every source gives standardised inputs. The validation rows stay sound whatever is done
to the training rows, except where a fault is one of preparation, which both go through.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

Arrays = tuple[Any, np.ndarray]


@dataclass(frozen=True)
class Source:
    """A maker of rows.

    Args:
        make: `(rows, generator)` to inputs and targets.
        task: `"classes"`, `"binary"` or `"number"`.
        floor: The least validation metric of a healthy training.
        classes: Number of classes; 1 for numbers and for a binary target.
        tokens: Size of the vocabulary where inputs are tokens, else 0.
    """

    make: Callable[[int, np.random.Generator], Arrays]
    task: str
    floor: float
    classes: int = 1
    tokens: int = 0


@dataclass(frozen=True)
class Rows:
    """Training and validation rows of one program."""

    x: Any
    y: np.ndarray
    validation_x: Any
    validation_y: np.ndarray
    source: Source


def _blobs(rows: int, random: np.random.Generator) -> Arrays:
    centres = np.random.default_rng(7).normal(size=(4, 8)) * 1.6
    y = random.integers(4, size=rows)
    return centres[y] + random.normal(size=(rows, 8)), y


def _moons(rows: int, random: np.random.Generator) -> Arrays:
    y = random.integers(2, size=rows)
    angle = random.uniform(0, np.pi, rows)
    x = np.stack([np.cos(angle), np.sin(angle)], 1)
    x = np.where(y[:, None], [1, 0.5] - x, x)
    return x + random.normal(size=x.shape) * 0.15, y


def _circles(rows: int, random: np.random.Generator) -> Arrays:
    y = random.integers(3, size=rows)
    angle = random.uniform(0, 2 * np.pi, rows)
    radius = 0.5 + y + random.normal(size=rows) * 0.12
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1), y


def _checkers(rows: int, random: np.random.Generator) -> Arrays:
    x = random.uniform(-1, 1, size=(rows, 4))
    return x, (x[:, 0] * x[:, 1] > 0).astype("int64")


def _parity(rows: int, random: np.random.Generator) -> Arrays:
    x = random.integers(2, size=(rows, 6)) * 2.0 - 1
    return x, (x[:, :3].prod(axis=1) > 0).astype("int64")


def _friedman(rows: int, random: np.random.Generator) -> Arrays:
    # Friedman 1991, "Multivariate adaptive regression splines", equation 61.
    x = random.uniform(size=(rows, 8))
    y = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2
    return x, y + 10 * x[:, 3] + 5 * x[:, 4] + random.normal(size=rows)


def _sine(rows: int, random: np.random.Generator) -> Arrays:
    x = random.uniform(-1, 1, size=(rows, 1))
    return x, np.sin(5 * x[:, 0]) + random.normal(size=rows) * 0.1


def _plane(rows: int, random: np.random.Generator) -> Arrays:
    x = random.normal(size=(rows, 6))
    return x, x @ np.linspace(-1, 1, 6) + random.normal(size=rows) * 0.2


def _bars(rows: int, random: np.random.Generator) -> Arrays:
    """Horizontal, vertical or diagonal bars somewhere on a 10x10 grey image."""
    y = random.integers(3, size=rows)
    x = random.normal(size=(rows, 10, 10, 1)) * 0.3
    for image, kind in zip(x, y, strict=True):
        at = random.integers(1, 9)
        steps = np.arange(10)
        across = np.full(10, at)
        rows_, columns = [(across, steps), (steps, across), (steps, (steps + at) % 10)][
            kind
        ]
        image[rows_, columns, 0] += 1.5
    return x, y


def _patches(rows: int, random: np.random.Generator) -> Arrays:
    """A coloured patch on a 12x12 colour image; the class is its colour and size."""
    y = random.integers(4, size=rows)
    x = random.normal(size=(rows, 12, 12, 3)) * 0.3
    for image, kind in zip(x, y, strict=True):
        size = 3 if kind < 2 else 6
        top, left = random.integers(12 - size, size=2)
        image[top : top + size, left : left + size, kind % 2] += 1.5
    return x, y


def _sign_of_sum(rows: int, random: np.random.Generator) -> Arrays:
    x = random.normal(size=(rows, 12, 2))
    return x, (x[:, :, 0].sum(axis=1) > 0).astype("int64")


def _waves(rows: int, random: np.random.Generator) -> Arrays:
    y = random.integers(3, size=rows)
    start = random.uniform(0, 2 * np.pi, size=(rows, 1))
    time = np.arange(16)[None]
    x = np.sin(start + time * (0.4 + 0.5 * y[:, None]))
    return (x + random.normal(size=x.shape) * 0.3)[..., None], y


def _running_mean(rows: int, random: np.random.Generator) -> Arrays:
    x = random.normal(size=(rows, 10, 2))
    y = (x[:, :, 0] * np.linspace(0.2, 1, 10)).sum(axis=1)
    return x, y + random.normal(size=rows) * 0.1


def _words(rows: int, random: np.random.Generator) -> Arrays:
    """Sentences of 4 to 12 tokens, 0 behind them; most tokens lean to one class."""
    y = random.integers(2, size=rows)
    x = random.integers(1, 20, size=(rows, 12))
    leaning = random.uniform(size=x.shape) < 0.35
    x = np.where(leaning, 1 + 3 * y[:, None] + random.integers(3, size=x.shape), x)
    length = random.integers(4, 13, size=(rows, 1))
    return np.where(np.arange(12) < length, x, 0), y


def _two_tables(rows: int, random: np.random.Generator) -> Arrays:
    """Two inputs of which both are needed."""
    first, second = random.normal(size=(2, rows, 4))
    y = (first[:, 0] + first[:, 1] > 0) * 2 + (second[:, 0] - second[:, 1] > 0)
    return (first, second), y


def _threshold(rows: int, random: np.random.Generator) -> Arrays:
    x = random.uniform(size=(rows, 1))
    return x, (x[:, 0] > 0.5).astype("int64")


def _quartic(rows: int, random: np.random.Generator) -> Arrays:
    x = random.uniform(-1, 1, size=(rows, 1))
    return x, x[:, 0] ** 4


def _line(rows: int, random: np.random.Generator) -> Arrays:
    x = random.uniform(-1, 1, size=(rows, 1))
    return x, 2 * x[:, 0] - 1


@lru_cache
def _bundled(name: str) -> Arrays:
    from sklearn import datasets

    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return x, y


def _from_bundle(name: str, shape: tuple[int, ...] = ()) -> Callable[..., Arrays]:
    def make(rows: int, random: np.random.Generator) -> Arrays:
        x, y = _bundled(name)
        chosen = random.permutation(len(x))[:rows]
        return x[chosen].reshape(-1, *(shape or x.shape[1:])), y[chosen]

    return make


SOURCES = {
    "blobs": Source(_blobs, "classes", 0.85, 4),
    "moons": Source(_moons, "binary", 0.9),
    "circles": Source(_circles, "classes", 0.85, 3),
    "checkers": Source(_checkers, "binary", 0.8),
    "parity": Source(_parity, "binary", 0.9),
    "iris": Source(_from_bundle("iris"), "classes", 0.85, 3),
    "wine": Source(_from_bundle("wine"), "classes", 0.9, 3),
    "cancer": Source(_from_bundle("breast_cancer"), "binary", 0.9),
    "digits": Source(_from_bundle("digits"), "classes", 0.8, 10),
    "digit_images": Source(_from_bundle("digits", (8, 8, 1)), "classes", 0.8, 10),
    "friedman": Source(_friedman, "number", 0.6),
    "sine": Source(_sine, "number", 0.6),
    "plane": Source(_plane, "number", 0.8),
    "diabetes": Source(_from_bundle("diabetes"), "number", 0.3),
    "threshold": Source(_threshold, "binary", 0.9),
    "quartic": Source(_quartic, "number", 0.8),
    "line": Source(_line, "number", 0.9),
    "bars": Source(_bars, "classes", 0.8, 3),
    "patches": Source(_patches, "classes", 0.8, 4),
    "sign_of_sum": Source(_sign_of_sum, "binary", 0.85),
    "waves": Source(_waves, "classes", 0.85, 3),
    "running_mean": Source(_running_mean, "number", 0.7),
    "words": Source(_words, "binary", 0.8, tokens=20),
    "two_tables": Source(_two_tables, "classes", 0.8, 4),
}


def load(data: Any, seed: int = 0) -> Rows:
    """The rows of a program.

    Args:
        data: A `Data`.
        seed: Of the rows and of everything done to them. Defaults to 0.
    """
    source = SOURCES[data.source]
    random = np.random.default_rng([seed, 1])
    x, y = source.make(2 * data.rows, random)
    half = len(y) // 2
    y = y.astype("float32" if source.task == "number" else "int64")
    if source.task == "number":
        y = (y - y[:half].mean()) / y[:half].std()
    parts = _parts(x, lambda part: _standardised(part, half, source, data.scale))
    rows = Rows(
        _parts(parts, lambda part: part[:half]),
        _noisy(y[:half], data.label_noise, source, random),
        _parts(parts, lambda part: part[half:]),
        y[half:],
        source,
    )
    for fault in data.faults:
        rows = FAULTS[fault](rows, random)
    return rows


def _parts(x: Any, change: Callable[[np.ndarray], np.ndarray]) -> Any:
    return tuple(change(part) for part in x) if isinstance(x, tuple) else change(x)


def _standardised(x: np.ndarray, half: int, source: Source, scale: float) -> np.ndarray:
    if source.tokens:
        return x.astype("int32")
    # Images keep their pixels comparable; tables are standardised by column.
    axes = 0 if x.ndim == 2 else tuple(range(x.ndim))
    mean, deviation = x[:half].mean(axis=axes), x[:half].std(axis=axes)
    return ((x - mean) / np.maximum(deviation, 1e-3) * scale).astype("float32")


def _noisy(
    y: np.ndarray, share: float, source: Source, random: np.random.Generator
) -> np.ndarray:
    if not share:
        return y
    if source.task == "number":
        return (y + share * random.normal(size=y.shape)).astype("float32")
    drawn = random.integers(max(source.classes, 2), size=y.shape)
    return np.where(random.uniform(size=y.shape) < share, drawn, y)


def _training(rows: Rows, x: Any, y: np.ndarray) -> Rows:
    return dataclasses.replace(rows, x=x, y=y)


def _chosen(rows: Rows, where: np.ndarray) -> Rows:
    return _training(rows, _parts(rows.x, lambda part: part[where]), rows.y[where])


def _both(rows: Rows, change: Callable[[np.ndarray], np.ndarray]) -> Rows:
    return dataclasses.replace(
        rows,
        x=_parts(rows.x, change),
        validation_x=_parts(rows.validation_x, change),
    )


def _unscaled(rows: Rows, random: np.random.Generator) -> Rows:
    return _both(rows, lambda x: x * 300 + 1000)


def _overflowing(rows: Rows, random: np.random.Generator) -> Rows:
    return _both(rows, lambda x: x * 30000)


def _constant_columns(rows: Rows, random: np.random.Generator) -> Rows:
    def change(x: np.ndarray) -> np.ndarray:
        x = x.copy()
        flat = x.reshape(len(x), -1)
        flat[:, : flat.shape[1] * 3 // 4] = 0.5
        return x

    return _both(rows, change)


def _nan_inputs(rows: Rows, random: np.random.Generator) -> Rows:
    def change(x: np.ndarray) -> np.ndarray:
        x = x.copy()
        x[random.integers(len(x), size=max(1, len(x) // 100))] = np.nan
        return x

    return _training(rows, _parts(rows.x, change), rows.y)


def _infinite_inputs(rows: Rows, random: np.random.Generator) -> Rows:
    def change(x: np.ndarray) -> np.ndarray:
        x = x.copy()
        x.reshape(len(x), -1)[random.integers(len(x), size=3), 0] = np.inf
        return x

    return _training(rows, _parts(rows.x, change), rows.y)


def _nan_targets(rows: Rows, random: np.random.Generator) -> Rows:
    y = rows.y.copy()
    y[random.integers(len(y), size=max(1, len(y) // 100))] = np.nan
    return _training(rows, rows.x, y)


def _sorted(rows: Rows, random: np.random.Generator) -> Rows:
    return _chosen(rows, np.argsort(rows.y, kind="stable"))


def _permuted(rows: Rows, random: np.random.Generator) -> Rows:
    return _training(rows, rows.x, random.permutation(rows.y))


def _class_missing(rows: Rows, random: np.random.Generator) -> Rows:
    return _chosen(rows, rows.y != rows.y.max())


def _labels_outside(rows: Rows, random: np.random.Generator) -> Rows:
    """Labels counted from 1."""
    return dataclasses.replace(rows, y=rows.y + 1, validation_y=rows.validation_y + 1)


def _leaking(rows: Rows, random: np.random.Generator) -> Rows:
    """Validation rows drawn from the training rows."""
    drawn = random.permutation(len(rows.y))[: len(rows.y) // 2]
    return dataclasses.replace(
        rows,
        validation_x=_parts(rows.x, lambda part: part[drawn]),
        validation_y=rows.y[drawn],
    )


def _imbalanced(rows: Rows, random: np.random.Generator) -> Rows:
    """Of every class but one, two rows in a hundred stay."""
    common = rows.y == rows.y.min()
    return _chosen(rows, common | (random.uniform(size=len(rows.y)) < 0.02))


def _large_targets(rows: Rows, random: np.random.Generator) -> Rows:
    def change(y: np.ndarray) -> np.ndarray:
        return (y * 2e4 + 1e5).astype("float32")

    return dataclasses.replace(
        rows, y=change(rows.y), validation_y=change(rows.validation_y)
    )


def _moved(scale: float, shift: float = 0.0) -> Callable[..., Rows]:
    def change(rows: Rows, random: np.random.Generator) -> Rows:
        return _both(rows, lambda x: (x * scale + shift).astype("float32"))

    return change


def _quartic_units(rows: Rows, random: np.random.Generator) -> Rows:
    rows = _both(rows, lambda x: x * 58)
    return dataclasses.replace(
        rows, y=rows.y * 3e7, validation_y=rows.validation_y * 3e7
    )


def _targets_1000(rows: Rows, random: np.random.Generator) -> Rows:
    return dataclasses.replace(
        rows, y=rows.y * 300 + 1000, validation_y=rows.validation_y * 300 + 1000
    )


def _split_after_sorting(rows: Rows, random: np.random.Generator) -> Rows:
    """Sort all rows by class, and validate on the last half."""
    y = np.concatenate([rows.y, rows.validation_y])
    x = np.concatenate([rows.x, rows.validation_x])
    order, half = np.argsort(y, kind="stable"), len(rows.y)
    x, y = x[order], y[order]
    return dataclasses.replace(
        rows, x=x[:half], y=y[:half], validation_x=x[half:], validation_y=y[half:]
    )


def _validated_on_training(rows: Rows, random: np.random.Generator) -> Rows:
    return dataclasses.replace(rows, validation_x=rows.x, validation_y=rows.y)


FAULTS: dict[str, Callable[[Rows, np.random.Generator], Rows]] = {
    "unscaled": _unscaled,
    "overflowing": _overflowing,
    "constant_columns": _constant_columns,
    "nan_inputs": _nan_inputs,
    "infinite_inputs": _infinite_inputs,
    "nan_targets": _nan_targets,
    "sorted": _sorted,
    "permuted": _permuted,
    "class_missing": _class_missing,
    "labels_outside": _labels_outside,
    "leaking": _leaking,
    "imbalanced": _imbalanced,
    "large_targets": _large_targets,
    "to_255": _moved(64, 128),
    "to_500": _moved(150, 250),
    "to_100000": _moved(29000, 50000),
    "all_zero": _moved(0),
    "inputs_100_targets_1e8": _quartic_units,
    "targets_1000": _targets_1000,
    "split_after_sorting": _split_after_sorting,
    "validated_on_training": _validated_on_training,
}
