"""What each kernel and switch of `keras_gradattn.config` is worth.

    python -m benchmarks.tricks torch

One process with everything in use, and for each switch one without it, take turns at
training steps of GradAttn V1. Each round gives a ratio; the table has medians and their
95 % intervals, the JSON in `benchmarks/tricks/` every value. On a machine that others
use as well, `--cores 1` and the ratio of CPU seconds tell more than the clock.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.speed.machine import describe_machine
from benchmarks.speed.ratios import speed_ratio
from benchmarks.speed.turns import alternate

BATCH = 128
PIXELS = 28
# Contender without the switch, by backend. What `tune_jax_for_cpu` does is two things.
SWITCHES = {
    "jax": ("convolution", "xla_options", "memory_return", "max_pooling"),
    "tensorflow": ("convolution", "batch_normalization", "adam"),
    "torch": ("convolution", "memory_layout", "batch_normalization", "adam"),
}
EVERYTHING = "everything"
RESULTS = Path(__file__).parent / "tricks"


class Contender:
    """A process that takes training steps when it is told to."""

    def __init__(self, backend: str, without: str, cores: int):
        self.name = without
        self.cpu: list[float] = []
        environment = os.environ | {
            "KERAS_BACKEND": backend,
            "TF_CPP_MIN_LOG_LEVEL": "2",
            "OMP_NUM_THREADS": str(cores),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.tricks", "--without", without, backend],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if hasattr(os, "sched_setaffinity"):
            # Before it imports anything: libraries count the cores when they start.
            usable = sorted(os.sched_getaffinity(0))[-cores:]
            os.sched_setaffinity(self._process.pid, usable)
        self.ready = self._answer()

    def steps(self, number: int) -> float:
        """Wall seconds of one of these steps."""
        answer = self._ask(str(number))
        self.cpu.append(answer["cpu_seconds"])
        return answer["seconds"]

    def peak_memory_mib(self) -> float:
        """The most memory that the process has held."""
        return self._ask("memory")["peak_memory_mib"]

    def end(self) -> None:
        """Let the process go."""
        self._process.stdin.close()
        self._process.wait()

    def _ask(self, question: str) -> dict[str, float]:
        self._process.stdin.write(question + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, float]:
        for line in self._process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise RuntimeError(f"The contender without {self.name} ended.")


def work(without: str) -> None:
    """Be a contender: build, take a step, then answer on the standard output."""
    began = time.perf_counter()
    import numpy as np

    import keras_gradattn
    from keras_gradattn import config
    from keras_gradattn._compat import jax as jax_compat
    from keras_gradattn.training._seeding import seed_libraries

    if without == "memory_return":
        jax_compat.return_compiler_memory = lambda: False
    if without == "xla_options":
        jax_compat.return_compiler_memory()
    else:
        config.tune_jax_for_cpu()
    if without == "convolution":
        config.convolution("backend")
    elif without in config.KERNELS:
        config.kernel(without, False)
    seed_libraries(0)
    model = keras_gradattn.GradAttnV1(8, input_shape=(PIXELS, PIXELS, 3))
    model.compile(
        keras_gradattn.training.CoupledAdam(1e-3, weight_decay=1e-4),
        "sparse_categorical_crossentropy",
    )
    random = np.random.default_rng(0)

    def train(steps: int) -> None:
        images = random.normal(size=(steps * BATCH, PIXELS, PIXELS, 3))
        labels = random.integers(0, 8, steps * BATCH)
        model.fit(images.astype("float32"), labels, batch_size=BATCH, verbose=0)

    train(2)
    _say(ready_seconds=time.perf_counter() - began)
    for line in sys.stdin:
        if line.strip() == "memory":
            _say(peak_memory_mib=_peak_memory_mib())
            continue
        steps = int(line)
        wall, cpu = time.perf_counter(), time.process_time()
        train(steps)
        _say(
            seconds=(time.perf_counter() - wall) / steps,
            cpu_seconds=(time.process_time() - cpu) / steps,
        )


def _say(**values: float) -> None:
    print(json.dumps(values), flush=True)


def _peak_memory_mib() -> float:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(
    backend: str, switches: list[str], *, rounds: int, steps: int, cores: int
) -> dict[str, Any]:
    """Let all contenders take turns.

    Args:
        backend: Name of a Keras backend.
        switches: Which switches to go without, one contender each.
        rounds: How often everybody has a turn.
        steps: Training steps of a turn that count.
        cores: That each process may use.

    Returns:
        What the JSON holds.
    """
    contenders = [Contender(backend, name, cores) for name in (EVERYTHING, *switches)]
    try:
        seconds = alternate([c.steps for c in contenders], rounds, steps)
        # Every other turn only warms the caches.
        cpu = [contender.cpu[1::2] for contender in contenders]
        results: dict[str, Any] = {}
        for contender, wall, own in zip(contenders, seconds, cpu, strict=True):
            results[contender.name] = {
                "slower_without": speed_ratio(wall, seconds[0])._asdict(),
                "more_cpu_without": speed_ratio(own, cpu[0])._asdict(),
                "peak_memory_mib": contender.peak_memory_mib(),
                "ready_seconds": contender.ready["ready_seconds"],
                "seconds": wall,
                "cpu_seconds": own,
            }
    finally:
        for contender in contenders:
            contender.end()
    return {
        "backend": backend,
        "network": f"GradAttnV1, {PIXELS} px, batch {BATCH}",
        "rounds": rounds,
        "steps": steps,
        "cores": cores,
        "machine": describe_machine(),
        "without": results,
    }


def table(measured: dict[str, Any]) -> str:
    """The measurement as lines of text."""
    lines = [f"{measured['backend']}: {measured['network']}"]
    for name, result in measured["without"].items():
        wall, cpu = result["slower_without"], result["more_cpu_without"]
        lines.append(
            f"without {name:20} x{wall['median']:.2f} "
            f"[{wall['low']:.2f}, {wall['high']:.2f}] time, "
            f"x{cpu['median']:.2f} [{cpu['low']:.2f}, {cpu['high']:.2f}] CPU, "
            f"{result['peak_memory_mib']:.0f} MiB, "
            f"ready in {result['ready_seconds']:.0f} s"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure one backend and write its JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("backend", choices=SWITCHES)
    parser.add_argument("--switches", nargs="+", help="only these")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--without", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.without:
        work(options.without)
        return
    switches = options.switches or list(SWITCHES[options.backend])
    measured = measure(
        options.backend,
        switches,
        rounds=options.rounds,
        steps=options.steps,
        cores=options.cores,
    )
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{options.backend}.json"
    path.write_text(json.dumps(measured, indent=1) + "\n")
    print(table(measured))


if __name__ == "__main__":
    main()
