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
def network(last, rate):
    """A small dense network, compiled."""
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(64, activation="relu", name="first"),
            keras.layers.Dense(64, activation="relu", name="second"),
            last,
        ]
    )
    model.compile(
        keras.optimizers.Adam(rate),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


model = network(keras.layers.Dense(10, name="classes"), rate=1.0)
print(kg.check(model, x, y).report())

# %% [markdown]
# `check` runs one batch through the network. It changes nothing: weights, optimizer and
# random seeds stay as they are.
#
# ## Mend and check again

# %%
scaled = x / 255
model = network(keras.layers.Dense(10, activation="softmax", name="classes"), rate=1e-3)
print(kg.check(model, scaled, y).report())

# %% [markdown]
# ## During training
#
# Some faults show only later. `TrainingDiagnosis` is a callback that looks for them. It
# reads the gradient norms, the loss of each batch and the logs. From time to time it also
# looks at the outputs of the layers.
#
# By default it warns. With `on_finding="stop"` it ends a training that has a fault. Here
# it keeps quiet until the end, and the learning rate is far too high.

# %%
hasty = network(keras.layers.Dense(10, activation="softmax", name="classes"), rate=0.5)
doctor = kg.TrainingDiagnosis(on_finding="ignore")
history = hasty.fit(scaled, y, epochs=6, batch_size=32, verbose=0, callbacks=[doctor])
print("loss by epoch:", np.round(history.history["loss"], 2))
print(doctor.report())

# %% [markdown]
# The findings are data as well. `doctor.findings` is a list. Each has a `name`, a
# `severity`, `layers`, `evidence`, `causes` and `changes`. `to_json` and `to_html` write
# them to a file.

# %%
for finding in doctor.findings:
    print(f"{finding.severity:8s} {finding.name:28s} {finding.confidence:.0%}")
doctor.to_html("diagnosis.html")

# %% [markdown]
# `to_html` writes one page that needs no network. It begins like this:
#
# ![The report in a browser: the first finding with its numbers, a curve and what to try](../images/diagnosis_report_light.png#only-light)
# ![The report in a browser: the first finding with its numbers, a curve and what to try](../images/diagnosis_report_dark.png#only-dark)
#
# The callback has recorded the gradients too:

# %% Gradient norms of the hasty training: large at first, then gone in the hidden layers
doctor.record.plot(kind="lines")

# %% [markdown]
# ## A healthy training
#
# The mended network, with the same callback:

# %%
doctor = kg.TrainingDiagnosis()
history = model.fit(scaled, y, epochs=6, batch_size=32, verbose=0, callbacks=[doctor])
print("loss by epoch:", np.round(history.history["loss"], 2))
print(doctor.report())

# %% [markdown]
# ## How to read it
#
# * A **fault** is a mistake that nobody makes on purpose. A **warning** probably makes
#   results worse. A **note** is good to know; healthy trainings have notes too.
# * Begin with the first finding. Causes stand before what they cause.
# * *Not judged* says what could not be seen, and why. If you call `fit` with batches
#   instead of arrays, give the callback some data to look at:
#   `TrainingDiagnosis(data=(x, y))`.
# * You have a run that went well? Save its gradients with `GradientNorms.save`. Then
#   `TrainingDiagnosis(reference="good.npz")` says where this run departs from it.
#
# [Rules of other tools](../diagnosis_rules.md) lists what is looked for, and where each
# rule comes from. [The reference](../reference/diagnosis.md) has every argument.
