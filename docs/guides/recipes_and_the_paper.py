# %% [markdown]
# # Recipes and the paper
#
# A recipe says how to train: which optimizer, which learning rate, how many epochs.
# `training.run` takes a data set, a network, a recipe and a seed. It trains, tests, and
# writes one JSON file. This page shows how, and how to repeat a row of the paper.

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
# `modern` is ours. The others are about the paper. `as_described` does what its text says,
# `as_released` what its code does. Each `..._repaired` is the released code with a defect
# mended. `fixed_steps_...` compares ways of weight decay.
#
# ## One run
#
# In a shell:
#
#     python -m keras_gradattn run --dataset digits --model gradattn_v2 --epochs 2
#
# In Python, with a small network and few images, so that this page is quick. Three epochs
# are too few to learn much; the recipe has a hundred.

# %%
small = {"stage_filters": (8, 16), "stage_blocks": (1, 1)}
short = {"max_epochs": 3, "limit": 256, "verbose": 0}
result = training.run("digits", "resnet18", seed=1, model_options=small, **short)
print(f"{result['epochs_run']} epochs, short: {result['short']}")

# %% [markdown]
# * The name of the file says what was run.
# * Run the same again, and nothing is trained: the finished run is read.
# * If you interrupt a run, start it again. It goes on after its last finished epoch.
# * `short` is true where a run is shorter than its recipe. Do not quote its accuracy as the
#   recipe's.

# %%
again = training.run("digits", "resnet18", seed=1, model_options=small, **short)
again["metrics"]["top1"] == result["metrics"]["top1"]

# %% [markdown]
# ## Change a recipe
#
# In a shell `--set learning_rate=3e-4`, in Python:

# %%
slower = training.RECIPES["modern"].with_changes(learning_rate=3e-4)
slower.learning_rate, slower.changes

# %% [markdown]
# ## Compare
#
# `compare` reads all results of a folder. Where the paper has a figure, it stands beside.

# %%
print(training.compare("results", published=paper.published))

# %% [markdown]
# ## A row of the paper
#
# Let us take Fashion-MNIST and GradAttn V2. The authors published this accuracy in percent:

# %%
paper.published("fashion_mnist", "gradattn_v2")["test_top1"]

# %% [markdown]
# You need the data, so install what reads it. TensorFlow only prepares the download; the
# training runs on JAX.
#
#     pip install -c constraints.txt ".[jax,tensorflow,data]"
#     export KERAS_BACKEND=jax
#
# Try it first with one epoch and few images, which takes minutes:
#
#     python -m keras_gradattn run --download --dataset fashion_mnist \
#         --model gradattn_v2 --recipe as_released --seed 42 --epochs 1 --limit 2000
#
# It downloads 30 MB. Without the last two options it is the whole run, which takes hours on
# two cores. Then compare:
#
#     python -m keras_gradattn compare
#
# * `as_released` repeats what the released code does. It trains on damaged pixels.
# * `as_described` repeats what the text of the paper describes. It gives a much higher
#   accuracy than the paper has, for ResNet-18 as well.
#   [What the experiments say](../../studies/README.md) has both and tells why.
# * The data may lie elsewhere already: `--data-dir FOLDER`.
#   `python -m keras_gradattn datasets` lists how to get each data set.
#
# Here is `as_described` on the digits, which need no download. Again it is far too short to
# learn; it only shows what you get.

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
# A recipe is a dataclass, so you can replace any field. Give it a name of its own: results
# are filed under it.

# %%
import dataclasses

own = dataclasses.replace(
    training.RECIPES["modern"], name="mine", optimizer="adam", max_epochs=20, mixup=0.0
)
own.optimizer, own.schedule, own.max_epochs

# %% [markdown]
# ## Your data, your model
#
# In place of a name `run` takes your data: a folder of images, a table, or the
# `DatasetSplits` that `from_folder` returns. In place of the network it takes any Keras
# model, or a function that makes one:
#
#     python -m keras_gradattn run --dataset photos/ --model keras.applications:MobileNetV2
#
# [Several machines](../cluster.md) tells how to run many of them.
