"""A table that says which image has which label."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_gradattn.datasets._names import suggestion
from keras_gradattn.datasets.assembly import Collection, Division, assemble
from keras_gradattn.datasets.file_check import BadFile, check_files, some
from keras_gradattn.datasets.folder import PART_FOLDERS, image_paths
from keras_gradattn.datasets.images import Array
from keras_gradattn.datasets.labels import encode_labels, is_missing
from keras_gradattn.datasets.levels import Levels
from keras_gradattn.datasets.parts import DatasetNotFoundError, DatasetSplits
from keras_gradattn.datasets.specs import Augmentation
from keras_gradattn.datasets.splits import NAMES

Column = Sequence[Any]


def from_table(
    table: str | os.PathLike[str] | Mapping[str, Any],
    *,
    images: str,
    label: str | Sequence[str],
    group: str | None = None,
    part: str | None = None,
    folder: str | os.PathLike[str] | None = None,
    size: int | None = None,
    channels: int | None = None,
    resize: str = "stretch",
    levels: Levels | None = None,
    on_bad: str = "stop",
    validation: float = 0.15,
    test: float = 0.15,
    seed: int = 42,
    on_rare: str = "stop",
    limit: int | None = None,
    name: str | None = None,
    batch_size: int | None = None,
    augmentation: Sequence[Augmentation] | None = None,
) -> DatasetSplits:
    """Reads image files that a table lists, with their labels.

    Args:
        table: CSV or TSV file, or a mapping of columns, such as a pandas DataFrame.
        images: Column of the files: paths from `folder`, or names of files anywhere in
            it. Endings may be left out (`ISIC_0027419` for `ISIC_0027419.jpg`).
        label: Column of the labels. A list of columns of 0 and 1 makes the data set
            multi-label.
        group: Column that says which images must stay in one part, such as
            `"patient_id"`. Default: none.
        part: Column that says train, val (or valid, validation) or test.
        folder: Folder of the images. Default: the table's own.
        size: As for `from_folder`, like everything that follows.
        channels: 1 (grey), 3 (colour) or 4 (colour and opacity).
        resize: How images of another shape become square: `"stretch"` (the default),
            `"crop"` or `"pad"`.
        levels: Stored levels that are black and white, if there are more than 8 bits.
            Default: all bits that occur.
        on_bad: Whether bad files `"stop"` or are left out (`"skip"`). Bad are also
            rows without an image, a label, a group or a part, missing files, and names
            without a folder that several files have.
        validation: Share of the validation part, 0 to 1. Defaults to 0.15.
        test: Share of the test part, 0 to 1. Defaults to 0.15.
        seed: Seed of the division. Defaults to 42.
        on_rare: What to do about classes with too few images, or groups, to be in every
            part: `"stop"` (the default) or `"train"` (they stay in the training part).
        limit: At most so many images of each part, chosen at random. Default: all.
        name: Name for files of results. Default: the table's.
        batch_size: Images in a batch, if a recipe does not say it. Default: 32.
        augmentation: How training images are changed, a list of `Augmentation`, if a
            recipe does not say it. Default: a shift by up to a tenth.

    Returns:
        A `DatasetSplits`, as from `load`.

    Raises:
        DatasetNotFoundError: If there is no such table.
        BadFilesError: If files or rows are bad and are not to be skipped.
        ValueError: If a column is missing (the nearest is suggested) or there twice, an
            image is listed twice, or an argument is unknown.

    Example:

    ```python
    lesions = datasets.from_table(
        "metadata.csv", images="img_id", label="diagnostic", group="patient_id"
    )
    ```
    """
    division = Division(validation, test, seed, on_rare, limit)
    title = name or "table"
    if not isinstance(table, (str, os.PathLike)):
        columns: Mapping[str, Column] = table
        # A DataFrame may have two of a name; a dictionary has not.
        _check_names([str(column) for column in table], "The table")
        base = os.getcwd()
    else:
        columns = _read(os.fspath(table))
        base = os.path.dirname(os.path.abspath(table))
        title = name or os.path.splitext(os.path.basename(table))[0]
    root = base if folder is None else os.path.abspath(folder)
    labels = [label] if isinstance(label, str) else list(label)
    wanted = [images, *labels, *(column for column in (group, part) if column)]
    cells = {column: _column(columns, column) for column in wanted}
    count = len(cells[images])
    for column in wanted:
        if len(cells[column]) != count:
            raise ValueError(
                f"The columns should be of one length. Received: {count} rows of "
                f"{images!r}, {len(cells[column])} of {column!r}"
            )
    bad: dict[int, BadFile] = {}
    for column in wanted:
        for row, cell in enumerate(cells[column]):
            if is_missing(cell):
                bad.setdefault(row, BadFile(f"row {row + 1}", f"no {column}"))
    rows = [row for row in range(count) if row not in bad]
    found = _find([str(cells[images][row]) for row in rows], root)
    usable: list[tuple[int, str]] = []
    for row, path in zip(rows, found, strict=True):
        if isinstance(path, BadFile):
            bad[row] = path
        else:
            usable.append((row, path))
    _check_once([path for _, path in usable])
    checked = check_files(
        [path for _, path in usable],
        size=size,
        channels=channels,
        resize=resize,
        levels=levels,
        on_bad=on_bad,
        already_bad=[bad[row] for row in sorted(bad)],
    )
    kept = [usable[row][0] for row in checked.rows.tolist()]

    def chosen(column: str) -> list[Any]:
        return [cells[column][row] for row in kept]

    if isinstance(label, str):
        encoded = encode_labels(chosen(label))
    else:
        ones = [_ones(chosen(column), column) for column in labels]
        encoded = encode_labels(np.stack(ones, axis=1), labels)
    collection = Collection(
        images=checked.images,
        labels=encoded,
        moments=checked.moments,
        parts=None if part is None else _parts(chosen(part), part),
        groups=None if group is None else np.array([str(g) for g in chosen(group)]),
        bad_files=checked.bad,
        resize=resize,
        levels=checked.images.reading.levels,
    )
    return assemble(
        collection,
        division,
        title=title,
        how_to_get="keras_gradattn.datasets.from_table",
        name=name,
        batch_size=batch_size,
        augmentation=augmentation,
    )


def _read(path: str) -> dict[str, list[str]]:
    if not os.path.isfile(path):
        raise DatasetNotFoundError(f"There is no such table. Received: {path!r}")
    try:
        # Spreadsheets put a byte-order mark first.
        with open(path, newline="", encoding="utf-8-sig") as stream:
            first = stream.readline()
            stream.seek(0)
            separator = max("\t;,", key=first.count)
            rows = list(csv.reader(stream, delimiter=separator))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(
            f"{path} should be a table in UTF-8, CSV or TSV. Received: {error}"
        ) from error
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    if len(rows) < 2:
        raise ValueError(
            f"{path} should have a row of column names and rows of images. "
            f"Received: {len(rows)} rows"
        )
    header = [cell.strip() for cell in rows[0]]
    _check_names(header, path)
    columns: dict[str, list[str]] = {column: [] for column in header if column}
    for number, row in enumerate(rows[1:], 1):
        if len(row) != len(header):
            raise ValueError(
                f"{path} should have {len(header)} cells in each row. "
                f"Received: {len(row)} cells in row {number}: {row[:5]}"
            )
        for column, cell in zip(header, row, strict=True):
            # Spreadsheets leave columns without a name behind.
            if column:
                columns[column].append(cell.strip())
    return columns


def _check_names(names: list[str], table: str) -> None:
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise ValueError(
            f"{table} should have each column once: which of them is meant? "
            f"Received: {some([repr(name) for name in twice])} several times"
        )


def _column(columns: Mapping[str, Column], name: str) -> list[Any]:
    try:
        column = columns[name]
    except KeyError:
        known = [str(key) for key in columns]
        raise ValueError(
            f"The table has no such column.{suggestion(name, known)} It has "
            f"{', '.join(known)}. Received: {name!r}"
        ) from None
    return list(column)


def _ones(cells: list[Any], column: str) -> Array:
    """A column of 0 and 1, or of true and false."""
    words = {"true": 1.0, "false": 0.0}
    try:
        return np.array(
            [words.get(str(cell).lower(), cell) for cell in cells], "float64"
        )
    except ValueError:
        raise ValueError(
            f"The column {column!r} of several should be 0 and 1. "
            f"Received: {some(sorted({repr(cell) for cell in cells}))}"
        ) from None


def _find(names: list[str], root: str) -> list[str | BadFile]:
    """The file that each name means, or what is wrong."""
    found: list[str | BadFile] = []
    files: _Files | None = None
    for name in names:
        path = os.path.join(root, name)
        if os.path.isfile(path):
            found.append(path)
            continue
        # To look into all folders takes long, and is seldom needed.
        files = files or _Files(root)
        found.append(files.find(name))
    return found


class _Files:
    """Files in a folder and below, by path and by name, with and without ending.

    A name with a folder means that folder: a file of the same name in another one is
    another image.
    """

    def __init__(self, root: str):
        self._whole: dict[str, list[str]] = {}
        self._bare: dict[str, list[str]] = {}
        for path in image_paths(root) if os.path.isdir(root) else ():
            for name in {os.path.basename(path), os.path.relpath(path, root)}:
                self._whole.setdefault(name, []).append(path)
                self._bare.setdefault(os.path.splitext(name)[0], []).append(path)

    def find(self, name: str) -> str | BadFile:
        """The only file of a name."""
        word = os.path.normpath(name)
        paths = self._whole.get(word) or self._bare.get(word) or []
        if not paths:
            return BadFile(name, "no such file")
        # Links may lead to one file on several ways.
        if len({os.path.realpath(path) for path in paths}) > 1:
            return BadFile(name, "several files of this name")
        return paths[0]


def _check_once(paths: list[str]) -> None:
    plain = [os.path.normpath(path) for path in paths]
    names, counts = np.unique(np.array(plain, dtype=object), return_counts=True)
    if (counts > 1).any():
        raise ValueError(
            "The table should list an image once: in two rows it could be in two "
            f"parts. Received: {some([repr(name) for name in names[counts > 1]])}"
        )


def _parts(cells: list[Any], column: str) -> Array:
    parts = [PART_FOLDERS.get(str(cell).strip().lower()) for cell in cells]
    unknown = {str(cell) for cell, part in zip(cells, parts, strict=True) if not part}
    if unknown:
        raise ValueError(
            f"The column {column!r} should say train, val or test. "
            f"Received: {some([repr(cell) for cell in sorted(unknown)])}"
        )
    return np.array([NAMES.index(part) for part in parts if part])
