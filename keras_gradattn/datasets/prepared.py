"""Opens what TFDS has prepared, in the format that can be read here."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import os
from collections.abc import Iterator, Sequence
from typing import Any

from keras_gradattn.datasets import _records
from keras_gradattn.datasets._builders import tfds_builder
from keras_gradattn.datasets.parts import DatasetNotFoundError

Records = _records.TensorFlowRecords | _records.RandomAccessRecords

# What TFDS raises if a file does not come, or is another one: plain exceptions, most
# without a public name. The last two are of what it downloads with.
_NOT_DOWNLOADED = (
    *("DownloadError", "ExtractError", "NonMatchingChecksumError"),
    *("UnsafeArchiveError", "URLError", "HTTPError"),
)
_REQUESTS = "requests.exceptions"


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A data set that TFDS prepares.

    Args:
        name: Key in `SPECS`, or a name for `tfds.builder`.
        title: Name for messages.
        how_to_get: The command that prepares it.
        data_dir: Folder of prepared data. Default: TFDS' own.
    """

    name: str
    title: str
    how_to_get: str
    data_dir: str | os.PathLike[str] | None

    def builder(self) -> Any:
        """Its TFDS builder.

        Raises:
            ImportError: If TFDS is not installed.
            ValueError: If there is no such data set.
        """
        try:
            return tfds_builder(self.name, self.data_dir)
        except ImportError as error:
            raise ImportError(
                f"{self.title} is read with TensorFlow Datasets. Get it with: "
                "pip install 'keras-gradattn[data]'"
            ) from error

    def open(
        self,
        builder: Any,
        splits: Sequence[str],
        *,
        engine: str,
        image: str = "image",
        label: str = "label",
    ) -> dict[str, Records]:
        """Opens splits of TFDS.

        Args:
            builder: From `builder`.
            splits: Their names.
            engine: As for `load`.
            image: Feature that is the image.
            label: Feature that is the label.

        Raises:
            DatasetNotFoundError: If they are not prepared.
            ImportError: If they are stored in a format that needs TensorFlow.
        """
        try:
            records = self._kind(builder, engine)
            parts = {split: records(builder, split, image, label) for split in splits}
            for part in parts.values():
                len(part)
        except (AssertionError, FileNotFoundError) as error:
            raise self.not_found() from error
        return parts

    def download(self, builder: Any) -> None:
        """Downloads and prepares what is missing.

        Raises:
            DatasetNotFoundError: If a file cannot be downloaded, or its user has to
                download it by hand.
        """
        # What TFDS raises where the data set, or the files that its user has to
        # download by hand, are not there.
        with downloading(self.title):
            try:
                builder.download_and_prepare()
            except (AssertionError, FileNotFoundError) as error:
                raise self.not_found() from error

    def not_found(self) -> DatasetNotFoundError:
        """The error that says how to get the data set."""
        return not_found(self.title, self.how_to_get, self.data_dir)

    def _kind(self, builder: Any, engine: str) -> type[Records]:
        formats = {entry.value for entry in builder.info.available_file_formats()}
        formats.add(builder.info.file_format.value)
        has_tensorflow = importlib.util.find_spec("tensorflow") is not None
        if "array_record" in formats and (
            len(formats) == 1 or engine == "pydataset" or not has_tensorflow
        ):
            return _records.RandomAccessRecords
        if has_tensorflow:
            return _records.TensorFlowRecords
        if not builder.is_prepared():
            raise self.not_found()
        raise ImportError(
            f"{self.title} is stored as {builder.info.file_format.value}, which "
            "only TensorFlow reads. Install tensorflow, or prepare the data as "
            "ArrayRecord: python -m keras_gradattn.datasets.prepare "
            f"{self.name} --file-format array_record. "
            f"Received: data_dir={str(self.data_dir)!r}"
        )


@contextlib.contextmanager
def downloading(title: str) -> Iterator[None]:
    """Says in one sentence that a file could not be downloaded.

    Raises:
        DatasetNotFoundError: In place of what TFDS raises.
    """
    try:
        yield
    except Exception as error:
        kind = type(error)
        if kind.__name__ not in _NOT_DOWNLOADED and kind.__module__ != _REQUESTS:
            raise
        reason = str(error).split("\n")[0].rstrip(".:")
        raise DatasetNotFoundError(
            f"{title} cannot be downloaded ({reason}). Nothing is half-prepared: try "
            f"again. Received: {kind.__name__}"
        ) from error


def not_found(
    title: str, how_to_get: str, data_dir: str | os.PathLike[str] | None
) -> DatasetNotFoundError:
    """The error that says how to get a data set."""
    return DatasetNotFoundError(
        f"{title} is not there. Get it with: {how_to_get}. "
        f"Received: data_dir={None if data_dir is None else str(data_dir)!r}"
    )
