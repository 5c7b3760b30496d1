# %% [markdown]
# # See your gradients
#
# You have a Keras model. You want to know what gradient each depth gets while it trains.
# One callback records that; this page shows how to read it. The model here is
# MobileNetV2 from `keras.applications`, which knows nothing of this package.

# %%
import keras
import numpy as np

import keras_gradattn as kg

kg.config.tune_jax_for_cpu()
keras.utils.set_random_seed(1)

# %% [markdown]
# ## A model and some images
#
# Any compiled Keras model will do: Functional, Sequential or your own class, with nested
# models, several outputs or an optimizer of your choice.

# %%
data = kg.datasets.load("digits", limit=512)
train = kg.datasets.batches(data.train, data.spec, training=True, seed=1)

inputs = keras.Input((8, 8, 1))
images = keras.layers.Resizing(32, 32)(inputs)
images = keras.layers.Concatenate()([images] * 3)
body = keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, weights=None, classes=10)
model = keras.Model(inputs, body(images), name="digits")
model.compile(
    keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy", metrics=["accuracy"]
)

# %% [markdown]
# ## Record
#
# The norms are taken inside the compiled step, from the very gradients that the optimizer
# gets. There is no second backward pass, and the weights end up as they would without
# the callback.

# %%
norms = kg.GradientNorms()
history = model.fit(train, epochs=2, shuffle=False, verbose=0, callbacks=[norms])
print(len(norms.record.groups), "groups, such as", norms.record.groups[8])

# %% [markdown]
# ## Which depth is which?
#
# Without further words the layers form groups in the order in which they compute. Name
# your own groups where you know better: a mapping from layer names or a function from a
# variable to a group.


# %%
def part(variable):
    """The block of MobileNetV2 that a variable belongs to."""
    name = variable.path.split("/")[-2]
    if not name.startswith("block_"):
        return "first" if "onv1" in name or "expanded" in name else "last"
    number = int(name.split("_")[1])
    first = number - (number - 1) % 4
    return f"blocks {first} to {first + 3}"


norms = kg.GradientNorms(groups=part, name="MobileNetV2")
history = model.fit(train, epochs=3, shuffle=False, verbose=0, callbacks=[norms])

# %% [markdown]
# ## The table

# %%
print(norms.report())

# %% [markdown]
# * **median norm**: the length of the gradient of all variables of a group, `|g|`. Wide
#   groups have longer ones.
# * **RMS**: `|g|` divided by the square root of the number of elements. Compare depths
#   by this.
# * **to weights**: `|g|` over the length of the weights.
# * **update/weight**: how far one step moved the weights, relative to their length. About
#   0.001 is common for Adam; far more is a learning rate that is too high, far less a
#   depth that stands still.
# * **exact zeros**: share of gradient elements that are exactly zero. Near 100 % is a
#   dead depth.
# * **not finite**: steps with NaN or infinity in this group.
#
# ## The picture

# %% A heat map of MobileNetV2: six groups by 24 steps, early blocks with larger gradients
norms.plot()

# %% [markdown]
# Depth from top to bottom, time from left to right, colour on a logarithmic scale. That
# depths differ is common, as here with batch normalisation. Look for change: a row that
# fades while the others stay learns no more, and a bright column is a step that shook
# the whole network. `kind="lines"` draws the same as lines.

# %% The same norms as lines over the training steps, one line for each group
norms.plot(kind="lines")

# %% [markdown]
# ## The numbers
#
# The epoch's logs have three more entries, so that `CSVLogger`, `TensorBoard` or
# `EarlyStopping` can use them. The record gives everything as arrays, as a dictionary, or
# as a `pandas` table.

# %%
record = norms.record
print(record.norm.shape, "steps by groups")
print(record.rms[-1].round(5))

# %%
norms.to_dataframe("epochs")[["epoch", "group", "mean"]].head(4)

# %% [markdown]
# ## Keep it, compare it
#
# A saved record has the same `report`, `plot` and tables. `to_html` writes one page that
# needs no network.

# %%
norms.save("adam.npz")
norms.to_html("adam.html")

keras.utils.set_random_seed(1)
other = keras.models.clone_model(model)
other.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
with_sgd = kg.GradientNorms(groups=part)
history = other.fit(train, epochs=3, shuffle=False, verbose=0, callbacks=[with_sgd])

both = {"Adam": kg.GradientNorms.load("adam.npz"), "SGD": with_sgd}
comparison = kg.compare_gradients(both)

# %% RMS of the gradient by depth, for Adam and for SGD, first and last epoch
comparison.plot()

# %% [markdown]
# ## Gradients of layer outputs
#
# So far: gradients of *weights*. The gradient that flows back through a layer's *output*
# is another number. `with_output_taps` measures it in training, `analyze_gradient_flow`
# in any model without changing it.

# %%
batch = next(iter(train))
flow = kg.analyze_gradient_flow(
    body,
    (np.tile(np.kron(batch[0], np.ones((1, 4, 4, 1))), 3).astype("float32"), batch[1]),
    loss="sparse_categorical_crossentropy",
    batches=1,
)
print("\n".join(flow.report().splitlines()[:12]))

# %% [markdown]
# ## More
#
# * A loop of your own, several optimizers, `train_on_batch`: `GradientNorms.watching`.
# * Only some variables: `include="block_1*"`, `exclude="*bias"`.
# * Long trainings: `every=10` keeps every tenth step. Epoch means still see all.
# * TensorBoard, Weights & Biases, MLflow, CSV: `writers="tensorboard"` and so on.
# * NaN: `on_nonfinite="stop"` ends the training and names the first group.
#
# [The reference](../reference/gradients.md) has every argument.
