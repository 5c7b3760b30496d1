"""A folder of JPEG files as batches, beside tf.data and PyTorch's DataLoader.

    python -m benchmarks.folder_input --images 2000
    python -m benchmarks.folder_input --images 20000 --file-size 500 375

All deliver shuffled, normalised float32 batches at one size with the same number of
workers: threads, or processes in PyTorch. Nobody augments. Every contender is a process
of its own that reads one epoch first and then waits; they take turns, an epoch each.
Memory is what a process and its children have at most beyond its imports; "a quarter"
is ours on every fourth file.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed.machine import describe_machine, machine_line
from benchmarks.speed.memory import peak_resident_bytes, resident_bytes
from benchmarks.speed.processes import end
from benchmarks.speed.ratios import speed_ratio
from benchmarks.speed.turns import alternate

ROOT = Path(__file__).parents[1]
OURS = "ours"
# By name: Keras' backend in that process.
CONTENDERS = {
    OURS: "jax",
    "ours, a quarter": "jax",
    "ours through tf.data": "tensorflow",
    "keras image_dataset_from_directory": "tensorflow",
    "tf.data": "tensorflow",
    "pytorch DataLoader": "torch",
}
CLASSES = 10
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Options of the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    add("--images", type=int, default=2_000, help="files in the folder")
    add(
        "--file-size",
        type=int,
        nargs=2,
        default=(224, 224),
        metavar=("WIDTH", "HEIGHT"),
    )
    add("--size", type=int, default=224, help="pixels that a network sees")
    add("--batch", type=int, default=64)
    add("--workers", type=int, default=os.cpu_count())
    add("--rounds", type=int, default=5, help="epochs of each contender that count")
    add("--output", type=Path, help="where to write the JSON")
    add("--worker", choices=CONTENDERS, help=argparse.SUPPRESS)
    add("--folder", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def write_photographs(folder: Path, count: int, size: tuple[int, int]) -> None:
    """Writes JPEG files with shapes and grain, in a folder for each class."""
    from PIL import Image

    random = np.random.default_rng(0)
    width, height = size
    for index in range(count):
        coarse = random.normal(128, 60, (height // 16 + 1, width // 16 + 1, 3))
        shapes = Image.fromarray(np.clip(coarse, 0, 255).astype("uint8"))
        shapes = shapes.resize(size, Image.Resampling.BICUBIC)
        grain = random.normal(0, 6, (height, width, 3))
        pixels = np.clip(np.asarray(shapes) + grain, 0, 255).astype("uint8")
        path = folder / f"class{index % CLASSES}" / f"{index:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, quality=90)


def ours(options: argparse.Namespace, engine: str, step: int = 1) -> Any:
    """Batches of this package."""
    from keras_gradattn import datasets
    from keras_gradattn.datasets.image_files import Reading

    paths, labels = files_and_labels(options.folder)
    images = datasets.ImageFiles(paths[::step], Reading(options.size, 3))
    split = datasets.Split("train", images, labels[::step], np.arange(len(images)))
    spec = datasets.spec("pad_ufes_20")
    return datasets.batches(
        split,
        spec,
        batch_size=options.batch,
        training=True,
        engine=engine,
        augmentation=(),
        workers=options.workers,
    )


def files_and_labels(folder: str) -> tuple[list[str], np.ndarray]:
    """All files, sorted, and their classes."""
    paths = sorted(map(str, Path(folder).glob("*/*.jpg")))
    labels = [int(Path(path).parent.name.removeprefix("class")) for path in paths]
    return paths, np.array(labels, "int32")


def image_dataset_from_directory(options: argparse.Namespace) -> Any:
    """What Keras' guides do."""
    import keras
    import tensorflow as tf

    data = keras.utils.image_dataset_from_directory(
        options.folder,
        image_size=(options.size, options.size),
        batch_size=options.batch,
        seed=0,
        verbose=False,
    )
    mean, scale = 255 * np.array(MEAN, "float32"), 255 * np.array(STD, "float32")
    data = data.map(
        lambda images, labels: ((images - mean) / scale, labels),
        num_parallel_calls=options.workers,
    )
    return with_threads(data.prefetch(tf.data.AUTOTUNE), options.workers)


def tf_data(options: argparse.Namespace) -> Any:
    """What TensorFlow's guides do."""
    import tensorflow as tf

    paths, labels = files_and_labels(options.folder)
    mean, scale = 255 * np.array(MEAN, "float32"), 255 * np.array(STD, "float32")

    def read(path, label):
        image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        image = tf.image.resize(image, (options.size, options.size))
        return (image - mean) / scale, label

    data = tf.data.Dataset.from_tensor_slices((paths, labels)).shuffle(len(paths))
    data = data.map(read, num_parallel_calls=options.workers).batch(options.batch)
    return with_threads(data.prefetch(tf.data.AUTOTUNE), options.workers)


def with_threads(data: Any, workers: int) -> Any:
    """The dataset, computed by so many threads."""
    import tensorflow as tf

    settings = tf.data.Options()
    settings.threading.private_threadpool_size = workers
    return data.with_options(settings)


class Photographs:
    """A PyTorch dataset, as its guides write it with Pillow."""

    def __init__(self, folder: str, size: int):
        self.paths, self.labels = files_and_labels(folder)
        self.size = size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> tuple[Any, int]:
        import torch
        from PIL import Image

        with Image.open(self.paths[row]) as image:
            image = image.convert("RGB")
        if image.size != (self.size, self.size):
            image = image.resize((self.size, self.size), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
        mean = torch.tensor(MEAN)[:, None, None]
        std = torch.tensor(STD)[:, None, None]
        return (pixels.to(torch.float32) / 255 - mean) / std, int(self.labels[row])


def pytorch_loader(options: argparse.Namespace) -> Any:
    """What PyTorch's guides do."""
    import torch

    return torch.utils.data.DataLoader(
        Photographs(options.folder, options.size),
        options.batch,
        shuffle=True,
        num_workers=options.workers,
        persistent_workers=options.workers > 0,
    )


MAKERS: dict[str, Callable[[argparse.Namespace], Any]] = {
    OURS: lambda options: ours(options, "pydataset"),
    "ours, a quarter": lambda options: ours(options, "pydataset", step=4),
    "ours through tf.data": lambda options: ours(options, "tf.data"),
    "keras image_dataset_from_directory": image_dataset_from_directory,
    "tf.data": tf_data,
    "pytorch DataLoader": pytorch_loader,
}


def read_epoch(data: Any) -> int:
    """Takes every batch; how many images they hold."""
    if hasattr(data, "num_batches"):
        return sum(len(data[index][1]) for index in range(data.num_batches))
    return sum(len(labels) for _, labels in data)


def work(options: argparse.Namespace) -> None:
    """One contender's process: an epoch for each line of the standard input."""
    # Libraries print to the standard output as well: keep it for answers alone.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    # Both count as imports.
    __import__("keras")
    __import__("PIL.Image")
    before = resident_bytes()
    data = MAKERS[options.worker](options)
    while True:
        start, cpu_before = time.perf_counter(), cpu_seconds()
        count = read_epoch(data)
        seconds = time.perf_counter() - start
        answer = {
            "seconds": seconds,
            "cpu_seconds": cpu_seconds() - cpu_before,
            "images": count,
        }
        if before is not None:
            peak = (peak_resident_bytes() or 0) - before
            answer["memory_bytes"] = peak + sum(map(resident_of, children()))
        answers.write(json.dumps(answer) + "\n")
        if not sys.stdin.readline():
            return


def children() -> list[int]:
    """Processes that this one has started."""
    listed = Path(f"/proc/self/task/{os.getpid()}/children")
    return [int(number) for number in listed.read_text().split()]


def cpu_seconds() -> float:
    """Processor time of this process and those that it has started."""
    ticks = 0
    for process in children():
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def resident_of(process: int) -> int:
    """Memory that a process has for itself, in bytes."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Private_Dirty:"):
                return 1024 * int(line.split()[1])
    return 0


class Process:
    """A contender's process, seen from the command; its first epoch is done."""

    def __init__(self, name: str, arguments: Sequence[str]):
        command = [sys.executable, "-m", "benchmarks.folder_input", *arguments]
        self._process = subprocess.Popen(
            [*command, "--worker", name],
            cwd=ROOT,
            env=os.environ
            | {"KERAS_BACKEND": CONTENDERS[name], "TF_CPP_MIN_LOG_LEVEL": "2"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.cpu_seconds: list[float] = []
        self.answer = self._read()

    def seconds(self, epochs: int) -> float:
        """Mean seconds for 1,000 images over so many epochs."""
        seconds = []
        for _ in range(epochs):
            self._process.stdin.write("\n")
            self._process.stdin.flush()
            self.answer = self._read()
            thousands = self.answer["images"] / 1000
            seconds.append(self.answer["seconds"] / thousands)
            self.cpu_seconds.append(self.answer["cpu_seconds"] / thousands)
        return float(np.mean(seconds))

    def _read(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"exit {self._process.wait()}: {self._process.args}")
        return json.loads(line)

    def close(self) -> None:
        """End it."""
        end(self._process)


@contextlib.contextmanager
def processes(
    names: Sequence[str], arguments: Sequence[str]
) -> Iterator[dict[str, Process]]:
    """One process after another."""
    started: dict[str, Process] = {}
    try:
        for name in names:
            started[name] = Process(name, arguments)
            print(f"{name}: {started[name].answer['images']} images", flush=True)
        yield started
    finally:
        for process in started.values():
            process.close()


def table(report: dict[str, Any]) -> str:
    """The figures as Markdown."""
    lines = [
        "| | images/s | ours is times as fast (95 %) | CPU ms an image | memory MB |",
        "|---|--:|--:|--:|--:|",
    ]
    own = report["contenders"].get(OURS)
    for name, values in report["contenders"].items():
        seconds = values["seconds_per_1000"]
        cells = [name, f"{1000 / float(np.median(seconds)):,.0f}", ""]
        if own and name != OURS:
            ratio = speed_ratio(seconds, own["seconds_per_1000"])
            cells[2] = f"{ratio.median:.2f} ({ratio.low:.2f}-{ratio.high:.2f})"
        cells.append(f"{np.median(values['cpu_seconds_per_1000']):.2f}")
        memory = values.get("memory_bytes")
        cells.append(f"{memory / 1e6:,.0f}" if memory is not None else "")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = parse(arguments)
    if options.worker:
        work(options)
        return
    report: dict[str, Any] = {
        "machine": describe_machine(),
        "images": options.images,
        "file_size": list(options.file_size),
        "size": options.size,
        "batch": options.batch,
        "workers": options.workers,
        "contenders": {},
    }
    print(machine_line(report["machine"]), "\n", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        write_photographs(Path(folder), options.images, tuple(options.file_size))
        settings = [
            f"--folder={folder}",
            f"--size={options.size}",
            f"--batch={options.batch}",
            f"--workers={options.workers}",
        ]
        with processes(options.contenders, settings) as ready:
            seconds = alternate(
                [process.seconds for process in ready.values()],
                options.rounds,
                1,
                lambda number: print(f"round {number} of {options.rounds}", flush=True),
            )
            for (name, process), own in zip(ready.items(), seconds, strict=True):
                report["contenders"][name] = {
                    "seconds_per_1000": own,
                    # The first one of each turn does not count, here as there.
                    "cpu_seconds_per_1000": process.cpu_seconds[1::2],
                    "memory_bytes": process.answer.get("memory_bytes"),
                }
    print(f"\n{table(report)}")
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
