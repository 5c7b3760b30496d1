"""A folder of JPEG files as batches, beside tf.data and PyTorch's DataLoader.

    python -m benchmarks.folder_input --images 2000
    python -m benchmarks.folder_input --images 20000 --file-size 500 375

All have the same number of workers, and nobody augments. Times are of 1,000 images.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.harness import command
from benchmarks.harness.comparison import Comparison, Contender
from benchmarks.works.folder_batches import write_photographs

# By name: Keras' backend in that process.
CONTENDERS = {
    "ours": "jax",
    "ours through tf.data": "tensorflow",
    "tf.data": "tensorflow",
    "pytorch DataLoader": "torch",
}


def add_options(add: Callable[..., Any]) -> None:
    """Of the command."""
    command.add_turns(add, rounds=5, steps=1)
    add("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    add("--images", type=int, default=2_000, help="files in the folder")
    add("--file-size", type=int, nargs=2, default=(224, 224), help="width and height")
    add("--size", type=int, default=224, help="pixels that a network sees")
    add("--batch", type=int, default=64)
    add("--workers", type=int, default=os.cpu_count())


def comparisons(options: argparse.Namespace) -> Iterator[Comparison]:
    """The one table, on files that are written for it."""
    with tempfile.TemporaryDirectory() as folder:
        write_photographs(Path(folder), options.images, tuple(options.file_size))
        contenders = [
            Contender(
                name,
                "benchmarks.works.folder_batches:FolderBatches",
                CONTENDERS[name],
                {
                    "how": name,
                    "folder": folder,
                    "size": options.size,
                    "batch": options.batch,
                    "workers": options.workers,
                },
                is_reference=name == "ours",
            )
            for name in options.contenders
        ]
        yield Comparison(
            title=f"{options.images} JPEG files at {options.size} px",
            label="folder",
            contenders=contenders,
            columns=(
                "images/s",
                "times the time (95 %)",
                "CPU ms",
                "memory MiB (ratio)",
            ),
            rounds=options.rounds,
            steps=options.steps,
        )


if __name__ == "__main__":
    command.main(sys.modules[__name__])
