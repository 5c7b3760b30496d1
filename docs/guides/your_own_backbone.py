# %% [markdown]
# # Your own backbone
#
# `attach` puts the GradAttn head on another network: from `keras.applications`, KerasHub
# or KerasCV, or your own Functional model. The head takes the features of several depths.
# It makes a token of each and weighs them by attention.
#
# For KerasHub and KerasCV install `".[peers]"` as well.

# %%
import keras
import numpy as np

import keras_gradattn as kg

kg.config.tune_jax_for_cpu()
keras.utils.set_random_seed(3)

# %% [markdown]
# ## At named layers
#
# Choose layers from shallow to deep. Their maps may have any size and any number of
# channels. What lies behind the last one is left out of the new network.

# %%
backbone = keras.applications.MobileNetV2(
    (32, 32, 3), alpha=0.35, include_top=False, weights=None
)
names = [
    "block_1_expand_relu",
    "block_3_expand_relu",
    "block_6_expand_relu",
    "block_10_expand_relu",
]
model = kg.attach(
    backbone,
    names,
    num_classes=10,
    width=32,
    num_heads=4,
    feed_forward=64,
    num_layers=2,
)
[backbone.get_layer(name).output.shape for name in names]

# %% [markdown]
# With `weights="imagenet"` you begin from trained weights. Then one trains in two phases:
# first the head alone, then everything at a small learning rate. For the first phase set
# `backbone.trainable = False` before you compile. One `GradientNorms` records both.
#
# ## Train it

# %%
data = kg.datasets.load("digits", limit=384)
# 8 by 8 grey pictures as 32 by 32 with three channels, from -1 to 1.
images = np.kron(data.train.images, np.ones((1, 4, 4, 3))).astype("float32")
images, labels = images / 127.5 - 1, data.train.labels
model.compile(
    keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy", metrics=["accuracy"]
)
norms = kg.GradientNorms(include="head/*")
history = model.fit(images, labels, epochs=6, verbose=0, callbacks=[norms])
print([f"{100 * accuracy:.0f} %" for accuracy in history.history["accuracy"]])

# %% [markdown]
# ## Which depth counts?

# %%
weights = kg.depth_weights(model, images[:64])
for source, share in zip(weights.sources, weights.mean.mean(axis=(0, 1))):
    print(f"{source:22s}{share:.2f}")

# %% Attention of the two encoder blocks of the head over the four depths
weights.plot()

# %% [markdown]
# ## A KerasHub backbone
#
# KerasHub's backbones name some depths themselves; together they are called a pyramid.
# Without names `attach` takes all of its levels.

# %%
from keras_hub.models import ResNetBackbone

hub = ResNetBackbone(
    input_conv_filters=[64],
    input_conv_kernel_sizes=[3],
    stackwise_num_filters=[64, 64, 64],
    stackwise_num_blocks=[1, 1, 1],
    stackwise_num_strides=[1, 2, 2],
    block_type="basic_block",
    image_shape=(32, 32, 3),
)
print(sorted(hub.pyramid_outputs))
model = kg.attach(hub, num_classes=10, width=32, num_heads=4, num_layers=1)

# %% [markdown]
# To see its gradients you need nothing but the callback. A classifier of KerasHub works the
# same way: give the callback to its `fit`. The backbone is a model inside the model.
# `GradientNorms()` opens such models by itself, and `level` says how deep: with `level=1`
# the whole backbone is one group.

# %%
model.compile("adam", "sparse_categorical_crossentropy")
norms = kg.GradientNorms(level=2)
history = model.fit(images, labels, epochs=2, verbose=0, callbacks=[norms])
print("\n".join(norms.report().splitlines()[:12]))

# %% [markdown]
# ## Inside your own network
#
# `layers.DepthMixing` adds up feature maps of several depths. Their weights depend on the
# image. Put it in the place of a shortcut, anywhere in a Functional model.

# %%
inputs = keras.Input((16, 16, 3))
first = keras.layers.Conv2D(16, 3, padding="same", activation="relu")(inputs)
second = keras.layers.Conv2D(16, 3, strides=2, padding="same", activation="relu")(first)
third = keras.layers.Conv2D(32, 3, padding="same", activation="relu")(second)
mixed = kg.layers.DepthMixing(channel_groups=4, name="mix")([first, second, third])
outputs = keras.layers.Dense(10)(keras.layers.GlobalAveragePooling2D()(mixed))
own = keras.Model(inputs, outputs)

kg.depth_weights(own, np.zeros((1, 16, 16, 3))).mean.round(2)

# %% [markdown]
# At the start every depth weighs the same, whatever the image. Training changes that.
# [Attention over depth](attention_over_depth.md) has the formula.
#
# ## When it does not fit
#
# The error says what there is.

# %%
try:
    kg.attach(backbone, ["block_3_expand"], num_classes=10)
    kg.attach(backbone, ["blok_3_expand_relu"], num_classes=10)
except ValueError as error:
    print(error)
