# %% [markdown]
# # Recipes and the paper
#
# A recipe says how to train: which optimizer, which learning rate, how many epochs.
# `training.run` takes a data set, a network, a recipe and a seed. It trains, tests, and
# writes one JSON file. This page shows how to do that, and then how to repeat a row of the
# paper.

# %%
import keras_gradattn as kg

kg.config.tune_jax_for_cpu()  # faster on a processor; nothing on other backends

from keras_gradattn import paper, training

# %% [markdown]
# ## What there is

# %%
print("networks:", *training.MODELS)
print("data sets:", *kg.datasets.SPECS)
print("recipes:", *training.RECIPES, *paper.RECIPES)

# %% [markdown]
# The recipe `modern` is ours. The others are about the paper:
#
# * `as_described` does what the text of the paper says.
# * `as_released` does what the authors' released code does.
# * Each `as_released_..._repaired` is the released code with a defect mended.
# * `fixed_steps_...` are for comparing ways of weight decay.
#
# ## One run
#
# In a shell:
#
#     python -m keras_gradattn run --dataset digits --model gradattn_v2 --epochs 2
#
# In Python, here with a small network and few images, so that this page is quick. Three epochs
# are too few to learn much. The recipe has a hundred.

# %%
small = {"stage_filters": (8, 16), "stage_blocks": (1, 1)}
short = {"max_epochs": 3, "limit": 256, "verbose": 0}
result = training.run("digits", "resnet18", seed=1, model_options=small, **short)
print(f"{result['epochs_run']} epochs, short: {result['short']}")

# %% [markdown]
# * The name of the file says what was run.
# * If you run the same again, nothing is trained. The finished run is read from its file.
# * If you interrupt a run, start it again. It goes on after its last finished epoch.
# * `short` is true if a run is shorter than its recipe says. Do not quote the accuracy of a
#   short run as that of the recipe.

# %%
again = training.run("digits", "resnet18", seed=1, model_options=small, **short)
again["metrics"]["top1"] == result["metrics"]["top1"]

# %% [markdown]
# ## Change a recipe
#
# In a shell add `--set learning_rate=3e-4`. In Python:

# %%
slower = training.RECIPES["modern"].with_changes(learning_rate=3e-4)
slower.learning_rate, slower.changes

# %% [markdown]
# ## Compare
#
# `compare` reads all results in a folder. If the paper has a figure for the same data set and
# network, the table has that too. For digits it has none.

# %%
print(training.compare("results", published=paper.published))

# %% [markdown]
# ## A row of the paper
#
# Let us take Fashion-MNIST and GradAttn V2. The authors published this test accuracy, in
# percent:

# %%
paper.published("fashion_mnist", "gradattn_v2")["test_top1"]

# %% [markdown]
# You need the data, so install what reads it. Here TensorFlow only prepares the download, and
# the training runs on JAX.
#
#     pip install -c constraints.txt ".[jax,tensorflow,data]"
#     export KERAS_BACKEND=jax
#
# Try it first with one epoch and few images, which takes minutes:
#
#     python -m keras_gradattn run --download --dataset fashion_mnist \
#         --model gradattn_v2 --recipe as_released --seed 42 --epochs 1 --limit 2000
#
# It downloads 30 MB. Without `--epochs 1 --limit 2000` it is the whole run, which takes hours
# on two cores. Then compare your accuracy with the published one:
#
#     python -m keras_gradattn compare
#
# * `as_released` trains on damaged pixels, as the released code does.
# * `as_described` gives a much higher accuracy than the paper has, for ResNet-18 as well.
#   [What the experiments say](../../studies/README.md) has both, and tells why.
# * If you have the data already, say where: `--data-dir FOLDER`.
# * `python -m keras_gradattn datasets` lists how to get each data set.
#
# Here is `as_described` on the digits, which need no download. Again it is far too short to
# learn. It only shows what you get.

# %%
result = training.run(
    "digits",
    "gradattn_v2",
    paper.RECIPES["as_described"],
    seed=42,
    model_options={**small, "width": 32, "num_layers": 1},
    **short,
)
print(sorted(result))

# %% [markdown]
# A result holds the whole configuration, the versions, every epoch, the test measures and
# the gradients. With a recipe of the paper it also holds the paper's gradient analysis:

# %%
sorted(result["published_analysis"])

# %% [markdown]
# ## A recipe of your own
#
# A recipe is a dataclass, so you can replace any field. Give your recipe a name of its own,
# because the results lie in a folder of that name.

# %%
import dataclasses

own = dataclasses.replace(
    training.RECIPES["modern"], name="mine", optimizer="adam", max_epochs=20, mixup=0.0
)
own.optimizer, own.schedule, own.max_epochs

# %% [markdown]
# ## Your data, your model
#
# `run` also takes data of yours: a folder of images, a table, or the `DatasetSplits` that
# `from_folder` returns. It also takes a network of yours: any Keras model, or a function that
# makes one:
#
#     python -m keras_gradattn run --dataset photos/ --model keras.applications:MobileNetV2
#
# [Several machines](../cluster.md) tells how to run many of them.
