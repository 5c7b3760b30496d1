# %% [markdown]
# # See your gradients
#
# You have a Keras model. You want to know how large the gradient is at each depth while the
# model trains. One callback records that. This page shows how to read what it recorded.
#
# The model here is a small residual network in plain Keras. It uses nothing of this package,
# and yours need not either.
#
# To run this page, install `".[data,plots,tables,html]"` with your backend. See
# [Install](../install.md).

# %%
import keras

import keras_gradattn as kg

kg.config.tune_jax_for_cpu()
keras.utils.set_random_seed(1)

# %% [markdown]
# ## A model and some images
#
# Any compiled Keras model will do: Functional, Sequential, your own class, a network of
# `keras.applications`, or a task of KerasHub. It may contain other models, have several
# outputs, and use any optimizer of Keras.

# %%
data = kg.datasets.load("digits", limit=512)
train = kg.datasets.batches(data.train, data.spec, training=True, seed=1)


def block(x, name, filters, strides):
    """Two convolutions, and a shortcut around them."""
    way = keras.layers.Conv2D(filters, 1, strides, name=f"{name}_shortcut")(x)
    x = keras.layers.Conv2D(filters, 3, strides, "same", name=f"{name}_conv1")(x)
    x = keras.layers.BatchNormalization(name=f"{name}_norm1")(x)
    x = keras.layers.ReLU()(x)
    x = keras.layers.Conv2D(filters, 3, padding="same", name=f"{name}_conv2")(x)
    x = keras.layers.BatchNormalization(name=f"{name}_norm2")(x)
    return keras.layers.ReLU()(keras.layers.Add()([x, way]))


inputs = keras.Input((8, 8, 1))
x = keras.layers.Conv2D(16, 3, padding="same", activation="relu", name="first")(inputs)
for number, (filters, strides) in enumerate([(16, 1), (32, 2), (32, 1), (64, 2)]):
    x = block(x, f"block{number + 1}", filters, strides)
x = keras.layers.GlobalAveragePooling2D()(x)
outputs = keras.layers.Dense(10, activation="softmax", name="classes")(x)
model = keras.Model(inputs, outputs, name="small_resnet")
model.compile(
    keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy", metrics=["accuracy"]
)

# %% [markdown]
# ## Which depth is which?
#
# Without arguments, `kg.GradientNorms()` makes a group of each layer, in the order in which
# they compute. It does so for the layers of a model inside the model as well.
#
# This network has 22 layers with weights, which is too many to read. So we make larger
# groups. A function gives the name of the group for each variable. A dictionary from layer
# names to groups works too.


# %%
def part(variable):
    """`block2` for a variable of the layer `block2_conv1`."""
    layer = variable.path.split("/")[-2]
    return layer.split("_")[0]


# %% [markdown]
# ## Record
#
# The norms are taken inside the compiled step, from the gradients that the optimizer gets.
# So there is no second backward pass. The weights end up as they would without the callback.

# %%
norms = kg.GradientNorms(groups=part)
history = model.fit(train, epochs=3, shuffle=False, verbose=0, callbacks=[norms])

# %% [markdown]
# ## The table

# %%
print(norms.report())

# %% [markdown]
# What the columns mean:
#
# * **elements**: how many weights the group has, each with one element of the gradient.
# * **median norm**: the length of the group's gradient, `|g|`, in a typical step. A group
#   with more elements has a longer gradient.
# * **RMS**: the root mean square of the elements. It is `|g|` divided by the square root of
#   their number. Compare depths by this.
# * **first epoch**, **last epoch**: the mean of `|g|` in that epoch.
# * **to weights**: `|g|` divided by the length of the weights.
# * **update/weight**: how far one step moves the weights, divided by their length. With
#   Adam 0.001 to 0.01 is common. If it is far more, the learning rate is too high. If it is
#   far less, the depth stands still.
# * **exact zeros**: the share of elements that are exactly zero. Near 100 % the depth is
#   dead.
# * **not finite**: the number of steps with NaN or infinity in this group.
#
# ## The picture

# %% A heat map: six groups by 24 steps, the colour is the size of the gradient
norms.plot()

# %% [markdown]
# Depth goes from top to bottom, and time from left to right. The colour is the RMS, on a
# logarithmic scale.
#
# Depths often differ, as they do here, and that is no fault. Look for change. If a row fades
# while the others stay, that depth has stopped learning. A bright column is a step that
# shook the whole network.
#
# `kind="lines"` draws the same as lines.

# %% The same norms as lines over the training steps, one line for each group
norms.plot(kind="lines")

# %% [markdown]
# ## The numbers
#
# The record gives everything as arrays, as a dictionary (`to_dict`), or as a table of
# `pandas`. The logs of each epoch have the mean norm of the whole gradient, and those of the
# groups where it is smallest and largest. There `CSVLogger`, `TensorBoard` and
# `EarlyStopping` find them.

# %%
record = norms.record
print(record.norm.shape, "steps by groups")
print(record.rms[-1].round(5))

# %%
norms.to_dataframe("epochs")[["epoch", "group", "mean"]].head(4)

# %% [markdown]
# ## Keep it, compare it
#
# `save` writes the record to a file. When it is loaded, it has the same `report`, `plot` and
# tables. `to_html` writes a page that can be read without a network. Two trainings are
# compared like this:

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
# So far we saw gradients of *weights*. The gradient that flows back through a layer's
# *output* is something else. `analyze_gradient_flow` measures it on some batches, and leaves
# the model as it is. `with_output_taps` measures it during training.

# %%
flow = kg.analyze_gradient_flow(
    model, train, loss="sparse_categorical_crossentropy", batches=1
)
print("\n".join(flow.report().splitlines()[:12]))

# %% [markdown]
# Here `g` is the gradient and `a` is the output of the layer:
#
# * **|g| batch**: the length of the gradient of a whole batch. A larger map has a longer
#   one.
# * **RMS**: the root mean square of its elements, for one sample.
# * **|a||g| sample**: the length of the output times that of its gradient, for one sample.
#   Compare layers with maps of different size by this.
# * **mean^2**, **variance**: how large the outputs are. Each channel has a squared mean and a
#   variance over the batch and all positions. These are averaged over the channels.
# * **dead ReLU**: the share of channels that are zero for the whole batch.
#
# ## More
#
# | you want | use |
# |---|---|
# | a loop of your own, several optimizers, `train_on_batch` | `GradientNorms.watching` |
# | only some variables | `include="block_1*"`, `exclude="*bias"` |
# | a record that stays small in a long training | `every=10`: epoch means still see every step |
# | TensorBoard, Weights & Biases, MLflow, CSV | `writers="tensorboard"`, and so on |
# | to stop at the first NaN, and know its group | `on_nonfinite="stop"` |
#
# [The reference](../reference/gradients.md) has every argument.
