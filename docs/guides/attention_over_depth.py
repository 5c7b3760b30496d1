# %% [markdown]
# # Attention over depth
#
# This page shows what the networks compute, in drawings, equations and numbers. Then it
# trains one and reads its weights.
#
# ## GradAttn: a head that looks at five depths
#
# A residual network has a shortcut around every block. Through the shortcuts the gradient
# reaches the early layers. GradAttn (Ghoshal and Buckchash, 2026) has no shortcuts.
# Instead, the features of five depths go to a small transformer. The gradient comes back
# through it to each of the five.
#
# ![A trunk of stem and four stages. Each of the five gives a token; the tokens go through three encoder blocks, their mean to a classifier](../images/gradattn.svg)
#
# 1. The trunk has a stem and four stages. A stage has two blocks of two convolutions with
#    batch normalisation and ReLU.
# 2. The features of depth \(i\) are a map \(h_i\). It is averaged over its positions. A
#    linear layer turns the average into a **token** of 256 numbers:
#    \(t_i = W_i \,\mathrm{mean}(h_i) + b_i\).
# 3. In V2 and V3 the tokens are told which depth they come from (see below).
# 4. In three encoder blocks each token takes something from each other. How much it takes
#    is scaled dot-product attention (Vaswani et al. 2017, equation 1):
#
#     \[ a_{ij} = \frac{\exp(q_i \cdot k_j / \sqrt{d})}{\sum_m \exp(q_i \cdot k_m / \sqrt{d})} \]
#
# 5. The mean of the five tokens goes to a linear classifier.
#
# ### V1, V2 and V3
#
# They differ in one thing only: how a token knows its depth.
#
# ![V1 adds nothing. V2 adds a learned vector to each token. V3 turns queries and keys by an angle that grows with depth](../images/positions.svg)
#
# ## Pathways: attention in place of every shortcut
#
# `GradAttnPathways` is our own variant; the paper does not have it. Here every block draws
# from all depths before it.
#
# ![A residual block adds its input to its output. A pathways block weighs the outputs of all earlier depths and adds those](../images/pathways.svg)
#
# A block can draw from the maps \(h_1 \dots h_n\). Their channels are divided into groups,
# and each group \(g\) has weights \(a_{gi}\) of its own. The block gets
#
# \[ x_g = P \sum_i a_{gi} \; \mathrm{align}(h_i)_g \]
#
# with the weights
#
# \[ a_g = \mathrm{softmax}_i \left( b_{gi} + \frac{q_g \cdot k_{gi}}{\sqrt{c}} \right),
#    \]
#
# where query and keys are
#
# \[ q = W d(h_n) + v, \qquad k_i = d(\mathrm{align}(h_i)). \]
#
# * \(\mathrm{align}\) brings a map to the size and channels of the newest one.
# * \(d\) is the map's average over positions, divided by its RMS over channels; \(c\) is
#   the number of channels in a group.
# * \(b\), \(W\) and \(v\) are learned and start at zero. So training starts from the plain
#   average, whatever the image.
# * \(P\) is 1. With `start="residual"` it is chosen so that training starts from a residual
#   network.
#
# There are two simpler kinds to compare with. `mixing="static"` learns weights that are the
# same for every image. `mixing="equal"` learns none. If attention is worth its cost, it
# must be better than these.
#
# ## Train one
#
# A narrow network on handwritten digits.

# %%
import keras

import keras_gradattn as kg

kg.config.tune_jax_for_cpu()
keras.utils.set_random_seed(5)

data = kg.datasets.load("digits")
train = kg.datasets.batches(data.train, data.spec, training=True, seed=5)
test = kg.datasets.batches(data.test, data.spec, training=False)

model = kg.GradAttnPathways(
    10, (8, 8, 1), stem="cifar", stage_filters=(8, 16, 32), stage_blocks=(2, 2, 2)
)
model.compile(
    keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy", metrics=["accuracy"]
)
history = model.fit(train, epochs=8, shuffle=False, verbose=0)
accuracy = model.evaluate(test, verbose=0, return_dict=True)["accuracy"]
print(f"{100 * accuracy:.1f} % of {len(data.test)} test images")

# %% [markdown]
# ## Read the weights
#
# `depth_weights` gives an array with the axes image, target, group and source. A target is
# a block that draws, a source is a depth that it draws from. The weights of a target sum
# to one over its sources.

# %%
weights = kg.depth_weights(model, test)
print(weights.values.shape)
print(weights.targets)
print(weights.sources)

# %% Depth weights of pathways: each row a block, each column a depth that it draws from
weights.plot()

# %% [markdown]
# Each row is a block. Read it from left to right: from which depths does this block draw? An
# empty cell is a depth that comes later.
#
# ## Do they follow the image?
#
# `movement` tells how far the weights of an image are from the mean weights. At 0 every
# image has the same weights. At 1 an image has none of its weight where the mean has it.

# %%
for target, moved in zip(weights.targets, weights.movement.mean(axis=1)):
    print(f"{target:15s}{100 * moved:5.1f} %")

# %% [markdown]
# They move, but does that help? Freeze the weights to their mean over the training images,
# and test again.

# %%
frozen = kg.freeze_depth_weights(model, kg.depth_weights(model, train))
frozen.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
accuracy = frozen.evaluate(test, verbose=0, return_dict=True)["accuracy"]
print(f"{100 * accuracy:.1f} % with frozen weights")

# %% [markdown]
# ## What the weights show, and what they do not
#
# * They show where a block's input comes from, in this network, for these images.
# * They do not show which depth is important. A depth with a small weight may have large
#   maps, and the network may need them.
# * A network that was trained with attention relies on it, and loses when it is frozen. A
#   network that never had attention does as well without. See
#   [what the experiments say](../../studies/README.md).
# * Another seed gives another pattern. Look at several before you conclude anything.
