"""Train GradAttnV2 and ResNet18 on real handwritten digits, and look at the gradients.

    pip install -c constraints.txt ".[jax,quickstart]"
    python examples/quickstart.py

The images come inside scikit-learn (1,797 digits, 8x8), here enlarged to 32x32; nothing
is downloaded. JAX is the backend unless KERAS_BACKEND says otherwise. It takes a minute
and a half on two CPU cores; both networks reach more than 97 % of the test images.
"""

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import keras_gradattn as kg

kg.config.tune_jax_for_cpu()

SEED = 42
BATCH_SIZE = 64
# Half the published width: enough for digits, and fast on a laptop.
STAGE_FILTERS = (32, 64, 128, 256)


def digits():
    """Images (float32, 32x32x1, 0 to 1) and labels, in three parts."""
    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8, 1).astype("float32") / 16
    images = keras.ops.convert_to_numpy(keras.ops.image.resize(images, (32, 32)))
    # Whole batches: a smaller last one would be compiled once more.
    whole = {"train_size": 20 * BATCH_SIZE, "random_state": SEED}
    rest = train_test_split(images, labels, stratify=labels, **whole)
    train_images, rest_images, train_labels, rest_labels = rest
    whole["train_size"] = 4 * BATCH_SIZE
    halves = train_test_split(rest_images, rest_labels, stratify=rest_labels, **whole)
    validation_images, test_images, validation_labels, test_labels = halves
    return {
        "train": (train_images, train_labels),
        "validation": (validation_images, validation_labels),
        "test": (test_images, test_labels),
    }


class EpochTimes(keras.callbacks.Callback):
    """Seconds that each epoch took; in the first one backends compile."""

    def on_train_begin(self, logs=None):
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self.started)

    def in_words(self):
        total = f"{sum(self.seconds):.0f} s"
        if len(self.seconds) < 2:
            return total
        compiling = self.seconds[0] - np.median(self.seconds[1:])
        return f"{total}, {max(compiling, 0):.0f} of them to compile"


def train(network, data, epochs):
    """Train one network; returns it with its gradient record and its times."""
    keras.utils.set_random_seed(SEED)
    images, _ = data["train"]
    mean, std = [float(images.mean())], [float(images.std())]
    model = network(
        num_classes=10, input_shape=(32, 32, 1), stage_filters=STAGE_FILTERS
    )
    steps = epochs * -(-len(images) // BATCH_SIZE)
    schedule = keras.optimizers.schedules.CosineDecay(
        1e-4, steps, warmup_target=1e-3, warmup_steps=steps // 10
    )
    model.compile(
        keras.optimizers.Adam(schedule),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    norms, times = kg.GradientNorms(), EpochTimes()
    model.fit(
        (images - mean) / std,
        data["train"][1],
        validation_data=((data["validation"][0] - mean) / std, data["validation"][1]),
        epochs=epochs,
        batch_size=BATCH_SIZE,
        callbacks=[norms, times],
        verbose=2,
    )
    # From here on the model takes raw 0-255 pixels and knows its classes.
    usable = model.for_raw_images(mean, std, [str(digit) for digit in range(10)])
    return usable, norms, times


def main(epochs: int, output: Path) -> None:
    output.mkdir(parents=True, exist_ok=True)
    data = digits()
    test_images, test_labels = data["test"]
    print(f"Backend: {keras.backend.backend()}")
    lines = []
    for network in (kg.GradAttnV2, kg.ResNet18):
        print(f"\n{network.__name__}")
        model, norms, times = train(network, data, epochs)
        names = kg.predict_labels(model, 255 * test_images, batch_size=len(test_images))
        accuracy = 100 * np.mean(np.array(names) == test_labels.astype(str))
        path = output / f"{model.name}.keras"
        model.save(path)
        picture = output / f"{model.name}_gradients.png"
        norms.plot(picture)
        lines += [
            f"{network.__name__}: {accuracy:.2f} % of {len(test_labels)} test images, "
            f"{model.count_params():,} parameters, {times.in_words()}",
            f"  model: {path}",
            f"  gradients: {picture}",
        ]
    print("\n" + "\n".join(lines))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--output", type=Path, default=Path("quickstart_output"))
    arguments = parser.parse_args()
    main(arguments.epochs, arguments.output)
