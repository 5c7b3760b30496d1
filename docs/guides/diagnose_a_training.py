# %% [markdown]
# # Diagnose a training
#
# The loss does not fall, or falls and stays. Two tools name what is wrong: `check` looks
# before the first step, `TrainingDiagnosis` looks while `fit` runs. Both give findings:
# what was seen, where, since when, the number and its threshold, likely causes, and a
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
        keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", ["accuracy"]
    )
    return model


model = network(keras.layers.Dense(10, name="classes"), rate=1.0)
print(kg.check(model, x, y).report())

# %% [markdown]
# `check` runs one batch through the network. Weights, optimizer and random seeds stay as
# they are.
#
# ## Mend and check again

# %%
scaled = x / 255
model = network(keras.layers.Dense(10, activation="softmax", name="classes"), rate=1e-3)
print(kg.check(model, scaled, y).report())

# %% [markdown]
# ## During training
#
# Some faults show only later. `TrainingDiagnosis` is a callback. It reads what
# `GradientNorms` measures inside the step, the loss of each batch and the logs, and it
# looks at the outputs of the layers from time to time. By default it warns; with
# `on_finding="stop"` it ends a training that has a fault.

# %%
hasty = network(keras.layers.Dense(10, activation="softmax", name="classes"), rate=0.5)
doctor = kg.TrainingDiagnosis(on_finding="ignore")
history = hasty.fit(scaled, y, epochs=6, batch_size=32, verbose=0, callbacks=[doctor])
print("loss by epoch:", np.round(history.history["loss"], 2))
print(doctor.report())

# %% [markdown]
# The findings are data as well: `doctor.findings` is a list, each with `name`, `severity`,
# `layers`, `evidence`, `causes` and `changes`. `to_json` and `to_html` write them.

# %%
for finding in doctor.findings:
    print(f"{finding.severity:8s} {finding.name:28s} {finding.confidence:.0%}")
doctor.to_html("diagnosis.html")

# %% [markdown]
# Gradients of the same training:

# %% Gradient norms of the hasty training: large at first, then gone in the hidden layers
doctor.record.plot(kind="lines")

# %% [markdown]
# ## A healthy training

# %%
doctor = kg.TrainingDiagnosis()
history = model.fit(scaled, y, epochs=6, batch_size=32, verbose=0, callbacks=[doctor])
print("loss by epoch:", np.round(history.history["loss"], 2))
print(doctor.report())

# %% [markdown]
# ## How to read it
#
# * A **fault** is certainly not meant. A **warning** probably makes results worse. A
#   **note** is good to know; healthy trainings have notes too.
# * The first finding is the one to look at first: causes stand before what they cause.
# * *Not judged* says what could not be seen, and why. `fit` on batches from a data set
#   needs `TrainingDiagnosis(data=(x, y))` for the checks of data and layers.
# * Compare with a run that went well: `TrainingDiagnosis(reference="good.npz")`, where
#   `GradientNorms.save` wrote the file.
