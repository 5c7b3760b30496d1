"""A contact sheet: what the network sees, with class names."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_gradattn.datasets.arrays import to_numpy
from keras_gradattn.datasets.images import Array
from keras_gradattn.datasets.parts import DatasetSplits
from keras_gradattn.datasets.pipeline import batches
from keras_gradattn.datasets.specs import Augmentation, DatasetSpec

_COLUMNS = 8
_INCHES = 1.5
_LONGEST_NAME = 22


def show(
    data: Any,
    path: str | os.PathLike[str] | None = None,
    *,
    spec: DatasetSpec | None = None,
    count: int = 32,
    augmentation: Sequence[Augmentation] | None = None,
    seed: int = 0,
) -> Any:
    """Draws augmented images with the names of their classes.

    Args:
        data: A `DatasetSplits`, of which training images are shown, or batches.
        path: Where to save the picture. Default: nowhere.
        spec: Description of the data set, to undo the normalisation and name the
            classes. Default: the one that `data` has. If `data` are batches that were
            not made by `datasets.batches`, they have none. Then each image is stretched
            from its darkest to its brightest level.
        count: How many images. Defaults to 32.
        augmentation: As for `batches`. Only for a `DatasetSplits`.
        seed: Seed of order and augmentation. Only for a `DatasetSplits`. Defaults to 0.

    Returns:
        A `matplotlib.figure.Figure`, which a notebook displays.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If there is nothing to show.

    Example:

    ```python
    datasets.show(datasets.from_folder("photos/"), "photos.png")
    ```
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "The contact sheet is drawn with matplotlib. Get it with: "
            "pip install 'keras-gradattn[plots]'"
        ) from error
    if count < 1:
        raise ValueError(f"`count` should be positive. Received: count={count}")
    if isinstance(data, DatasetSplits):
        spec = spec or data.spec
        data = batches(
            data.train,
            spec,
            batch_size=min(count, len(data.train)),
            training=True,
            seed=seed,
            engine="pydataset",
            augmentation=augmentation,
            workers=0,
        )
    spec = spec or getattr(data, "spec", None)
    images, labels = _first(data, count)
    columns = min(_COLUMNS, len(images))
    rows = math.ceil(len(images) / columns)
    figure = Figure(
        figsize=(columns * _INCHES, rows * (_INCHES + 0.25)), layout="constrained"
    )
    places = figure.subplots(rows, columns, squeeze=False).ravel()
    for place in places:
        place.set_axis_off()
    for place, image, label in zip(places, images, labels, strict=False):
        pixels = _pixels(image, spec)
        place.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        # A dollar sign in a name begins no formula.
        place.set_title(_name(label, spec), fontsize=7, parse_math=False)
    if path is not None:
        _save(figure, os.fspath(path))
    return figure


def _save(figure: Any, path: str) -> None:
    """A picture that a reader sees whole or not at all."""
    if not os.path.splitext(path)[1]:
        path += f".{figure.canvas.get_default_filetype()}"
    folder, name = os.path.split(path)
    handle, beside = tempfile.mkstemp(f".{name}", ".", folder or os.curdir)
    os.close(handle)
    try:
        figure.savefig(beside, dpi=150)
        # mkstemp makes the file private.
        os.chmod(beside, 0o644)
        os.replace(beside, path)
    except BaseException:
        os.remove(beside)
        raise


def _first(data: Any, count: int) -> tuple[Array, list[Array]]:
    images: list[Array] = []
    labels: list[Array] = []
    taken = range(len(data)) if hasattr(data, "num_batches") else None
    for element in data if taken is None else (data[index] for index in taken):
        if not isinstance(element, (tuple, list)) or len(element) < 2:
            raise ValueError(
                "`data` should give (images, labels). "
                f"Received: {type(element).__name__}"
            )
        batch, names = to_numpy(element[0]), to_numpy(element[1])
        if batch.ndim != 4:
            raise ValueError(
                "`data` should give images (batch, height, width, channels). "
                f"Received: {batch.dtype} with shape {batch.shape}"
            )
        images += list(batch)
        labels += list(names)
        if len(images) >= count:
            break
    if not images:
        raise ValueError("There should be images to show. Received: none")
    return np.stack(images[:count]), labels[:count]


def _pixels(image: Array, spec: DatasetSpec | None) -> Array:
    image = image.astype("float32")
    if spec is not None and image.shape[-1] == len(spec.mean):
        image = image * np.array(spec.std, "float32") + np.array(spec.mean, "float32")
    else:
        low, high = image.min(), image.max()
        image = (image - low) / max(float(high - low), 1e-6)
    image = np.clip(image, 0, 1)
    channels = image.shape[-1]
    if channels in (3, 4):
        return image
    # Of two or of many channels the first one.
    return image[..., 0]


def _name(label: Array, spec: DatasetSpec | None) -> str:
    if label.ndim == 0:
        return _short(_class_name(int(label), spec))
    names = [
        (f"{share:.0%} " if 0.005 < share < 0.995 else "") + _class_name(code, spec)
        for code, share in enumerate(label.tolist())
        if share > 0.005
    ]
    return _short(" + ".join(names))


def _class_name(code: int, spec: DatasetSpec | None) -> str:
    if spec is None or not 0 <= code < len(spec.class_names):
        return str(code)
    # A name may hold line breaks and letters that no font has.
    return (
        spec.class_names[code].encode("unicode_escape").decode()
        if not (spec.class_names[code].isprintable())
        else spec.class_names[code]
    )


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
