# %% [markdown]
# # A tour in ten minutes
#
# You train a small network on handwritten digits, watch its gradients, measure it and
# save it. Nothing is downloaded.
#
# Install the package first, in the repository's folder:
#
#     pip install -c constraints.txt ".[jax,data,plots]"
#     export KERAS_BACKEND=jax
#
# In both lines `torch` or `tensorflow` may stand in place of `jax`. The code is the same on
# all three. [Install](../install.md) has the details.

# %%
import keras

import keras_gradattn as kg

kg.config.tune_jax_for_cpu()  # faster on a processor; does nothing on other backends
keras.utils.set_random_seed(42)

# %% [markdown]
# ## Data
#
# `digits` is one of the data sets that the package knows by name: 1,797 pictures of 8 by
# 8 pixels, from scikit-learn. `load` divides them into training, validation and test,
# always in the same way. `batches` shuffles, normalises and augments them.
#
# The last batch of an epoch is smaller. JAX would compile the training step a second time
# for it. `drop_remainder` leaves that batch out.

# %%
data = kg.datasets.load("digits")
print(len(data.train), len(data.validation), len(data.test))
train = kg.datasets.batches(
    data.train, data.spec, training=True, drop_remainder=True, seed=42
)
validation = kg.datasets.batches(data.validation, data.spec, training=False)
test = kg.datasets.batches(data.test, data.spec, training=False)

# %% [markdown]
# Look at what the network gets, before anything else.

# %% Twelve augmented pictures of digits, with their labels
kg.datasets.show(train, count=12)

# %% [markdown]
# ## Network
#
# `GradAttnV2` has two parts. A trunk of convolutions makes features at five depths: after
# the *stem*, which reads the image, and after each of four *stages*. The *head* is a small
# transformer. It reads all five features and gives the answer. Here both parts are narrow,
# so that they learn in a minute.

# %%
model = kg.GradAttnV2(
    num_classes=data.spec.num_classes,
    input_shape=data.spec.input_shape,
    stem="cifar",  # 8 pixels are too few for the usual stem
    stage_filters=(16, 32, 64, 128),
    stage_blocks=(1, 1, 1, 1),
    width=64,
    num_heads=4,
    feed_forward=128,
    num_layers=2,
)
print(f"{model.count_params():,} numbers to learn")

# %% [markdown]
# ## Training
#
# It is a Keras model, so `compile` and `fit` do what they always do. `GradientNorms` is a
# callback. In every step it records how large the gradient is. It changes nothing in the
# training.

# %%
model.compile(
    keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy", metrics=["accuracy"]
)
norms = kg.GradientNorms()
history = model.fit(
    train,
    validation_data=validation,
    epochs=6,
    shuffle=False,  # the batches are shuffled already
    callbacks=[norms],
    verbose=0,
)
for epoch, accuracy in enumerate(history.history["val_accuracy"], start=1):
    print(f"epoch {epoch}: {100 * accuracy:.1f} % of the validation images")

# %% [markdown]
# ## Gradients
#
# The report has one line for each depth. *Median norm* is the length of its gradient in a
# typical step. A depth with more weights has a longer gradient. *RMS*, the root mean square,
# does not depend on that. So compare depths by their RMS.

# %%
print(norms.report())

# %% A heat map: depths from stem to head, steps from left to right, size as colour
norms.plot()

# %% [markdown]
# Each row is a depth, each column is a step, and the colour is the RMS.
#
# Did you notice how many *exact zeros* `stage4` has? That is no fault here. Its maps are 1 by
# 1 pixel, so most of a kernel's 3 by 3 weights see nothing but padding.
#
# [See your gradients](see_your_gradients.md) explains the table and the picture, for a model
# in plain Keras.
#
# ## How good is it?

# %%
evaluation = kg.training.evaluate(
    model, test, validation=validation, class_names=data.spec.class_names
)
print(evaluation.summary())

# %% [markdown]
# The last three lines are about confidence: the probability that the network gives to its
# answer. *Calibration error* tells how far the confidence is from the share of right answers.
# A network can be corrected by one number, its temperature. *After temperature* is the error
# that is left then.
#
# ## Which depths does it draw from?
#
# In the transformer each depth takes up something from the other depths. `depth_weights`
# reads how much, for any images.

# %% A matrix for each encoder block: which depth takes how much from which
kg.depth_weights(model, test).plot()

# %% [markdown]
# Each row is a token in an encoder block: `block2_stem` is that of the stem in the second
# block. Read a row from left to right: how much does this token take from each depth?
# [Attention over depth](attention_over_depth.md) tells what these weights show, and what
# they do not.
#
# ## Keep it
#
# `for_raw_images` puts the normalisation and the names of the classes into the network. So
# whoever loads the saved model can give it raw pixels. It loads on any backend.

# %%
usable = model.for_raw_images(data.spec.mean, data.spec.std, data.spec.class_names)
usable.save("digits.keras")

loaded = keras.saving.load_model("digits.keras")
pictures = data.test.images[:8]  # 0 to 255
print(kg.predict_labels(loaded, pictures))
print([data.spec.class_names[label] for label in data.test.labels[:8]])

# %% [markdown]
# ## Where to go from here
#
# * Your images are in folders or a table: [Your own data](your_own_data.md).
# * Your network is another one: [See your gradients](see_your_gradients.md) and
#   [Your own backbone](your_own_backbone.md).
# * A training does not get better: [Diagnose a training](diagnose_a_training.md).
# * You want to train so that you can resume, repeat and compare:
#   [Recipes and the paper](recipes_and_the_paper.md).
