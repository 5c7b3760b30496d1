# %% [markdown]
# # Recipes and the paper
#
# A recipe is a training protocol as data. `training.run` takes a data set, a network, a
# recipe and a seed, and writes one JSON. This page shows how, and how to repeat a row of
# the paper.

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
# `modern` is ours. The others are the paper's: `as_described` is what its text says,
# `as_released` what its code does, and each `..._repaired` is the released code with one
# defect mended. [What the experiments say](../studies/README.md) tells which of them gives
# the published figures.
#
# ## One run
#
# In a shell:
#
#     python -m keras_gradattn run --dataset digits --model gradattn_v2 --epochs 2
#
# In Python, with a narrow network and few images, so that this page is quick:

# %%
narrow = {"stage_filters": (8, 16, 32), "stage_blocks": (1, 1, 1), "width": 32}
result = training.run(
    "digits", "gradattn_v2", seed=1, max_epochs=3, model_options=narrow, verbose=0
)
print(f"{result['epochs_run']} epochs, short: {result['short']}")

# %% [markdown]
# * The name of the file says what was run.
# * Run it again and nothing happens: a finished run is read, not repeated.
# * Interrupt it and run it again: it goes on from its last epoch.
# * `short` is true where a run is shorter than its recipe. Such a figure is not the
#   recipe's.

# %%
again = training.run(
    "digits", "gradattn_v2", seed=1, max_epochs=3, model_options=narrow, verbose=0
)
again["metrics"]["top1"] == result["metrics"]["top1"]

# %% [markdown]
# ## Change a recipe
#
# In a shell `--set learning_rate=3e-4`, in Python:

# %%
slower = training.RECIPES["modern"].with_changes(learning_rate=3e-4)
result = training.run(
    "digits",
    "gradattn_v2",
    slower,
    seed=1,
    max_epochs=3,
    model_options=narrow,
    verbose=0,
)

# %% [markdown]
# ## Compare

# %%
print(training.compare("results", published=paper.published))

# %% [markdown]
# ## A row of the paper
#
# Fashion-MNIST, GradAttn V2. The authors published:

# %%
paper.published("fashion_mnist", "gradattn_v2")["test_top1"]

# %% [markdown]
# This is the run that the text of the paper describes. It downloads 30 MB and takes hours
# on two cores; `--epochs 1 --limit 2000` tries the same in minutes.
#
#     pip install -c constraints.txt ".[jax,data]"
#     python -m keras_gradattn run --download --dataset fashion_mnist \
#         --model gradattn_v2 --recipe as_described --seed 42
#     python -m keras_gradattn compare
#
# With `--recipe as_released` you repeat what the released code does, damaged pixels
# included. Here is `as_described` at tiny length, on the digits, which need no download.

# %%
result = training.run(
    "digits",
    "gradattn_v2",
    paper.RECIPES["as_described"],
    seed=42,
    max_epochs=1,
    limit=256,
    model_options={"stage_filters": (8, 16, 32, 64), "width": 32},
    verbose=0,
)
print(sorted(result))

# %% [markdown]
# A result holds the whole configuration, the versions, every epoch, the test measures and
# the gradients. The recipes of the paper add its own gradient analysis:

# %%
sorted(result["published_analysis"])

# %% [markdown]
# ## A recipe of your own
#
# A recipe is a dataclass. Give it a name; the name is part of the file's.

# %%
import dataclasses

own = dataclasses.replace(
    training.RECIPES["modern"], name="mine", optimizer="adam", max_epochs=20, mixup=0.0
)
own.optimizer, own.schedule, own.max_epochs

# %% [markdown]
# `training.run` takes the data sets that are listed above. Data of your own is trained by
# `fit`, as in [Your own data](your_own_data.md).
