"""The data that a run trains on: a published set by its name, or one's own."""

import dataclasses
import inspect
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from keras_gradattn import datasets
from keras_gradattn.datasets import DatasetSpec, DatasetSplits, Split
from keras_gradattn.datasets._names import suggestion
from keras_gradattn.datasets.splits import NAMES
from keras_gradattn.training._networks import fingerprint

Data: TypeAlias = "str | os.PathLike[str] | DatasetSplits"

_TABLES = (".csv", ".tsv")
# Options that nobody has to give.
_ALWAYS = {"seed", "limit"}


@dataclasses.dataclass(frozen=True)
class RunData:
    """What is trained on. It travels to further processes as it is.

    Args:
        spec: Description of the data set.
        content: Fingerprint of data of one's own, `None` for a published set.
        splits: The parts, or `None` where they are read by name.
        options: Arguments of `datasets.load` to read them with.
    """

    spec: DatasetSpec
    content: str | None
    splits: DatasetSplits | None
    options: Mapping[str, Any]

    def load(self, download: bool = False) -> DatasetSplits:
        """The three parts."""
        if self.splits is not None:
            return self.splits
        return datasets.load(self.spec.name, download=download, **self.options)


def choose_data(
    data: Data,
    options: Mapping[str, Any],
    *,
    download: bool,
    data_options: Mapping[str, Any],
    seen: dict[str, RunData] | None = None,
) -> RunData:
    """What `run` was given, as a data set.

    Args:
        data: Name of a data set, folder of images, table of images, or parts.
        options: `data_dir`, `seed`, `group`, `limit` and `engine`, for `datasets.load`.
        download: Whether a missing data set may be downloaded.
        data_options: Further arguments of what reads the data.
        seen: Data that was read before, and is not read again.

    Raises:
        DatasetNotFoundError: If there is no such folder or data set.
        ValueError: If a name or option is unknown, or an image may have several labels.
    """
    if isinstance(data, str) and data in datasets.SPECS:
        if data_options:
            raise ValueError(
                f"{data} is divided and resized as published. "
                f"Received: data_options={dict(data_options)}"
            )
        return RunData(datasets.spec(data), None, None, dict(options))
    asked = repr((data, sorted(options.items()), sorted(data_options.items())))
    if seen is not None and asked in seen:
        return seen[asked]
    splits = _read(data, options, download, data_options)
    if splits.spec.multi_label:
        raise ValueError(
            "A run trains with one class an image. Received: "
            f"{splits.spec.title}, whose images may have several labels"
        )
    found = RunData(splits.spec, _fingerprint(splits), splits, {})
    if seen is not None:
        seen[asked] = found
    return found


def _read(
    data: Data,
    options: Mapping[str, Any],
    download: bool,
    data_options: Mapping[str, Any],
) -> DatasetSplits:
    if isinstance(data, DatasetSplits):
        if data_options:
            raise ValueError(
                "A data set that is read takes no more options. "
                f"Received: data_options={dict(data_options)}"
            )
        return _limited(data, options["limit"], options["seed"])
    if not isinstance(data, str | os.PathLike):
        raise ValueError(
            "`data` should be a name, a folder, a table or a data set. Make one of "
            "arrays with `datasets.from_arrays`, and of a tf.data.Dataset, a loader or "
            "the like with `datasets.from_source`. "
            f"Received: data of type {type(data).__name__}"
        )
    division = {"seed": options["seed"], "limit": options["limit"], **data_options}
    path = Path(data).expanduser()
    if path.suffix.lower() in _TABLES:
        if path.is_file():
            return _called(datasets.from_table, path, division)
    elif path.is_dir():
        return _called(datasets.from_folder, path, division)
    elif path.is_file():
        raise ValueError(
            "Images come from a folder or from a table "
            f"({' or '.join(_TABLES)}). Received: the file {os.fspath(data)!r}"
        )
    if isinstance(data, str) and not _is_meant_as_a_path(data):
        by_name = {key: value for key, value in options.items() if value is not None}
        if data_options:
            return _called(
                datasets.from_tfds,
                data,
                {**by_name, **data_options, "download": download},
            )
        return datasets.load(data, download=download, **options)
    raise datasets.DatasetNotFoundError(
        f"There is no such folder or table.{_neighbour(path)} "
        f"Received: {os.fspath(data)!r}"
    )


def _is_meant_as_a_path(text: str) -> bool:
    # Names of TFDS may have a slash in the middle.
    return (
        text.startswith((".", "~", "/", os.sep))
        or text.endswith(("/", os.sep))
        or Path(text).suffix.lower() in _TABLES
        # `photos/2024` beside the folder `photos`.
        or (Path(text).parent != Path() and Path(text).parent.is_dir())
    )


def _called(function: Any, data: Any, options: Mapping[str, Any]) -> DatasetSplits:
    known = inspect.signature(function).parameters
    for name in options:
        if name not in known:
            raise ValueError(
                f"There is no such option of {function.__name__}."
                f"{suggestion(name, known)} Known: "
                f"{', '.join(list(known)[1:])}. Received: {name!r}"
            )
    needed = [
        name
        for name, parameter in list(known.items())[1:]
        if parameter.default is parameter.empty and name not in options
    ]
    if needed:
        raise ValueError(
            f"{function.__name__} needs {' and '.join(needed)}. "
            f"Received: {', '.join(set(options) - _ALWAYS) or 'no option'}"
        )
    splits: DatasetSplits = function(data, **options)
    return splits


def _neighbour(path: Path) -> str:
    """`Did you mean ...?` among what stands beside a path that is not there."""
    parent = path.parent
    if not parent.is_dir():
        return ""
    return suggestion(path.name, [entry.name for entry in parent.iterdir()])


def _limited(splits: DatasetSplits, limit: int | None, seed: int) -> DatasetSplits:
    """At most so many images of each part, chosen at random as everywhere else."""
    if limit is None:
        return splits
    if limit < 1:
        raise ValueError(f"`limit` should be positive. Received: limit={limit}")
    random = np.random.default_rng(seed)
    parts: dict[str, Split] = {}
    for name in NAMES:
        part = getattr(splits, name)
        kept = np.sort(random.permutation(len(part))[:limit])
        chosen = getattr(part.images, "chosen", None)
        images = part.images[kept] if chosen is None else chosen(kept)
        parts[name] = Split(name, images, part.labels[kept], part.rows[kept])
    return dataclasses.replace(
        splits,
        train=parts["train"],
        validation=parts["validation"],
        test=parts["test"],
    )


def _fingerprint(splits: DatasetSplits) -> str:
    """Changes with every image that is added, left out, moved or labelled otherwise.

    Pixels count through their mean and deviation only, with few digits: another
    decoder's rounding is no other data.
    """
    spec = splits.spec
    parts = [getattr(splits, name) for name in NAMES]
    return fingerprint(
        {
            "classes": spec.class_names,
            "input": spec.input_shape,
            "resize": spec.resize,
            "levels": [float(level) for level in spec.levels],
            "mean": [round(value, 3) for value in spec.mean],
            "std": [round(value, 3) for value in spec.std],
            "augmentation": [entry.to_dict() for entry in spec.augmentation],
            "batch_size": spec.batch_size,
            "labels": [np.asarray(part.labels).tolist() for part in parts],
            "rows": [np.asarray(part.rows).tolist() for part in parts],
        }
    )
