"""Cost of a diagnosis: python benchmarks/diagnosis_cost.py --help.

Trains one network with and without `TrainingDiagnosis`, epoch by epoch in turn, so that
both meet the same machine, and prints the median paired ratio of times with its
interval. The time of the checks before the first step is told apart: it is paid once.
"""

import argparse
import json
import os
import time

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np

import keras_gradattn


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="ResNet18")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--pixels", type=int, default=32)
    parser.add_argument("--steps", type=int, default=50, help="steps of an epoch")
    parser.add_argument("--pairs", type=int, default=12, help="pairs of epochs")
    parser.add_argument("--output", help="where to write the JSON")
    return parser.parse_args()


class Clock(keras.callbacks.Callback):
    """Seconds from the first batch to the end of the epoch, the callbacks' included."""

    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self._start)


def epoch_seconds(model, data, options, callbacks):
    clock = Clock()
    start = time.perf_counter()
    model.fit(*data, batch_size=options.batch, verbose=0, callbacks=[*callbacks, clock])
    return clock.seconds[0], time.perf_counter() - start


def measure(options):
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    rows = options.batch * options.steps
    data = (
        random.normal(size=(rows, options.pixels, options.pixels, 3)).astype("float32"),
        random.integers(0, 10, rows),
    )
    model = getattr(keras_gradattn, options.model)(
        num_classes=10, input_shape=(options.pixels, options.pixels, 3)
    )
    model.compile(
        keras.optimizers.Adam(1e-4),
        "sparse_categorical_crossentropy",
    )
    doctor = keras_gradattn.TrainingDiagnosis("ignore")
    # Both steps are compiled, and the checks done, before time is taken.
    epoch_seconds(model, data, options, [])
    _, first = epoch_seconds(model, data, options, [doctor])
    pairs = []
    for number in range(options.pairs):
        times = {}
        for watched in (False, True) if number % 2 else (True, False):
            callbacks = [doctor] if watched else []
            times[watched] = epoch_seconds(model, data, options, callbacks)[0]
        pairs.append((times[True], times[False]))
    ratio = np.array([a / b for a, b in pairs])
    drawn = np.random.default_rng(0).choice(ratio, (2000, len(ratio)))
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    return {
        "backend": keras.backend.backend(),
        "model": options.model,
        "batch": options.batch,
        "pixels": options.pixels,
        "steps_an_epoch": options.steps,
        "pairs": len(pairs),
        "median_ratio": float(np.median(ratio)),
        "interval_95": [float(low), float(high)],
        "seconds_an_epoch_without": float(np.median([b for _, b in pairs])),
        "seconds_of_the_first_fit_with": first,
        "load": os.getloadavg()[0],
        "cores": os.cpu_count(),
    }


def main():
    options = arguments()
    result = measure(options)
    print(
        f"{result['backend']:10s} {result['model']} ratio {result['median_ratio']:.4f} "
        f"[{result['interval_95'][0]:.4f}, {result['interval_95'][1]:.4f}]"
    )
    if options.output:
        os.makedirs(os.path.dirname(options.output) or ".", exist_ok=True)
        with open(options.output, "w") as file:
            json.dump(result, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
