"""Classes of image files, by a saved model."""

import concurrent.futures
import csv
import dataclasses
import io
import itertools
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_gradattn._whole_files import replace_file
from keras_gradattn.datasets.file_check import BadFile, BadFilesError
from keras_gradattn.datasets.folder import image_paths
from keras_gradattn.datasets.image_files import BadFileError, Reading, read_image
from keras_gradattn.training.saved_model import SavedModel, load_model


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What a model says of image files.

    Args:
        files: Paths from the folder, in its order.
        probabilities: (files, classes).
        class_names: Names of the classes.
        bad_files: Files that give no image and were left out.

    Example:

    ```python
    found = training.predict("photos.keras", "photos/")
    found.labels, found.probabilities.shape
    ```
    """

    files: tuple[str, ...]
    probabilities: np.ndarray
    class_names: tuple[str, ...]
    bad_files: tuple[BadFile, ...] = ()

    @property
    def labels(self) -> list[str]:
        """The most probable class of each file."""
        return [self.class_names[row] for row in self.probabilities.argmax(axis=1)]

    def write_csv(self, path: str | os.PathLike[str]) -> None:
        """Write file, label, its probability and that of every class, a line each.

        Args:
            path: The file, in UTF-8.
        """
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(["file", "label", "probability", *self.class_names])
        for file, label, row in zip(
            self.files, self.labels, self.probabilities, strict=True
        ):
            numbers = [f"{value:.6g}" for value in (row.max(), *row)]
            writer.writerow([file, label, *numbers])
        # File names need not be text.
        content = text.getvalue().encode("utf-8", "surrogateescape")
        replace_file(Path(path), lambda file: file.write(content))


def predict(
    model: str | os.PathLike[str] | SavedModel,
    folder: str | os.PathLike[str],
    *,
    batch_size: int = 32,
    on_bad: str = "skip",
) -> Predictions:
    """Classes of all images in a folder and below.

    Args:
        model: A `.keras` file, or what `load_model` gives.
        folder: The folder, or one image file.
        batch_size: Images at a time. Defaults to 32.
        on_bad: Whether files that give no image are left out (`"skip"`) or `"stop"`
            (one error names them).

    Returns:
        `Predictions`.

    Raises:
        FileNotFoundError: If there is no such model, or no image.
        BadFilesError: If files are bad and are not to be skipped.
        ValueError: If an argument is unknown, or the file is no model.

    Example:

    ```python
    found = training.predict("results/photos/.../seed42.keras", "new_photos/")
    found.write_csv("labels.csv")
    ```
    """
    if on_bad not in ("skip", "stop"):
        raise ValueError(
            f"`on_bad` should be 'skip' or 'stop'. Received: on_bad={on_bad!r}"
        )
    root = os.path.abspath(folder)
    paths = [root] if os.path.isfile(root) else []
    if os.path.isdir(root):
        paths = list(image_paths(root))
    if not paths:
        raise FileNotFoundError(
            f"There is no image to predict. Received: {os.fspath(folder)!r}"
        )
    saved = model if isinstance(model, SavedModel) else load_model(model)
    files: list[str] = []
    bad: list[BadFile] = []
    found: list[np.ndarray] = []
    with concurrent.futures.ThreadPoolExecutor() as threads:
        for start in range(0, len(paths), batch_size):
            chunk = paths[start : start + batch_size]
            images = []
            read = threads.map(_read, chunk, itertools.repeat(saved.reading))
            for path, image in zip(chunk, read, strict=True):
                if isinstance(image, BadFile):
                    bad.append(image)
                    continue
                images.append(image)
                files.append(os.path.relpath(path, root) if path != root else path)
            if images:
                found.append(_probabilities(saved, images))
    if bad and on_bad == "stop":
        raise BadFilesError(bad, len(paths))
    if not found:
        raise FileNotFoundError(
            f"No file of {os.fspath(folder)!r} gives an image. "
            f"Received: {len(bad)} files, such as {bad[0].path!r}: {bad[0].reason}"
        )
    return Predictions(
        tuple(files), np.concatenate(found), saved.class_names, tuple(bad)
    )


def _read(path: str, reading: Reading) -> np.ndarray | BadFile:
    try:
        return read_image(path, reading)
    except BadFileError as error:
        return BadFile(path, str(error))


def _probabilities(saved: SavedModel, images: Sequence[np.ndarray]) -> np.ndarray:
    batch = np.stack(images).astype("float32")
    channels = saved.model.input_shape[-1]
    if batch.shape[-1] == 1 and channels == 3:
        # As in training: grey is repeated.
        batch = np.repeat(batch, 3, axis=-1)
    return np.asarray(saved.model.predict_on_batch(batch), "float64")
