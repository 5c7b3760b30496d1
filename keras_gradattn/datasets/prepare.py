"""Downloads and prepares a data set: `python -m keras_gradattn.datasets.prepare`."""

from __future__ import annotations

import contextlib
import os
import sys

from keras_gradattn.datasets._builders import tfds_builder
from keras_gradattn.datasets._parser import MISUSE, Parser
from keras_gradattn.datasets.prepared import downloading
from keras_gradattn.datasets.specs import SPECS


def prepare(
    name: str,
    data_dir: str | os.PathLike[str] | None = None,
    *,
    file_format: str | None = None,
    manual_dir: str | os.PathLike[str] | None = None,
) -> str:
    """Downloads a data set and prepares it with TFDS (needs TensorFlow).

    Args:
        name: Key in `SPECS`, or a name for `tfds.builder`.
        data_dir: Folder to prepare in. Default: TFDS' own.
        file_format: `"tfrecord"`, or `"array_record"` for data that is read
            without TensorFlow. Default: TFDS' own, `"tfrecord"`.
        manual_dir: Folder of files that the user has downloaded.

    Returns:
        The folder of the prepared data.

    Raises:
        DatasetNotFoundError: If a file cannot be downloaded.
        ImportError: If TFDS or TensorFlow is not installed.
        ValueError: If there is no such data set, or its files are damaged.
        FileNotFoundError: If the files that the user has to download are not there.
    """
    try:
        import tensorflow_datasets as tfds

        builder = tfds_builder(name, data_dir)
        config = tfds.download.DownloadConfig(
            manual_dir=None if manual_dir is None else os.fspath(manual_dir)
        )
        with downloading(name):
            builder.download_and_prepare(
                download_config=config, file_format=file_format
            )
    except ImportError as error:
        raise ImportError(
            f"{name} is prepared with TensorFlow Datasets and TensorFlow. Get them "
            f"with: pip install 'keras-gradattn[data,tensorflow]'. Received: {error}"
        ) from error
    except AssertionError as error:
        # What TFDS raises for a manual folder that is empty or not there.
        raise FileNotFoundError(str(error)) from error
    return str(os.fspath(builder.data_path))


def hide_progress_in_logs() -> None:
    """Leaves TFDS' progress bars out where they would be written to a file."""
    if sys.stderr.isatty():
        return
    # Who needs TFDS and has not got it is told where it is used.
    with contextlib.suppress(ImportError):
        import tensorflow_datasets as tfds

        tfds.disable_progress_bar()


def main(arguments: list[str] | None = None) -> int:
    """The command line; errors in what was asked for are a sentence, no traceback."""
    parser = Parser(
        prog="python -m keras_gradattn.datasets.prepare", description=__doc__
    )
    parser.add_argument("name", help=f"{', '.join(SPECS)}, or a name for tfds.builder")
    parser.add_argument("--data-dir", help="folder to prepare in")
    parser.add_argument("--file-format", choices=("tfrecord", "array_record"))
    parser.add_argument("--manual-dir", help="folder of files downloaded by hand")
    options, unknown = parser.parse_known_args(arguments)
    parser.refuse_unknown(unknown)
    try:
        hide_progress_in_logs()
        folder = prepare(
            options.name,
            options.data_dir,
            file_format=options.file_format,
            manual_dir=options.manual_dir,
        )
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        # TFDS writes some of its sentences over several lines.
        print(" ".join(str(error).split()), file=sys.stderr)
        return MISUSE
    print(f"Prepared in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
