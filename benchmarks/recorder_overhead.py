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
from keras_gradattn import training
from keras_gradattn.gradients._installation import Installation
from keras_gradattn.gradients.gradient_norms import GradientNorms
from keras_gradattn.gradients.output_taps import with_output_taps
from keras_gradattn.paper.pytorch_checkpoints import published_modules
from keras_gradattn.training._seeding import seed_libraries

OPTIMIZERS = {"adam": keras.optimizers.Adam, "coupled_adam": training.CoupledAdam}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="GradAttnV2")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--pixels", type=int, default=32)
    parser.add_argument("--steps", type=int, default=200, help="pairs of steps")
    parser.add_argument("--what", nargs="+", default=["default", "taps", "hooks"])
    parser.add_argument(
        "--optimizer",
        choices=OPTIMIZERS,
        default="adam",
        help="Keras' own, or the package's: of its shorter step the cost is more",
    )
    parser.add_argument("--output", help="where to write the JSON")
    return parser.parse_args()


class Steps:
    """One model whose steps run with or without recording.

    Both kinds share the model, its weights and its optimizer: where two models'
    weights happen to lie in memory changes a step's time by more than recording does.
    Only layer-output recording needs a model and an optimizer of its own, which share
    the weights and the moments.
    """

    def __init__(self, options, variant):
        seed_libraries(0)
        self.variant = variant
        self.model = getattr(keras_gradattn, options.model)(
            num_classes=10, input_shape=(options.pixels, options.pixels, 3)
        )
        random = np.random.default_rng(0)
        shape = (options.batch, options.pixels, options.pixels, 3)
        self.batch = (
            random.normal(size=shape).astype("float32"),
            random.integers(0, 10, options.batch),
        )
        self.recorded = self.model
        if variant == "taps":
            modules = published_modules(self.model).values()
            self.recorded = with_output_taps(self.model, list(modules))
        for model in {id(m): m for m in (self.model, self.recorded)}.values():
            model.compile(
                # One batch at a usual rate is soon learnt by heart, and gradients
                # that have vanished are not those of a training.
                OPTIMIZERS[options.optimizer](1e-7),
                "sparse_categorical_crossentropy",
            )
            model.train_on_batch(*self.batch)
        if self.recorded is not self.model:
            share_state(self.model, self.recorded)
        self.plain_function = self.model.train_function
        if variant in ("default", "taps"):
            self._install()

    def _install(self):
        # What `fit` does through the callback; `train_on_batch` would remove it.
        norms = GradientNorms()
        norms.set_model(self.recorded)
        norms.on_train_begin()
        norms.on_epoch_begin(0)
        del self.recorded.__dict__["make_train_function"]
        assert isinstance(norms._installation, Installation)
        self.norms = norms
        self.recording = self.recorded.optimizer.__dict__["apply"]
        self.recorded_function = self.recorded.train_function

    def _read_norm(self, gradient):
        self.last_norm = gradient.norm().item()  # a hook must return nothing

    def _recorded_step(self):
        if self.variant == "hooks":
            hooks = [
                v.value.register_hook(self._read_norm)
                for v in self.model.trainable_variables
            ]
            self.model.train_on_batch(*self.batch)
            for hook in hooks:
                hook.remove()
            return
        self.recorded.optimizer.__dict__["apply"] = self.recording
        self.recorded.train_function = self.recorded_function
        self.recorded.train_on_batch(*self.batch)

    def _plain_step(self):
        self.model.optimizer.__dict__.pop("apply", None)
        self.model.train_function = self.plain_function
        self.model.train_on_batch(*self.batch)

    def seconds(self, recorded):
        start = time.perf_counter()
        self._recorded_step() if recorded else self._plain_step()
        return time.perf_counter() - start


def share_state(model, tapped):
    """Let the tapped model's optimizer work on the other one's moments."""
    own, shared = tapped.optimizer, model.optimizer
    exchanged = {}
    for variable in model.trainable_variables:
        to, source = (o._get_variable_index(variable) for o in (own, shared))
        for slots in ("_momentums", "_velocities"):
            before, after = getattr(own, slots)[to], getattr(shared, slots)[source]
            exchanged[id(before)] = after
    for name in ("_momentums", "_velocities"):
        # Around `__setattr__`, which would track the variables a second time.
        own.__dict__[name] = [exchanged.get(id(v), v) for v in getattr(own, name)]
    if keras.backend.backend() == "jax":
        # Its state goes into the step by this list.
        own._variables[:] = [exchanged.get(id(v), v) for v in own._variables]


def measure(options, variant):
    steps = Steps(options, variant)
    for recorded in (True, False) * 3:
        steps.seconds(recorded)
    pairs = []
    for number in range(options.steps):
        order = (False, True) if number % 2 else (True, False)
        times = {recorded: steps.seconds(recorded) for recorded in order}
        pairs.append((times[True], times[False]))
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


def write(options, backend, results):
    """After each variant, so that an interrupted run leaves what it measured."""
    report = {
        "backend": backend,
        "model": options.model,
        "batch": options.batch,
        "pixels": options.pixels,
        "optimizer": options.optimizer,
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "results": results,
    }
    if options.output:
        os.makedirs(os.path.dirname(options.output) or ".", exist_ok=True)
        with open(options.output, "w") as file:
            json.dump(report, file, indent=1)
            file.write("\n")


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
            write(options, backend, results)


if __name__ == "__main__":
    main()
