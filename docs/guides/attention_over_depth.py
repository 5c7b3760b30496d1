# %% [markdown]
# # Attention over depth
#
# Which depths of a network feed the answer, and how much? The networks of this package decide
# that by attention. This page shows what they compute, in drawings and equations. Then it
# trains one and reads its weights.
#
# ## GradAttn: a head that looks at five depths
#
# A residual network has a shortcut around every block. Through the shortcuts the gradient
# reaches the early layers. GradAttn (Ghoshal and Buckchash, 2026) has no shortcuts.
# Instead, the features of five depths go to a small transformer, the head. Through the head
# the gradient comes back to each of the five depths.
#
# ![A trunk of stem and four stages. Each of the five gives a token; the tokens go through three encoder blocks, their mean to a classifier](../images/gradattn.svg)
#
# 1. The trunk has a stem and four stages. A stage has two blocks of two convolutions with
#    batch normalisation and ReLU.
# 2. The features of depth \(i\) are a map \(h_i\). It is averaged over its positions. A
#    linear layer turns the average into a **token** of 256 numbers:
#    \(t_i = W_i \,\mathrm{mean}(h_i) + b_i\).
# 3. In V2 and V3 the tokens are told which depth they come from, in the way that is drawn
#    below.
# 4. Three encoder blocks follow. In each, every token takes up something from all five tokens.
#    Token \(i\) takes the share \(a_{ij}\) from token \(j\). This is scaled dot-product
#    attention (Vaswani et al. 2017, equation 1):
#
#     \[ a_{ij} = \frac{\exp(q_i \cdot k_j / \sqrt{d})}{\sum_m \exp(q_i \cdot k_m / \sqrt{d})} \]
#
#     The query \(q_i\) and the key \(k_i\) are linear functions of token \(i\), and \(d\) is
#     their length. There are eight such heads of attention in a block.
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
# `GradAttnPathways` is our own variant, which the paper does not have. It has no transformer at
# its end. Here every block draws from all depths before it.
#
# ![A residual block adds its input to its output. A pathways block weighs the outputs of all earlier depths and adds those](../images/pathways.svg)
#
# A block can draw from the maps \(h_1 \dots h_n\) of the depths before it. Their channels are
# divided into groups. Each group \(g\) has its own weight \(a_{gi}\) for the map \(h_i\). The
# block gets
#
# \[ x_g = P \sum_i a_{gi} \; \mathrm{align}(h_i)_g \]
#
# Here \(\mathrm{align}\) brings a map to the size and channels of the newest one, \(h_n\). The
# factor \(P\) is 1. With `start="residual"` it is chosen so that training starts from a residual
# network.
#
# The weights come from a query \(q\) of the newest map and a key \(k_i\) of each map:
#
# \[ a_g = \mathrm{softmax}_i \left( b_{gi} + \frac{q_g \cdot k_{gi}}{\sqrt{c}} \right),
#    \qquad q = W d(h_n) + v, \qquad k_i = d(\mathrm{align}(h_i)) \]
#
# * \(d\) describes a map by one number for each channel: its average over positions, divided
#   by the RMS of these averages.
# * \(c\) is the number of channels in a group.
# * \(b\), \(W\) and \(v\) are learned and start at zero. So at first all maps have the same
#   weight, whatever the image.
#
# There are two simpler kinds to compare with. `mixing="static"` learns weights that are the
# same for every image. `mixing="equal"` learns none. If attention is worth its cost, it
# must be better than these.
#
# ## Train one
#
# This trains narrow pathways on handwritten digits:

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
# `depth_weights` gives an array with four axes: image, target, group and source. A *target* is
# a block that draws, or the head. A *source* is a depth that it draws from. The weights of a
# target sum to one over its sources.

# %%
weights = kg.depth_weights(model, test)
print(weights.values.shape)
print(weights.targets)
print(weights.sources)

# %% Depth weights of pathways: each row a block, each column a depth that it draws from
weights.plot()

# %% [markdown]
# Each row is a target. Read it from left to right: from which depths does it draw? An empty
# cell is a depth that it cannot draw from.
#
# ## Do they follow the image?
#
# `movement` tells how far the weights of an image are from the mean weights. At 0 % every
# image has the same weights. At 20 % an image puts a fifth of its weight elsewhere than the
# mean does.

# %%
for target, moved in zip(weights.targets, weights.movement.mean(axis=1)):
    print(f"{target:15s}{100 * moved:5.1f} %")

# %% [markdown]
# They follow the image, but does that help? We freeze the weights to their mean over the
# training images, and test again.

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
# * They do not show that attention is needed. A network that was trained with attention gets
#   worse when its weights are frozen. But a network that was trained with equal weights was
#   as good. See [what the experiments say](../../studies/README.md).
# * Another seed gives another pattern. Look at several before you conclude anything.
