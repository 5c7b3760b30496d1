"""Which depth feeds which: the weights of a network's depths, for any image."""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_gradattn.layers.depth_mixing import DepthMixing
from keras_gradattn.layers.gradattn_head import GradAttnHead
from keras_gradattn.layers.linear import full_precision
from keras_gradattn.models._depth_weights_picture import draw_depth_weights
from keras_gradattn.models.image_classifier import ImageClassifier
from keras_gradattn.models.pathways import GradAttnPathways


@dataclasses.dataclass(frozen=True)
class DepthWeights:
    """Weights of a network's depths for some images.

    Attributes:
        values: The weights, `(batch, target, group, source)`. A group is an attention
            head, or a group of channels. The weights of one target and group sum to one
            over the sources. Where a target has no such source or group stands NaN.
        targets: Names of what draws from the sources, in the order of depth. In
            `GradAttnPathways` these are the blocks after the first, then `head`. In a
            GradAttn head they are the tokens of each encoder block, such as
            `block1_stage2`. Any other `DepthMixing` is one target, with its own name.
        sources: Names of the depths that targets draw from: those of the layers that
            return them. In `GradAttnPathways` these are `stem`, `stage1_block1`, ...,
            `stage1`, `stage2_block1`, and so on. There `stage1` is what the last mixing
            of the finished stage returned.

    Example:

    >>> network = keras_gradattn.GradAttnV2(num_classes=10)
    >>> weights = keras_gradattn.depth_weights(network, np.zeros((2, 32, 32, 3)))
    >>> weights.targets[0], weights.mean.shape  # target, group, source
    ('block1_stem', (15, 8, 5))
    """

    values: np.ndarray
    targets: tuple[str, ...]
    sources: tuple[str, ...]

    @property
    def mean(self) -> np.ndarray:
        """Mean over images, `(target, group, source)`."""
        return np.asarray(self.values.mean(axis=0))

    @property
    def movement(self) -> np.ndarray:
        """How far the weights move with the image, `(target, group)`, 0 to 1.

        This is the share of the weight that an image puts elsewhere than the mean does,
        averaged over the images. It is the total variation distance
        `sum_i |a_i - mean_i| / 2` (Levin, Peres & Wilmer, Markov Chains and Mixing
        Times, proposition 4.2). It is NaN for groups that a target does not have.
        """
        away = np.abs(self.values - self.mean)
        moved = np.nansum(away, axis=-1).mean(axis=0) / 2
        return np.where(np.isnan(self.mean).all(axis=-1), np.nan, moved)

    def plot(
        self,
        path: str | os.PathLike[str] | None = None,
        images: Sequence[int] = (),
        titles: Sequence[str] | None = None,
    ) -> Any:
        """Draw which depth feeds which: the mean, and single images beside it.

        Args:
            path: Where to save the picture, or `None` (the default).
            images: Indices of images to draw beside the mean, each as its difference
                from the mean. Defaults to none.
            titles: One for each of these images. `None` (the default) numbers them.

        Returns:
            The `matplotlib.figure.Figure`, as wide as a page.

        Raises:
            ImportError: Without matplotlib.
            ValueError: If there are not as many titles as images.
        """
        return draw_depth_weights(self, path, images, titles)


def depth_weights(
    model: keras.Model, images: Any, batch_size: int = 32
) -> DepthWeights:
    """Read how a network weighs its depths, for some images.

    Args:
        model: Any Functional model with a `GradAttnHead` or `DepthMixing` among its
            layers: `GradAttnV1` to `GradAttnV3`, `GradAttnPathways`, a model made by
            `attach`, or one of your own. It may have any kind of `mixing`.
        images: `(batch, height, width, channels)`, or whatever else `model.predict`
            takes, such as a data set of batches.
        batch_size: Images at a time. Defaults to 32.

    Returns:
        A `DepthWeights`.

    Raises:
        ValueError: If no layer of the model weighs depths.

    Example:

    >>> model = keras_gradattn.GradAttnPathways(num_classes=10)
    >>> weights = keras_gradattn.depth_weights(model, np.zeros((2, 32, 32, 3)))
    >>> weights.values.shape  # batch, target, group, source
    (2, 8, 4, 12)
    >>> model = keras_gradattn.GradAttnV2(num_classes=10)
    >>> keras_gradattn.depth_weights(model, np.zeros((2, 32, 32, 3))).sources
    ('stem', 'stage1', 'stage2', 'stage3', 'stage4')
    """
    mixers = _mixers(model)
    # By name: Keras unpacks a list of one.
    outputs = {
        str(place): _WeightsOf(mixer.layer, name=f"{mixer.layer.name}_weights")(
            mixer.inputs
        )
        for place, mixer in enumerate(mixers)
    }
    read = keras.Model(model.inputs, outputs).predict(
        images, batch_size=batch_size, verbose=0
    )
    by_mixer = [read[str(place)] for place in range(len(mixers))]
    targets = tuple(name for mixer in mixers for name in mixer.targets)
    sources = tuple(dict.fromkeys(name for mixer in mixers for name in mixer.sources))
    groups = max(weights.shape[2] for weights in by_mixer)
    shape = (len(by_mixer[0]), len(targets), groups, len(sources))
    # A deep network's over a data set take gigabytes in any wider dtype.
    values = np.full(shape, np.nan, by_mixer[0].dtype)
    row = 0
    for mixer, weights in zip(mixers, by_mixer, strict=True):
        _, rows, has_groups, _ = weights.shape
        columns = [sources.index(name) for name in mixer.sources]
        values[:, row : row + rows, :has_groups][..., columns] = weights
        row += rows
    return DepthWeights(values, targets, sources)


def freeze_depth_weights(model: keras.Model, weights: DepthWeights) -> keras.Model:
    """A copy whose weights of depths no longer follow the image: they stay at the mean.

    Test the copy to see how far the trained network relies on weights that follow the
    image.

    Args:
        model: A trained model that `depth_weights` can read, with
            `mixing="attention"`.
        weights: What `depth_weights` read from it. The copy gets the mean over these
            images.

    Returns:
        The same network with `mixing="static"`. All other weights are equal. Models of
        this package keep their class.

    Raises:
        ValueError: If the model has another `mixing`, or if the weights are those of
            another network.

    Example:

    >>> model = keras_gradattn.GradAttnPathways(num_classes=10)
    >>> weights = keras_gradattn.depth_weights(model, np.zeros((2, 32, 32, 3)))
    >>> frozen = keras_gradattn.freeze_depth_weights(model, weights)
    """
    mixers = _mixers(model)
    if not all(mixer.layer.mixing == "attention" for mixer in mixers):
        mixing = ", ".join(sorted({mixer.layer.mixing for mixer in mixers}))
        raise ValueError(
            "Only weights that follow the image can be frozen. "
            f"Received: a model with mixing={mixing!r}"
        )
    if weights.targets != tuple(name for mixer in mixers for name in mixer.targets):
        raise ValueError(
            "`weights` must be those of the model. "
            f"Received: weights of the targets {weights.targets}"
        )
    frozen = _with_static_mixing(model)
    by_name = {mixer.layer.name: mixer for mixer in mixers}
    row = 0
    for layer in model.layers:
        if layer.name not in by_name and layer.weights:
            frozen.get_layer(layer.name).set_weights(layer.get_weights())
    for name, mixer in by_name.items():
        static = frozen.get_layer(name)
        _copy_shared_weights(mixer.layer, static)
        rows = weights.mean[row : row + len(mixer.targets)]
        columns = [weights.sources.index(name) for name in mixer.sources]
        _set_static_weights(static, rows[..., columns])
        row += len(mixer.targets)
    return frozen


# === The layers that weigh depths ===


@dataclasses.dataclass(frozen=True)
class _Mixer:
    """A layer of a model that weighs depths, and the names of what it weighs."""

    layer: Any
    inputs: Any
    targets: tuple[str, ...]
    sources: tuple[str, ...]


def _mixers(model: keras.Model) -> list[_Mixer]:
    """All of a model, from shallow to deep."""
    layers = [x for x in model.layers if isinstance(x, DepthMixing | GradAttnHead)]
    if not layers:
        raise ValueError(
            "The model needs a `GradAttnHead` or a `DepthMixing` among its layers. "
            f"Received: {type(model).__name__} '{model.name}'"
        )
    if isinstance(model, GradAttnPathways):
        return [
            _Mixer(layer, layer.input, (target,), sources)
            for name, (target, sources) in model.mixed_depths.items()
            for layer in [model.get_layer(name)]
        ]
    names = _names_of_features(model)
    return [_mixer(layer, names) for layer in layers]


def _mixer(layer: Any, names: dict[int, str]) -> _Mixer:
    maps = keras.tree.flatten(layer.input)
    if isinstance(layer, DepthMixing):
        maps, _ = _maps_and_descriptors(maps)
    sources = _unlike([names.get(id(x), f"depth{i}") for i, x in enumerate(maps, 1)])
    if isinstance(layer, DepthMixing):
        return _Mixer(layer, layer.input, (layer.name,), sources)
    targets = tuple(
        f"block{block}_{source}"
        for block in range(1, layer.num_layers + 1)
        for source in sources
    )
    return _Mixer(layer, layer.input, targets, sources)


def _names_of_features(model: keras.Model) -> dict[int, str]:
    """Name of the layer that returns it, by the id of a symbolic tensor."""
    names: dict[int, str] = {}
    for layer in model.layers:
        for tensor in keras.tree.flatten(layer.output):
            names[id(tensor)] = layer.name
    return names


def _unlike(names: list[str]) -> tuple[str, ...]:
    """Names of one layer's sources; a feature that is given twice is told apart."""
    return tuple(
        f"{name}_again{names[:place].count(name)}" if name in names[:place] else name
        for place, name in enumerate(names)
    )


def _maps_and_descriptors(tensors: list[Any]) -> tuple[list[Any], list[Any] | None]:
    """What a `DepthMixing` is called with: maps, then perhaps a vector of each."""
    maps = [tensor for tensor in tensors if len(tensor.shape) == 4]
    return maps, tensors[len(maps) :] or None


class _WeightsOf(keras.layers.Layer):
    """The weights of a layer that weighs depths: `(batch, target, group, source)`.

    A layer of its own, because Keras takes every call of one layer to have as many
    outputs as the first.
    """

    def __init__(self, layer: Any, **kwargs: Any) -> None:
        super().__init__(dtype=layer.dtype_policy, **kwargs)
        self.layer = layer
        self.built = True

    def call(self, inputs: Any) -> Any:
        tensors = keras.tree.flatten(inputs)
        wide = full_precision(self.dtype_policy).compute_dtype
        if isinstance(self.layer, DepthMixing):
            maps, descriptors = _maps_and_descriptors(tensors)
            _, weights = self.layer(maps, descriptors, return_weights=True)
            return ops.expand_dims(ops.cast(weights, wide), 1)
        _, by_block = self.layer(tensors, return_weights=True)
        # From (batch, block, head, to, from) to a row for each block and token.
        weights = ops.transpose(ops.stack(by_block, axis=1), (0, 1, 3, 2, 4))
        shape = (-1, *self._rows_of_a_head(len(tensors)))
        return ops.reshape(ops.cast(weights, wide), shape)

    def _rows_of_a_head(self, depths: int) -> tuple[int, int, int]:
        return (self.layer.num_layers * depths, self.layer.num_heads, depths)

    def compute_output_spec(self, inputs: Any) -> Any:
        tensors = keras.tree.flatten(inputs)
        if isinstance(self.layer, DepthMixing):
            maps, _ = _maps_and_descriptors(tensors)
            shape = (1, self.layer.channel_groups, len(maps))
        else:
            shape = self._rows_of_a_head(len(tensors))
        wide = full_precision(self.dtype_policy).compute_dtype
        return keras.KerasTensor((tensors[0].shape[0], *shape), dtype=wide)


# === Freezing ===


def _with_static_mixing(model: keras.Model) -> keras.Model:
    """A freshly initialised copy whose layers weigh depths alike for every image."""
    if isinstance(model, ImageClassifier):
        return type(model).from_config(model.get_config() | {"mixing": "static"})

    def copied(layer: Any) -> Any:
        config = layer.get_config()
        if isinstance(layer, DepthMixing | GradAttnHead):
            config["mixing"] = "static"
        return type(layer).from_config(config)

    return keras.models.clone_model(model, clone_function=copied)


def _copy_shared_weights(attending: Any, static: Any) -> None:
    """All weights that both have; dropout's seeds are their own."""
    values = {variable.path: variable for variable in attending.weights}
    for variable in static.weights:
        if "seed_generator" in variable.path or variable.path.endswith("/scores"):
            continue
        # A copy: JAX gives the memory of what it trains away.
        variable.assign(ops.copy(values[variable.path]))


def _set_static_weights(layer: Any, mean: np.ndarray) -> None:
    """Weigh depths by `mean`, `(target, group, source)`."""
    if isinstance(layer, DepthMixing):
        layer.bias.assign(layer.bias_for(mean[0, : layer.channel_groups]))
        return
    depths = mean.shape[-1]
    least = np.finfo("float32").tiny
    for place, block in enumerate(layer.blocks):
        rows = mean[place * depths : (place + 1) * depths, : layer.num_heads]
        # A softmax of logarithms gives back what sums to one.
        block.attention.scores.assign(np.log(np.maximum(rows, least)).swapaxes(0, 1))
