"""Attention over depth in place of shortcuts: which depth feeds which block.

    python examples/pathways.py

Trains `GradAttnPathways` on handwritten digits, asks whether its mixing weights follow
the image, what it loses when they are frozen to their mean, and draws them.

Needs   scikit-learn (it contains the images) and matplotlib
Time    about three minutes on two CPU cores, 15 epochs (JAX)
Expect  96.7 % of the test images, 96.3 % with frozen weights (one run of this script on
        JAX and a CPU)
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import numpy as np

import keras_gradattn as kg
from keras_gradattn import datasets

kg.config.tune_jax_for_cpu()

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--epochs", type=int, default=15)
parser.add_argument("--limit", type=int, help="use so many images of each split")
parser.add_argument("--filters", type=int, nargs="+", default=[16, 32, 64, 128])
parser.add_argument("--blocks", type=int, nargs="+", default=[2, 2, 2, 2])
parser.add_argument("--folder", type=Path, default=Path())
options = parser.parse_args()

keras.utils.set_random_seed(42)
data = datasets.load("digits", limit=options.limit)
spec = data.spec
train = datasets.batches(data.train, spec, training=True, seed=42)
test = datasets.batches(data.test, spec, training=False)

model = kg.GradAttnPathways(
    spec.num_classes,
    input_shape=spec.input_shape,
    stem="cifar",  # 8 pixels leave nothing for a 7x7 stem to reduce
    stage_filters=options.filters,
    stage_blocks=options.blocks,
)
model.compile(
    optimizer=keras.optimizers.AdamW(2e-3, weight_decay=0.05),
    loss="sparse_categorical_crossentropy",
    metrics=["accuracy"],
)
# The batches are shuffled already.
model.fit(train, epochs=options.epochs, shuffle=False, verbose=2)

weights = kg.depth_weights(model, train)
print(f"depth weights (batch, target, group, source): {weights.values.shape}")
for block, share in zip(weights.targets, weights.movement.mean(axis=-1), strict=True):
    print(f"{block:15s} {100 * share:5.2f} % of its weight moves with the image")

frozen = kg.freeze_depth_weights(model, weights)
frozen.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
for name, network in (("following the image", model), ("frozen to the mean", frozen)):
    accuracy = network.evaluate(test, verbose=0, return_dict=True)["accuracy"]
    print(f"weights {name}: {100 * accuracy:.2f} % of the test images")

seen = kg.depth_weights(model, test)
# The images whose weights are farthest from the mean.
farthest = np.argsort(np.nansum(abs(seen.values - seen.mean), axis=(1, 2, 3)))[-2:]
labels = np.asarray(data.test.labels)[farthest]
picture = options.folder / "digits_pathways.png"
seen.plot(picture, images=farthest, titles=[f"a {label}" for label in labels])
print(f"which depth feeds which block: {picture}")
