"""How long training waits for its recorder: python benchmarks/recorder_wait.py --help.

First `fit` (which compiles) and second `fit` of the same model, with and without the
recorder, in turn, each first one in a process of its own so that nothing is compiled
already. Processor seconds are given beside seconds: they do not count other programs.
"""

import argparse
import json
import os
import subprocess
import sys

MODELS = ("dense", "convolution", "embedding")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=MODELS, default="dense")
    parser.add_argument("--layers", type=int, default=200)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", help="where to write the JSON")
    parser.add_argument("--one", choices=("plain", "recorded"), help=argparse.SUPPRESS)
    return parser.parse_args()


def make(options):
    import keras

    width = options.width
    if options.model == "embedding":
        inputs = keras.Input((16,), dtype="int32")
        x = keras.layers.Embedding(1_000_000, 32)(inputs)
        x = keras.layers.GlobalAveragePooling1D()(x)
        optimizer = "sgd"
    elif options.model == "dense":
        inputs = x = keras.Input((width,))
        for _ in range(options.layers):
            x = keras.layers.Dense(width, activation="relu")(x)
        optimizer = "adam"
    else:
        inputs = x = keras.Input((16, 16, 3))
        for _ in range(options.layers):
            x = keras.layers.Conv2D(width, 3, padding="same", use_bias=False)(x)
            x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
        x = keras.layers.GlobalAveragePooling2D()(x)
        optimizer = "adam"
    model = keras.Model(inputs, keras.layers.Dense(1)(x))
    model.compile(optimizer, "mse")
    return model


def batch(options, model):
    import numpy as np

    shape = (32, *model.input_shape[1:])
    if options.model == "embedding":
        x = np.random.default_rng(0).integers(0, 1_000_000, shape)
    else:
        x = np.random.default_rng(0).normal(size=shape).astype("float32")
    return np.tile(x, (10,) + (1,) * (len(shape) - 1)), np.ones((320, 1), "float32")


def measure(options):
    """In a process of its own."""
    import time

    from keras_gradattn.gradients import GradientNorms

    model = make(options)
    x, y = batch(options, model)
    norms = [GradientNorms()] if options.one == "recorded" else []
    results = {}
    for name in ("first", "second", "third"):
        start, processor = time.perf_counter(), time.process_time()
        model.fit(x, y, batch_size=32, shuffle=False, verbose=0, callbacks=norms)
        results[f"{name}_s"] = time.perf_counter() - start
        results[f"{name}_processor_s"] = time.process_time() - processor
    print(json.dumps(results))


def alone(kind):
    environment = dict(os.environ)
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    done = subprocess.run(
        [sys.executable, *sys.argv, f"--one={kind}"],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def main():
    options = arguments()
    if options.one:
        measure(options)
        return
    rounds = []
    for number in range(options.rounds):
        order = ("plain", "recorded") if number % 2 else ("recorded", "plain")
        rounds.append({kind: alone(kind) for kind in order})
        print(json.dumps(rounds[-1]), flush=True)
    ratios = {
        key: sorted(r["recorded"][key] / r["plain"][key] for r in rounds)
        for key in rounds[0]["plain"]
    }
    report = {
        "backend": os.environ.get("KERAS_BACKEND", "jax"),
        "model": options.model,
        "layers": options.layers,
        "width": options.width,
        "rounds": rounds,
        "median_ratio": {k: v[len(v) // 2] for k, v in ratios.items()},
    }
    print(json.dumps(report["median_ratio"], indent=1))
    if options.output:
        with open(options.output, "w") as file:
            json.dump(report, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
