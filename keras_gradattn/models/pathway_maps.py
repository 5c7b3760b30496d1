"""Which depth feeds which block: the mixing weights of a network, for any image."""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_gradattn.models._pathway_picture import draw_pathways
from keras_gradattn.models.pathways import GradAttnPathways


@dataclasses.dataclass(frozen=True)
class PathwayWeights:
    """Mixing weights of a network for some images.

    Attributes:
        values: `(batch, block, head, source)`; the weights of one block and head sum to
            one over its sources, and sources that a block does not have are NaN.
        blocks: What is fed: the blocks from shallow to deep by name, then `head`.
        sources: What feeds: `stem`, `stage1_block1`, ..., `stage1`, `stage2_block1`,
            ... in the order of depth. A finished stage, such as `stage1`, is what its
            last mixing returned.
    """

    values: np.ndarray
    blocks: tuple[str, ...]
    sources: tuple[str, ...]

    @property
    def mean(self) -> np.ndarray:
        """Mean over images, `(block, head, source)`."""
        return self.values.mean(axis=0)

    @property
    def movement(self) -> np.ndarray:
        """How far the weights move with the image, `(block, head)`, 0 to 1.

        The share of the weight that an image puts elsewhere than the mean does: the
        mean over images of the total variation distance `sum_i |a_i - mean_i| / 2`.
        """
        away = np.abs(self.values - self.mean)
        return np.nansum(away, axis=-1).mean(axis=0) / 2

    def plot(
        self,
        path: str | os.PathLike | None = None,
        images: Sequence[int] = (),
        titles: Sequence[str] | None = None,
    ):
        """Draw which depth feeds which block: the mean, and single images beside it.

        Args:
            path: Where to save the picture, or `None`.
            images: Which of the images to draw as well, as what they add to the mean.
            titles: One per image; `None` (the default) numbers them.

        Returns:
            The `matplotlib.figure.Figure`.

        Raises:
            ImportError: Without matplotlib.
            ValueError: If there are not as many titles as images.
        """
        return draw_pathways(self, path, images, titles)


def pathway_weights(
    model: GradAttnPathways, images: Any, batch_size: int = 32
) -> PathwayWeights:
    """Read the mixing weights of a `GradAttnPathways` network for some images.

    Args:
        model: The network, with any kind of `weights`.
        images: `(batch, height, width, channels)`, or whatever else `model.predict`
            takes, such as a data set of batches.
        batch_size: Images at a time. Defaults to 32.

    Returns:
        A `PathwayWeights`.

    Raises:
        ValueError: If the model is another.

    Example:

    >>> model = keras_gradattn.GradAttnPathways(num_classes=10)
    >>> weights = keras_gradattn.pathway_weights(model, np.zeros((2, 32, 32, 3)))
    >>> weights.values.shape  # batch, block, head, source
    (2, 9, 4, 12)
    """
    _check_model(model)
    mixings = [model.get_layer(f"{block}_mixing") for block in _blocks(model)]
    read = keras.Model(model.input, [mixing.output[1] for mixing in mixings])
    by_mixing = read.predict(images, batch_size=batch_size, verbose=0)
    columns = _sources(model)
    sources = tuple(dict.fromkeys(name for names in columns for name in names))
    images_read, heads = by_mixing[0].shape[:2]
    shape = (images_read, len(columns), heads, len(sources))
    # A deep network's over a data set take gigabytes in any wider dtype.
    values = np.full(shape, np.nan, by_mixing[0].dtype)
    values[:, 0, :, 0] = 1
    for row, (names, weights) in enumerate(
        zip(columns[1:], by_mixing, strict=True), start=1
    ):
        values[..., row, :, [sources.index(name) for name in names]] = np.moveaxis(
            weights, -1, 0
        )
    return PathwayWeights(values, (*_blocks(model), "head"), sources)


def freeze_pathways(model: GradAttnPathways, weights: PathwayWeights):
    """A copy whose mixing weights no longer follow the image: they stay at their mean.

    What the copy loses in accuracy is what the network gains by looking at the image.

    Args:
        model: A trained network with `weights="attention"`.
        weights: From `pathway_weights`, over the data set to average over.

    Returns:
        A `GradAttnPathways` with `weights="static"`, all other weights equal.

    Raises:
        ValueError: If the model does not attend, or the weights are another network's.

    Example:

    >>> model = keras_gradattn.GradAttnPathways(num_classes=10)
    >>> weights = keras_gradattn.pathway_weights(model, np.zeros((2, 32, 32, 3)))
    >>> frozen = keras_gradattn.freeze_pathways(model, weights)
    """
    _check_model(model)
    config = model.get_config()
    if config["weights"] != "attention":
        raise ValueError(
            "Only weights that follow the image can be frozen. "
            f"Received: a model with weights={config['weights']!r}"
        )
    columns = _sources(model)
    if weights.blocks != (*_blocks(model), "head"):
        raise ValueError(
            "`weights` must be those of the model. "
            f"Received: weights of the blocks {weights.blocks}"
        )
    frozen = type(model).from_config(
        config
        | {"weights": "static", "top_k": None, "logit_cap": None, "source_dropout": 0.0}
    )
    mixings = {f"{block}_mixing" for block in _blocks(model)}
    for layer in frozen.layers:
        if layer.weights and layer.name not in mixings:
            layer.set_weights(model.get_layer(layer.name).get_weights())
    for row, block in enumerate(_blocks(model), start=1):
        mixing = frozen.get_layer(f"{block}_mixing")
        chosen = [weights.sources.index(name) for name in columns[row]]
        mixing.prior_bias.assign(mixing.bias_for(weights.mean[row][:, chosen]))
    return frozen


def _check_model(model):
    if not isinstance(model, GradAttnPathways):
        raise ValueError(
            "The model must be a GradAttnPathways network. "
            f"Received: {type(model).__name__}"
        )


def _blocks(model) -> tuple[str, ...]:
    """Names of the blocks, shallow to deep; each is followed by one mixing."""
    return tuple(
        f"stage{stage}_block{index}"
        for stage, blocks in enumerate(model.get_config()["stage_blocks"], start=1)
        for index in range(1, blocks + 1)
    )


def _sources(model) -> list[tuple[str, ...]]:
    """Names of what feeds each block and the head, in the order of their mixing."""
    rows: list[tuple[str, ...]] = [("stem",)]
    finished = ["stem"]
    for stage, blocks in enumerate(model.get_config()["stage_blocks"], start=1):
        own = [f"stage{stage}_block{index}" for index in range(1, blocks + 1)]
        rows += [(*finished, *own[:index]) for index in range(1, blocks + 1)]
        finished.append(f"stage{stage}")
    return rows
