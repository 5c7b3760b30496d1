# %% [markdown]
# # Your own backbone
#
# `attach` puts the GradAttn head on another network, its backbone. That may come from
# `keras.applications`, KerasHub or KerasCV, or be a Functional model of yours. The head is a
# small transformer. It reads the features of several depths of the backbone.
# [Attention over depth](attention_over_depth.md) tells how it works.
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
# Choose layers of the backbone, from shallow to deep. Their outputs may have any size and
# any number of channels. What comes after the last of them is left out of the new network.

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
# Here the backbone begins from random weights. With `weights="imagenet"` it begins from
# trained ones, and one usually trains in two phases. In the first the head is trained alone:
# set `backbone.trainable = False` before you compile. In the second everything is trained, at
# a small learning rate. Give both calls of `fit` the same `GradientNorms`. It records both
# phases.
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
# ## How much weight does each depth have?

# %%
weights = kg.depth_weights(model, images[:64])
for source, share in zip(weights.sources, weights.mean.mean(axis=(0, 1))):
    print(f"{source:22s}{share:.2f}")

# %% Attention of the two encoder blocks of the head over the four depths
weights.plot()

# %% [markdown]
# ## A KerasHub backbone
#
# Many backbones of KerasHub have names for some of their depths, such as `P3`. Together these
# are called a pyramid. If you name no layers, `attach` takes the whole pyramid.

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
# same way: give the callback to its `fit`. There the backbone is a model inside the model.
# `GradientNorms()` opens such models by itself. The argument `level` says how far: with
# `level=1` the whole backbone is one group, and with `level=2` each of its layers is one.

# %%
model.compile("adam", "sparse_categorical_crossentropy")
norms = kg.GradientNorms(level=2)
history = model.fit(images, labels, epochs=2, verbose=0, callbacks=[norms])
print("\n".join(norms.report().splitlines()[:12]))

# %% [markdown]
# ## Inside your own network
#
# `layers.DepthMixing` adds up feature maps of several depths, with weights that depend on the
# image. It can stand in place of a shortcut, anywhere in a Functional model.

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
# At the start every depth has the same weight, whatever the image. Training changes that.
# [Attention over depth](attention_over_depth.md#pathways-attention-in-place-of-every-shortcut)
# has the formula.
#
# ## When a name is wrong
#
# The error says which names there are.

# %%
try:
    kg.attach(backbone, ["block_3_expand"], num_classes=10)
    kg.attach(backbone, ["blok_3_expand_relu"], num_classes=10)
except ValueError as error:
    print(error)
