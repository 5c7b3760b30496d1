# %% [markdown]
# # Attention over depth
#
# What the networks compute, in drawings, equations and numbers.
#
# ## GradAttn: a head that looks at five depths
#
# A residual network adds a shortcut around every block, so that the gradient reaches the
# early layers. GradAttn (Ghoshal and Buckchash, 2026) leaves the shortcuts out. The
# features of five depths go to a small transformer instead, and the gradient comes back
# through it to each of them.
#
# ![A trunk of stem and four stages. Each of the five gives a token; the tokens go through three encoder blocks, their mean to a classifier](../images/gradattn.svg)
#
# 1. The trunk has a stem and four stages. A stage has two blocks of two convolutions with
#    batch normalisation and ReLU.
# 2. The map of each depth \(h_i\) is averaged over its positions, and a linear layer makes
#    a **token** of 256 numbers of it: \(t_i = W_i \,\mathrm{mean}(h_i) + b_i\).
# 3. The tokens learn which depth they are (see below).
# 4. Three encoder blocks let each token take from the others. The weights are scaled
#    dot-product attention (Vaswani et al. 2017, equation 1):
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
# `GradAttnPathways` is ours, not published. Here every block draws from all depths before
# it.
#
# ![A residual block adds its input to its output. A pathways block weighs the outputs of all earlier depths and adds those](../images/pathways.svg)
#
# Channels are in groups. For group \(g\) of the maps \(h_1 \dots h_n\) that a block can
# draw from:
#
# \[ x_g = P \sum_i a_{gi} \; \mathrm{align}(h_i)_g \]
#
# \[ a_g = \mathrm{softmax}_i \left( b_{gi} + \frac{q_g \cdot k_{gi}}{\sqrt{c}} \right),
#    \quad q = W d(h_n) + v, \quad k_i = d(\mathrm{align}(h_i)) \]
#
# * \(\mathrm{align}\) brings a map to the size and channels of the newest one.
# * \(d\) is the map's average over positions, divided by its RMS over channels; \(c\) is
#   the number of channels in a group.
# * \(b\), \(W\) and \(v\) are learned and start at zero. So training starts from the plain
#   average, whatever the image.
# * \(P\) is 1, or with `start="residual"` as large as makes the start a residual network.
#
# `mixing="static"` drops the part that depends on the image. `mixing="equal"` drops the
# learning as well. They are controls: what attention gains, it must gain over them.
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
# `depth_weights` gives an array of `(image, target, group, source)`. A target is a block;
# its weights sum to one over the sources.

# %%
weights = kg.depth_weights(model, test)
print(weights.values.shape)
print(weights.targets)
print(weights.sources)

# %% Depth weights of pathways: each row a block, each column a depth that it draws from
weights.plot()

# %% [markdown]
# Read a row from left to right: from which depths does this block draw? An empty cell is a
# depth that does not exist yet.
#
# ## Do they follow the image?
#
# `movement` is the share of the weight that an image puts elsewhere than the mean does: 0
# is the same weights for every image, 1 is entirely different ones.

# %%
for target, moved in zip(weights.targets, weights.movement.mean(axis=1)):
    print(f"{target:15s}{100 * moved:5.1f} %")

# %% [markdown]
# That they move does not say that moving helps. Freeze them to their mean over the
# training images and test again.

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
#   maps, and what it adds may be indispensable.
# * A network that is trained with attention leans on it and loses when it is frozen. A
#   network that never had it does as well without: see
#   [what the experiments say](../studies/README.md).
# * Two seeds give two patterns. Look at several before you tell a story.
