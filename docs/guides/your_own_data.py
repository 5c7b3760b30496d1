# %% [markdown]
# # Your own data
#
# You have a folder of pictures. At the end of this page you have a trained network, a report
# on it, and a model file that others can use.
#
# Install the package with a backend, and what reads and draws pictures:
#
#     pip install -c constraints.txt ".[jax,data,plots,html]"
#     export KERAS_BACKEND=jax
#
# [Install](../install.md) has the other backends.

# %%
import keras
import numpy as np

import keras_gradattn as kg

kg.config.tune_jax_for_cpu()
keras.utils.set_random_seed(7)

# %% [markdown]
# ## A folder
#
# Your pictures lie in one folder for each class. This page has no pictures of yours, so it
# writes some from scikit-learn's digits:

# %%
from pathlib import Path

from PIL import Image
from sklearn.datasets import load_digits

pictures, labels = load_digits(return_X_y=True)
for number, (picture, label) in enumerate(zip(pictures, labels)):
    if label < 4 and number < 900:
        folder = Path("photos") / ["zero", "one", "two", "three"][label]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = (picture.reshape(8, 8) * 15.9).astype("uint8")
        Image.fromarray(pixels).resize((24, 24)).save(folder / f"{number}.png")

sorted(path.name for path in Path("photos").iterdir())

# %% [markdown]
# ## Read it
#
# `from_folder` opens every file once. It finds files that are bad, and it measures the mean
# and the deviation of the training images. Later an image is decoded when it is needed, so
# memory does not have to hold them all.

# %%
data = kg.datasets.from_folder("photos")
spec = data.spec
print(spec.class_names, f"{spec.image_size} pixels, {spec.channels} channel")
print(
    len(data.train),
    "train,",
    len(data.validation),
    "validation,",
    len(data.test),
    "test",
)

# %% [markdown]
# The images are divided into three parts, with the same share of each class. The same
# files and the same `seed` give the same parts. If your folder already contains `train`,
# `val` and `test`, these are taken as they are.
#
# Look at the pictures before you train.

# %% Sixteen training pictures with the names of their classes
kg.datasets.show(data, count=16)

# %% [markdown]
# ## In one command
#
# You need no code at all. The first line trains and tests a network. The second line writes
# to `labels.csv` what is on new pictures:
#
#     python -m keras_gradattn run --dataset photos/ --save-model
#     python -m keras_gradattn predict results/photos/.../seed42.keras new_photos/
#
# After each epoch the first line says how long the rest will take. For a first try add
# `--epochs 5`, which is too short to learn much. At the end it prints the name of a JSON file
# with the results. Beside that file lie the model and five pictures: the curves, the
# gradients, the confusion matrix, the worst errors and the calibration.
#
# [Recipes](recipes_and_the_paper.md) tells what you can choose. The rest of this page does
# the same step by step.
#
# ## Augmentation
#
# In training, each picture is changed a little every time it is used. By default it is
# shifted by up to a tenth of its width and height. You can choose other changes:

# %% The same pictures, turned and of other brightness
from keras_gradattn.datasets import Augmentation

table = (
    Augmentation("rotation", degrees=15),
    Augmentation("translation", fraction=0.1),
    Augmentation("brightness", amount=0.2),
)
kg.datasets.show(data, count=16, augmentation=table)

# %% [markdown]
# ## Train

# %%
train = kg.datasets.batches(data.train, spec, training=True, augmentation=table, seed=7)
validation = kg.datasets.batches(data.validation, spec, training=False)
test = kg.datasets.batches(data.test, spec, training=False)

model = kg.ResNet18(
    spec.num_classes,
    spec.input_shape,
    stem="cifar",
    stage_filters=(8, 16, 32),
    stage_blocks=(1, 1, 1),
)
model.compile(
    keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy", metrics=["accuracy"]
)
norms = kg.GradientNorms()
history = model.fit(
    train,
    validation_data=validation,
    epochs=8,
    shuffle=False,
    verbose=0,
    callbacks=[norms],
)
print(f"validation: {100 * history.history['val_accuracy'][-1]:.1f} %")

# %% [markdown]
# ## Report

# %%
evaluation = kg.training.evaluate(
    model, test, validation=validation, class_names=spec.class_names
)
print(evaluation.summary())
print("\nrows are the truth, columns the answer")
for name, row in zip(spec.class_names, evaluation.confusion_matrix):
    print(f"{name:>6}", row)

# %% [markdown]
# [The tour](tour.md#how-good-is-it) explains the last lines of the table.
# `evaluation.to_dict()` gives all of this as numbers and lists.
#
# The gradients of the training can be written to a page that opens in any browser:

# %%
norms.to_html("gradients.html", title="Digits from a folder")

# %% [markdown]
# ## Hand it on
#
# `for_raw_images` puts the normalisation and the names of the classes into the model. Then
# the saved model takes pictures with values from 0 to 255, and `predict_labels` gives names.

# %%
model.for_raw_images(spec.mean, spec.std, spec.class_names).save("digits.keras")

loaded = keras.saving.load_model("digits.keras")
picture = np.asarray(Image.open("photos/two/2.png"))
kg.predict_labels(loaded, picture[None, ..., None])

# %% [markdown]
# ## When files are bad
#
# One error names all bad files. With `on_bad="skip"` they are left out, and a warning says
# so.

# %%
Path("photos/one/empty.png").write_bytes(b"")
try:
    kg.datasets.from_folder("photos")
except kg.datasets.BadFilesError as error:
    print(error)

# %% [markdown]
# ## A table
#
# Your labels may stand in a CSV file or in a `pandas.DataFrame`. If there are several
# pictures of one patient, they should all go into the same part. Otherwise you would test on
# patients that the network has seen. `group` names the column that says which pictures belong
# together:

# %%
paths = [path for path in sorted(Path("photos").rglob("*.png")) if path.stem != "empty"]
lines = [
    f"{p.relative_to('photos')},{p.parent.name},{int(p.stem) // 10}" for p in paths
]
Path("table.csv").write_text("\n".join(["file,answer,patient", *lines]))

by_patient = kg.datasets.from_table(
    "table.csv", images="file", label="answer", group="patient", folder="photos"
)
len(by_patient.train), len(by_patient.validation), len(by_patient.test)

# %% [markdown]
# ## Arrays, pipelines, TensorFlow Datasets
#
# * `from_arrays(images, labels)` takes NumPy arrays, or tensors of any framework.
# * `from_source(source)` takes a `tf.data.Dataset`, a PyTorch `DataLoader`, a
#   `keras.utils.PyDataset`, Grain, or anything else that gives images and labels.
# * `from_tfds("oxford_flowers102")` takes any image data set of TensorFlow Datasets.
#   `load` with such a name does the same.
#
# All of them return what `from_folder` returns, so the rest of this page works with them too.
# [The reference](../reference/datasets.md) has every argument.

# %%
arrays = kg.datasets.from_arrays(
    pictures.reshape(-1, 8, 8) / 16, labels, class_names=[str(n) for n in range(10)]
)
arrays.spec.input_shape, len(arrays.train)
