"""Cost of recording gradients: python benchmarks/recorder_overhead.py --help.

Trains one network with and without recording, step by step in turn, so that both
meet the same machine. Prints the median paired ratio of step times with its interval
and writes JSON. On PyTorch the usual approach (a hook per parameter that calls
`.item()`) is measured beside it.
"""

import argparse
import contextlib
import json
import os
import platform
import time

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np

import keras_gradattn
from keras_gradattn.gradients._installation import Installation
from keras_gradattn.gradients.recorder import GradientNorms
from keras_gradattn.gradients.taps import with_output_taps


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="GradAttnV2")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--pixels", type=int, default=32)
    parser.add_argument("--steps", type=int, default=200, help="pairs of steps")
    parser.add_argument("--what", nargs="+", default=["default", "taps", "hooks"])
    parser.add_argument("--output", help="where to write the JSON")
    return parser.parse_args()


class Trainer:
    """One compiled model, trained one step at a time by its own train function."""

    def __init__(self, options, variant):
        keras.utils.set_random_seed(0)
        model = getattr(keras_gradattn, options.model)(
            num_classes=10, input_shape=(options.pixels, options.pixels, 3)
        )
        if variant == "taps":
            modules = model.published_modules().values()
            model = with_output_taps(model, list(modules))
        model.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy")
        random = np.random.default_rng(0)
        shape = (options.batch, options.pixels, options.pixels, 3)
        self.batch = (
            random.normal(size=shape).astype("float32"),
            random.integers(0, 10, options.batch),
        )
        self.model, self.hooks = model, []
        model.train_on_batch(*self.batch)
        if variant in ("default", "taps"):
            # What `fit` does through the callback; `train_on_batch` would remove it.
            norms = GradientNorms()
            norms.set_model(model)
            norms.on_train_begin()
            norms.on_epoch_begin(0)
            del model.__dict__["make_train_function"]
            self.norms = norms
            assert isinstance(norms._installation, Installation)
        if variant == "hooks":
            self.hooks = [
                v.value.register_hook(lambda gradient: gradient.norm().item())
                for v in model.trainable_variables
            ]

    def step(self):
        start = time.perf_counter()
        self.model.train_on_batch(*self.batch)
        return time.perf_counter() - start


def measure(options, variant):
    with_recording, without = Trainer(options, variant), Trainer(options, "none")
    for trainer in (with_recording, without) * 3:
        trainer.step()
    pairs = []
    for number in range(options.steps):
        order = [with_recording, without]
        if number % 2:
            order.reverse()
        times = {id(trainer): trainer.step() for trainer in order}
        pairs.append((times[id(with_recording)], times[id(without)]))
    times = np.array(pairs)
    ratio = times[:, 0] / times[:, 1]
    random = np.random.default_rng(0)
    medians = [np.median(random.choice(ratio, len(ratio))) for _ in range(2000)]
    low, high = np.quantile(medians, [0.025, 0.975])
    return {
        "variant": variant,
        "pairs": len(pairs),
        "median_ratio": float(np.median(ratio)),
        "interval_95": [float(low), float(high)],
        "median_step_ms_with": float(1e3 * np.median(times[:, 0])),
        "median_step_ms_without": float(1e3 * np.median(times[:, 1])),
    }


def main():
    options = arguments()
    backend = keras.backend.backend()
    results = []
    for variant in options.what:
        if variant == "hooks" and backend != "torch":
            continue
        with contextlib.suppress(KeyboardInterrupt):
            result = measure(options, variant)
            results.append(result)
            print(
                f"{backend:10s} {variant:8s} ratio {result['median_ratio']:.4f} "
                f"[{result['interval_95'][0]:.4f}, {result['interval_95'][1]:.4f}] "
                f"step {result['median_step_ms_without']:.1f} ms without, "
                f"{result['median_step_ms_with']:.1f} ms with",
                flush=True,
            )
    report = {
        "backend": backend,
        "model": options.model,
        "batch": options.batch,
        "pixels": options.pixels,
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "results": results,
    }
    if options.output:
        with open(options.output, "w") as file:
            json.dump(report, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
