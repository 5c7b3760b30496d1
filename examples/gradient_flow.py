"""Gradient by depth of plain, residual and GradAttn trunks, and of MobileNetV2.

    python examples/gradient_flow.py                 # a few minutes on a processor
    python examples/gradient_flow.py --depths 18     # one depth only

Each network at depth 18, 34 and 50 is trained for a few steps on scikit-learn's digits
under the gradient recorder, then measured at its layers' outputs. Written are
`gradient_flow.png` (one axis, all trunks) and `mobilenet_v2.png`; the reports and the
share of the gradient that arrives at the input are printed.
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import numpy as np
from sklearn.datasets import load_digits

import keras_gradattn
from keras_gradattn.gradients.comparison import compare_gradients
from keras_gradattn.gradients.gradient_flow import analyze_gradient_flow
from keras_gradattn.gradients.gradient_norms import GradientNorms

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 6, 12, 3)}


def digits(samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Handwritten digits, 8x8 enlarged to 32x32 and repeated to three channels."""
    images, labels = load_digits(return_X_y=True)
    images = images[:samples].reshape(-1, 8, 8, 1).astype("float32") / 8 - 1
    return np.kron(images, np.ones((1, 4, 4, 3), "float32")), labels[:samples]


def trunk(kind: str, depth: int, filters: tuple[int, ...]) -> keras.Model:
    """A classifier on a plain, residual or GradAttn trunk."""
    arguments = {
        "num_classes": 10,
        "input_shape": (32, 32, 3),
        "stage_filters": filters,
        "stage_blocks": BLOCKS[depth],
    }
    if kind == "GradAttn":
        return keras_gradattn.GradAttnV2(**arguments, width=64, feed_forward=128)
    return keras_gradattn.ResNet18(**arguments, shortcuts=kind == "residual")


def train_and_measure(model, name, x, y, steps, batch_size):
    """Train under the recorder, then measure the convolutions' outputs."""
    model.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy")
    norms = GradientNorms(name=name)
    model.fit(
        x[: steps * batch_size], y[: steps * batch_size], batch_size=batch_size,
        verbose=0, callbacks=[norms],
    )  # fmt: skip
    convolutions = [
        layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)
    ]
    flow = analyze_gradient_flow(
        model, (x, y), layers=convolutions, batches=4, batch_size=batch_size, name=name
    )
    return norms, flow


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depths", type=int, nargs="+", default=list(BLOCKS))
    parser.add_argument("--filters", type=int, nargs=4, default=(16, 32, 64, 128))
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--folder", type=Path, default=Path())
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    x, y = digits(max(options.steps, 4) * options.batch_size)

    flows = {}
    for depth in options.depths:
        for kind in ("plain", "residual", "GradAttn"):
            keras.utils.set_random_seed(42)
            name = f"{kind}, depth {depth}"
            model = trunk(kind, depth, tuple(options.filters))
            norms, flows[name] = train_and_measure(
                model, name, x, y, options.steps, options.batch_size
            )
            print(norms.report(), "\n")
    comparison = compare_gradients(flows)
    comparison.plot(options.folder / "gradient_flow.png")
    for name, ratio in comparison.input_to_output().items():
        print(f"{name}: gradient at the first over the last convolution {ratio:.3g}")

    # Any Keras model will do: one that knows nothing of this package.
    keras.utils.set_random_seed(42)
    model = keras.applications.MobileNetV2(
        input_shape=(32, 32, 3), weights=None, classes=10
    )
    _, flow = train_and_measure(
        model, "MobileNetV2", x, y, options.steps, options.batch_size
    )
    flow.plot(options.folder / "mobilenet_v2.png")
    print(flow.report())


if __name__ == "__main__":
    main()
