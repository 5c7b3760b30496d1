"""End-to-end epochs of Fashion-MNIST, input included, beside a plain PyTorch loop.

    python -m benchmarks.epoch --images 6400
    python -m benchmarks.epoch --precision mixed_bfloat16 --batch 1024   (CUDA)

GradAttnV1 on as many random 28-px images as asked for, augmented as published. Every
contender is a process of its own that compiles alone and then waits; they take turns,
an epoch each. Ours train through `fit`, from the host's pipeline and, named "device",
from images that stay on the accelerator.
"""

import argparse
import concurrent.futures
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed.contenders import LEARNING_RATE, PRECISIONS, WEIGHT_DECAY
from benchmarks.speed.machine import describe_machine, machine_line
from benchmarks.speed.processes import end
from benchmarks.speed.ratios import fastest, speed_ratio
from benchmarks.speed.turns import alternate

ROOT = Path(__file__).parents[1]
EAGER = "pytorch eager"
# By name: Keras' backend and where the images are, or how the peer is run.
CONTENDERS = {
    "keras jax": ("jax", "auto"),
    "keras jax device": ("jax", "device"),
    "keras tensorflow": ("tensorflow", "auto"),
    "keras tensorflow device": ("tensorflow", "device"),
    "keras torch": ("torch", "auto"),
    "keras torch device": ("torch", "device"),
    EAGER: ("pytorch", "eager"),
    "pytorch compile": ("pytorch", "compile"),
}


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Options of the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    add("--images", type=int, default=49_000, help="in an epoch")
    add("--batch", type=int, default=128)
    add("--precision", choices=PRECISIONS[:2], default="float32")
    add("--rounds", type=int, default=3, help="epochs of each contender that count")
    add(
        "--together",
        action="store_true",
        help="start all contenders at once, for machines with many cores: their first "
        "epochs then tell nothing",
    )
    add("--output", type=Path, help="where to write the JSON")
    add("--worker", choices=CONTENDERS, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def images_and_labels(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Random pixels (count, 28, 28, 1) uint8, and labels."""
    images = np.random.default_rng(0).integers(0, 256, (count, 28, 28, 1), "uint8")
    return images, (np.arange(count) % 10).astype("int32")


def keras_epoch(options: argparse.Namespace, engine: str) -> Callable[[], object]:
    """Trains one epoch by `fit`."""
    import dataclasses

    from keras_gradattn import datasets
    from keras_gradattn.paper import RECIPES
    from keras_gradattn.training._building import (
        build_loss,
        build_model,
        build_optimizer,
    )

    recipe = dataclasses.replace(
        RECIPES["as_described"],
        mixed_precision=None if options.precision == "float32" else options.precision,
    )
    spec = datasets.spec("fashion_mnist")
    images, labels = images_and_labels(options.images)
    split = datasets.Split("train", images, labels, np.arange(len(images)))
    network = model = build_model("gradattn_v1", spec, recipe)
    settings = {"batch_size": options.batch, "training": True, "drop_remainder": True}
    if engine == "device":
        feed = datasets.DeviceFeed((split,), spec)
        model = feed.connect(network)
        data = feed.batches(split, **settings)
    else:
        data = datasets.batches(split, spec, **settings)
    model.compile(build_optimizer(recipe, network, 1), build_loss(recipe))
    return lambda: model.fit(data, shuffle=False, verbose=0)


def torch_epoch(options: argparse.Namespace, how: str) -> Callable[[], object]:
    """Trains one epoch by a plain loop over a `DataLoader`."""
    import torch

    from benchmarks.speed.peers import peer

    device = "cuda" if torch.cuda.is_available() else "cpu"
    module = peer("GradAttnV1", 10, 1).to(device)
    forward = torch.compile(module) if how == "compile" else module
    loss_function = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(
        module.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY
    )
    images, labels = images_and_labels(options.images)
    images = torch.from_numpy(images).permute(0, 3, 1, 2)
    labels = torch.from_numpy(labels).long()

    class Augmented(torch.utils.data.Dataset):
        def __len__(self):
            return len(images)

        # Whole batches, moved in one lookup: image by image is many times slower.
        def __getitems__(self, rows):
            return augmented(images[rows].float() / 255), labels[rows]

    batches = torch.utils.data.DataLoader(
        Augmented(),
        options.batch,
        shuffle=True,
        drop_last=True,
        num_workers=min(4, max(1, (os.cpu_count() or 1) // 2)),
        persistent_workers=True,
        pin_memory=device == "cuda",
        collate_fn=lambda batch: batch,
    )
    half = options.precision == "mixed_bfloat16"

    def epoch():
        for inputs, targets in batches:
            inputs = inputs.to(device, non_blocking=True)
            targets = targets.to(device, non_blocking=True)
            optimizer.zero_grad()
            with torch.autocast(device, torch.bfloat16, enabled=half):
                loss = loss_function(forward(inputs), targets)
            loss.backward()
            optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()

    return epoch


def augmented(images: Any) -> Any:
    """Flip, rotation by 10 degrees, translation by 0.1, Fashion-MNIST's normalisation.

    Args:
        images: Tensor (batch, 1, height, width) in 0 to 1.
    """
    import torch

    count = len(images)
    angle = (2 * torch.rand(count) - 1) * np.deg2rad(10)
    flip = torch.where(torch.rand(count) < 0.5, -1.0, 1.0)
    shift = 0.2 * (2 * torch.rand(count, 2) - 1)
    cosine, sine = torch.cos(angle), torch.sin(angle)
    rows = [
        torch.stack([flip * cosine, -flip * sine, shift[:, 0]], dim=1),
        torch.stack([sine, cosine, shift[:, 1]], dim=1),
    ]
    places = torch.nn.functional.affine_grid(
        torch.stack(rows, dim=1), images.shape, align_corners=False
    )
    moved = torch.nn.functional.grid_sample(
        images, places, mode="nearest", align_corners=False
    )
    return (moved - 0.2860) / 0.3530


def work(options: argparse.Namespace) -> None:
    """One contender's process: an epoch for each line of the standard input."""
    # Libraries print to the standard output as well: keep it for answers alone.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    kind, how = CONTENDERS[options.worker]
    make = torch_epoch if kind == "pytorch" else keras_epoch
    run = make(options, how)
    while True:
        start = time.perf_counter()
        run()
        answers.write(f"{time.perf_counter() - start}\n")
        if not sys.stdin.readline():
            return


class Process:
    """A contender's process, seen from the command; its first epoch is done."""

    def __init__(self, name: str, arguments: Sequence[str]):
        backend = CONTENDERS[name][0]
        command = [sys.executable, "-m", "benchmarks.epoch", *arguments]
        self._process = subprocess.Popen(
            [*command, "--worker", name],
            cwd=ROOT,
            env=os.environ
            | {
                "KERAS_BACKEND": "torch" if backend == "pytorch" else backend,
                "TF_CPP_MIN_LOG_LEVEL": "2",
                # Otherwise they take an accelerator's memory from the others.
                "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
                "TF_FORCE_GPU_ALLOW_GROWTH": "true",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.first_epoch = self._seconds()

    def epoch(self, count: int) -> float:
        """Mean seconds of so many epochs."""
        return float(np.mean([self._next() for _ in range(count)]))

    def _next(self) -> float:
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._seconds()

    def _seconds(self) -> float:
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"exit {self._process.wait()}: {self._process.args}")
        return float(line)

    def close(self) -> None:
        """End it."""
        end(self._process)


@contextlib.contextmanager
def processes(
    names: Sequence[str], arguments: Sequence[str], together: bool = False
) -> Iterator[dict[str, Process]]:
    """One process after another, so that each compiles alone, or all together."""
    started = {}

    def begin(name: str) -> None:
        started[name] = Process(name, arguments)
        seconds = started[name].first_epoch
        print(f"{name}: first epoch after {seconds:.1f} s", flush=True)

    try:
        at_once = len(names) if together else 1
        with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
            list(pool.map(begin, names))
        yield {name: started[name] for name in names}
    finally:
        for process in started.values():
            process.close()


def table(report: dict[str, Any]) -> str:
    """The figures as Markdown."""
    lines = [
        "| | epoch s | images/s | times as fast (95 %) | first epoch s |",
        "|---|--:|--:|--:|--:|",
    ]
    seconds = {n: v["seconds"] for n, v in report["contenders"].items()}
    # Beside the eager peer where it takes part, else beside the fastest.
    reference = seconds.get(EAGER) or seconds[fastest(seconds)]
    for name, values in report["contenders"].items():
        ratio = speed_ratio(reference, values["seconds"])
        median = float(np.median(values["seconds"]))
        lines.append(
            f"| {name} | {median:.2f} | {report['images'] / median:,.0f} | "
            f"{ratio.median:.2f} ({ratio.low:.2f}-{ratio.high:.2f}) | "
            f"{values['first_epoch_seconds']:.1f} |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = parse(arguments)
    if options.worker:
        work(options)
        return
    report = {
        "machine": describe_machine(),
        "images": options.images // options.batch * options.batch,
        "batch": options.batch,
        "precision": options.precision,
        "contenders": {},
    }
    print(machine_line(report["machine"]), "\n", flush=True)
    settings = [
        f"--images={options.images}",
        f"--batch={options.batch}",
        f"--precision={options.precision}",
    ]
    with processes(options.contenders, settings, options.together) as ready:
        seconds = alternate(
            [process.epoch for process in ready.values()],
            options.rounds,
            1,
            lambda number: print(f"round {number} of {options.rounds}", flush=True),
        )
        for (name, process), own in zip(ready.items(), seconds, strict=True):
            report["contenders"][name] = {
                "seconds": own,
                "first_epoch_seconds": process.first_epoch,
            }
    print(f"\n{table(report)}")
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
