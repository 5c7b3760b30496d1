"""PAD-UFES-20, split by patient, with GradAttn V2.

    python examples/pad_ufes_20.py --data-dir ~/tensorflow_datasets

Needs   the data (3.4 GB) from https://data.mendeley.com/datasets/zr7vgbcyr2/1, then
        python -m keras_gradattn.datasets.prepare pad_ufes_20 --manual-dir FOLDER;
        scikit-learn and matplotlib
Time    about 1.6 minutes an epoch on two CPU cores (JAX, estimated from measured
        steps), 77 seconds on a GPU (published)
Expect  less than the published 50.58 % (one seed, split by image, so that patients
        of the test images were trained on); nobody has published the patients' split
"""

import argparse

import keras

import keras_gradattn as kg
from keras_gradattn import datasets, training

kg.config.tune_jax_for_cpu()

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--data-dir", help="folder of prepared data sets")
parser.add_argument("--epochs", type=int, default=100)
parser.add_argument("--limit", type=int, help="use so many images of each split")
parser.add_argument("--narrow", action="store_true", help="a network 64 times smaller")
options = parser.parse_args()

keras.utils.set_random_seed(42)
folder, limit = options.data_dir, options.limit
# No patient is in two parts.
data = datasets.load("pad_ufes_20", data_dir=folder, group="patient_id", limit=limit)
spec = data.spec
train = datasets.batches(data.train, spec, training=True, seed=42)
validation = datasets.batches(data.validation, spec, training=False)
test = datasets.batches(data.test, spec, training=False)

model = kg.GradAttnV2(
    spec.num_classes,
    input_shape=spec.input_shape,
    stage_filters=(8, 16, 32, 64) if options.narrow else (64, 128, 256, 512),
)
model.compile(
    optimizer=training.CoupledAdam(1e-3, weight_decay=1e-4),
    loss="sparse_categorical_crossentropy",
    metrics=["accuracy"],
)
norms = kg.GradientNorms()
model.fit(
    train,
    validation_data=validation,
    epochs=options.epochs,
    shuffle=False,  # batches of the training part are shuffled already
    class_weight=training.balanced_class_weights(data.train.labels, spec.num_classes),
    callbacks=[
        norms,
        keras.callbacks.ReduceLROnPlateau(
            "val_accuracy", factor=0.2, patience=4, mode="max", min_delta=0
        ),
        keras.callbacks.EarlyStopping(
            "val_accuracy", patience=7, mode="max", restore_best_weights=True
        ),
    ],
)

result = training.evaluate(model, test, class_names=spec.class_names)
print(result.summary())
print(norms.report())
norms.plot("pad_ufes_20_gradients.png")
