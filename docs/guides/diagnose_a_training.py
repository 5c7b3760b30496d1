# %% [markdown]
# # Diagnose a training
#
# Your network does not learn, or it stops too early. Two tools tell you why. `check`
# looks at the model and the data before the first step. `TrainingDiagnosis` looks while
# `fit` runs.
#
# Both give findings. A finding says what was seen, where and since when. It gives the
# number that was measured and its threshold. Then it names likely causes, each with a
# line of code to try.
#
# This page begins with `check`. Then it tells five stories. Each has a broken training,
# what the report says, the line that was changed, and the curve before and after. At the end
# you find [how to read a report](#how-to-read-a-report).

# %%
import keras
import numpy as np

import keras_gradattn as kg

kg.config.tune_jax_for_cpu()
keras.utils.set_random_seed(2)

digits = kg.datasets.load("digits")
x = digits.train.images.astype("float32")
y = digits.train.labels

# %% [markdown]
# ## Before training
#
# Here is a network with three faults. Do you see them?


# %%
def network(rate=1e-3, activation="relu", depth=2, last="softmax", from_logits=False):
    """A small dense network for the digits, compiled."""
    hidden = [keras.layers.Dense(32, activation) for _ in range(depth)]
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Flatten(),
            *hidden,
            keras.layers.Dense(10, last, name="classes"),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)
    model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
    return model


model = network(last=None, rate=1.0)
print(kg.check(model, x, y).report())

# %% [markdown]
# There are three findings. The percentage behind each name says how often such a finding was
# the cause, in programs with one known fault.
#
# `check` runs one batch through the network. It changes nothing: weights, optimizer and
# random seeds stay as they are.
#
# Mend the three faults and check again:

# %%
x = x / 255
print(kg.check(network(), x, y).report())

# %% [markdown]
# ## Story 1: the loss stays where it is
#
# Some faults show only in training. `TrainingDiagnosis` is a callback that looks for
# them. It reads the gradient norms, the loss of each batch and the logs. From time to
# time it also looks at the outputs of the layers.
#
# By default it warns while `fit` runs. With `on_finding="stop"` it also ends a training that
# has a fault. Here it says nothing until we ask for the report.


# %%
def train(model, x, y, epochs=6):
    """Train it under the diagnosis, and return the curves and the diagnosis."""
    doctor = kg.TrainingDiagnosis(on_finding="ignore")
    history = model.fit(
        x, y, validation_split=0.2, epochs=epochs, verbose=0, callbacks=[doctor]
    )
    return history.history, doctor


broken, doctor = train(network(rate=0.5), x, y)
print(doctor.report())
doctor.to_html("diagnosis.html")

# %% [markdown]
# Begin with the first finding. The others may follow from it. Here they do: the learning
# rate is far too high, and that has killed most of the units.
#
# `to_html` writes the same as a page that can be read without a network. It begins like this:
#
# ![The report in a browser: the first finding with its numbers, a curve and what to try](../images/diagnosis_report.png)
#
# The change is one number, from `rate=0.5` to `rate=1e-3`:

# %%
mended, doctor = train(network(rate=1e-3), x, y)
print(doctor.report())


# %% Validation accuracy by epoch: low and flat before the change, rising after it
def curves(broken, mended, name="val_accuracy"):
    """Both trainings, epoch by epoch."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 2.4), layout="constrained")
    axes = figure.subplots()
    for history, label, line in ((broken, "before", "--"), (mended, "after", "-")):
        values = history[name]
        colour = "#D55E00" if label == "before" else "#0072B2"
        axes.plot(range(1, len(values) + 1), values, line, color=colour, label=label)
    axes.set_xlabel("epoch")
    axes.set_ylabel(name)
    axes.legend(frameon=False)
    return figure


curves(broken, mended)

# %% [markdown]
# ## Story 2: the loss is NaN
#
# This is a regression. From ten measurements of a patient the network tells how far diabetes
# will progress. The data come with scikit-learn.

# %%
from sklearn.datasets import load_diabetes

patients, progress = load_diabetes(return_X_y=True)
patients = patients / patients.std(axis=0)


def regression():
    """A small dense network for one number, compiled."""
    layers = [keras.layers.Dense(32, "relu"), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((10,)), *layers])
    model.compile(keras.optimizers.SGD(0.02), "mean_squared_error")
    return model


broken, doctor = train(regression(), patients, progress, epochs=20)
print(broken["loss"][:3])
print(doctor.report())

# %% [markdown]
# The fault is that the loss is not finite. The reason is the second finding: the targets go up
# to 346, far beyond what a new network gives. So the first errors are huge, and so are
# the gradients.
#
# The change is the line that the report proposes for the targets. The picture has one
# curve only, because before the change there was no number to draw.

# %%
progress = (progress - progress.mean()) / progress.std()

mended, doctor = train(regression(), patients, progress, epochs=20)
print(doctor.report())

# %% Loss by epoch after the change: it falls; before the change there was no number to draw
curves(broken, mended, "loss")

# %% [markdown]
# ## Story 3: the first layers stand still
#
# This network has eight layers with sigmoid. For decades such networks were hard to train.

# %%
broken, doctor = train(network(activation="sigmoid", depth=8), x, y)


def first_finding(doctor):
    """The report of the first finding alone."""
    return kg.diagnosis.Findings(doctor.findings[:1]).report()


print(first_finding(doctor))

# %% [markdown]
# The callback has recorded the gradients too. They show what the finding means. From the last
# layer to the first, the gradient gets smaller with each layer.

# %% Gradient norms of nine layers: largest at the output, smaller with each layer before it
doctor.record.plot(kind="lines")

# %% [markdown]
# The change is `activation="relu"`:

# %%
mended, doctor = train(network(activation="relu", depth=8), x, y)
print(doctor.report())

# %% Validation accuracy by epoch: flat with sigmoid, rising with ReLU
curves(broken, mended)

# %% [markdown]
# ## Story 4: good in training, bad in validation
#
# That looks like overfitting, but it can have another cause.


# %%
def normalised(momentum):
    """A network with batch normalisation, compiled."""
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(32),
            keras.layers.BatchNormalization(momentum=momentum, name="norm"),
            keras.layers.ReLU(),
            keras.layers.Dense(10, "softmax"),
        ]
    )
    model.compile(
        keras.optimizers.Adam(1e-2),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


broken, doctor = train(normalised(momentum=0.999), x, y)
for name in ("accuracy", "val_accuracy"):
    print(f"{name:13s}", np.round(broken[name], 2))
print(first_finding(doctor))

# %% [markdown]
# In training, batch normalisation uses the mean and deviation of the batch. In validation
# it uses a running mean of them. With a momentum of 0.999 this running mean needs
# thousands of steps to catch up. This training has fewer than 200.
#
# The change is `momentum=0.9`:

# %%
mended, doctor = train(normalised(momentum=0.9), x, y)
print(doctor.report())

# %% Validation accuracy by epoch: low for long before the change, high from the start after it
curves(broken, mended)

# %% [markdown]
# ## Story 5: it learns, but not well
#
# The loss falls, so nobody looks for a fault. Yet the loss ends far above zero.

# %%
broken, doctor = train(network(from_logits=True), x, y)
print(first_finding(doctor))

# %% [markdown]
# The last layer gives probabilities. The loss was told that it gets logits, so it applies
# softmax once more. Keras does not always warn of this. `check` finds it before the first
# step, and so does `TrainingDiagnosis`, which begins with a `check`.
#
# The change is to leave out `from_logits=True`:

# %%
mended, doctor = train(network(), x, y)
print(doctor.report())

# %% Validation accuracy by epoch: the mended training is ahead in every epoch
curves(broken, mended)

# %% [markdown]
# ## How to read a report
#
# * A **fault** is a mistake that nobody makes on purpose. A **warning** probably makes
#   results worse. A **note** is good to know, and healthy trainings have notes too.
# * Begin with the first finding. Faults stand before warnings, and warnings before notes.
#   Among findings of the same kind, causes stand before what they cause.
# * The percentage says how often such a finding was the cause, in programs with one known
#   fault. If it is low, the finding mostly follows from something else.
# * *Not judged* says what could not be seen, and why. If you call `fit` with batches
#   instead of arrays, give the callback some data to look at:
#   `TrainingDiagnosis(data=(x, y))`.
# * If you have a run that went well, save its gradients with `GradientNorms.save`. Then
#   `TrainingDiagnosis(reference="good.npz")` says where the new run departs from it.
#
# You can also work with findings in your own code:

# %%
for finding in kg.check(network(from_logits=True), x, y):
    print(finding.severity, finding.name, finding.layers, finding.changes[0], sep="\n")

# %% [markdown]
# `to_json` and `to_html` write them to a file.
#
# The reference explains [every finding](../reference/diagnosis.md#every-finding). If you know another tool,
# [Rules of other tools](../diagnosis_rules.md) has its names beside ours.
