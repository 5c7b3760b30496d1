"""One builder a kind of network, and the faults that are in a network's wiring."""

from collections.abc import Callable
from typing import Any

import keras
from keras import layers, ops

from studies.diagnosis.programs.data import Rows
from studies.diagnosis.programs.program import Network

# Output units and activation by task.
_HEADS = {"classes": "softmax", "binary": "sigmoid", "number": None}


def build(network: Network, rows: Rows) -> keras.Model:
    """The uncompiled model of a program.

    Args:
        network: What to build.
        rows: The data, for shapes and classes.
    """
    if "layer_unused" in network.faults:
        return _Forgetful(network, rows)
    return KINDS[network.kind](network, rows)


def hidden(network: Network, layer: Callable[..., Any], *args: Any, **rest: Any) -> Any:
    """A hidden layer with the network's initial values and regulariser."""
    regularizer = keras.regularizers.L2(network.l2) if network.l2 else None
    return layer(
        *args,
        kernel_initializer=keras.initializers.get(network.initializer),
        bias_initializer=keras.initializers.Constant(network.bias),
        kernel_regularizer=regularizer,
        **rest,
    )


def finished(network: Network, x: Any) -> Any:
    """Norm, activation and dropout behind a hidden layer."""
    called = _InInference if "training_off" in network.faults else lambda layer: layer
    if network.norm == "batch":
        x = called(layers.BatchNormalization(momentum=network.momentum))(x)
    if network.norm == "layer":
        x = layers.LayerNormalization()(x)
    if network.activation:
        x = layers.Activation(network.activation)(x)
    if network.dropout:
        x = called(layers.Dropout(network.dropout))(x)
    return x


class _InInference(layers.Layer):
    """Calls a layer with training=False. A graph of layers would put its own mode."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer

    def build(self, shape: Any) -> None:
        self.layer.build(shape)

    def call(self, inputs: Any) -> Any:
        return self.layer(inputs, training=False)


def classified(network: Network, rows: Rows, x: Any) -> Any:
    """The last layer, behind the faults that sit just before or after it."""
    for fault in network.faults:
        if fault in _BEFORE_THE_HEAD:
            x = _BEFORE_THE_HEAD[fault](x)
    output: Any = network.output
    if output == "task":
        output = _HEADS[rows.source.task]
    head = layers.Dense(network.units or rows.source.classes, name="head")
    x = head(x)
    if "softmax_over_batch" in network.faults:
        x = ops.softmax(x, axis=0)
    elif output:
        x = layers.Activation(output, name="output", dtype="float32")(x)
    if "dropout_after_output" in network.faults:
        x = layers.Dropout(0.5)(x)
    return x


def _over_time(x: Any) -> Any:
    return ops.mean(x, axis=1) if len(x.shape) == 3 else x


_BEFORE_THE_HEAD: dict[str, Callable[[Any], Any]] = {
    "stop_gradient": ops.stop_gradient,
    "minus_batch_mean": lambda x: x - ops.mean(x, axis=0, keepdims=True) * 2,
    "divided_by_batch": lambda x: ops.softmax(x * 4, axis=0),
    "rows_rolled": lambda x: ops.roll(x, 1, axis=0),
    "much_dropout": lambda x: layers.Dropout(0.95)(x),
}


def _input(x: Any) -> Any:
    return keras.Input(x.shape[1:], dtype=x.dtype.name)


def _dense(network: Network, rows: Rows) -> keras.Model:
    inputs = _input(rows.x)
    x = layers.Flatten()(inputs) if len(inputs.shape) > 2 else inputs
    for _ in range(network.depth):
        x = finished(network, hidden(network, layers.Dense, network.width)(x))
    return keras.Model(inputs, classified(network, rows, x))


def _sequential(network: Network, rows: Rows) -> keras.Model:
    model = keras.Sequential([_input(rows.x)])
    for _ in range(network.depth):
        model.add(
            hidden(network, layers.Dense, network.width, activation=network.activation)
        )
        if network.dropout:
            model.add(layers.Dropout(network.dropout))
    units = network.units or rows.source.classes
    output = network.output
    if output == "task":
        output = _HEADS[rows.source.task]
    model.add(layers.Dense(units, activation=output))
    return model


def _residual(network: Network, rows: Rows) -> keras.Model:
    inputs = _input(rows.x)
    x = hidden(network, layers.Dense, network.width)(inputs)
    for _ in range(network.depth):
        branch = finished(network, hidden(network, layers.Dense, network.width)(x))
        x = x + hidden(network, layers.Dense, network.width)(branch)
    return keras.Model(inputs, classified(network, rows, x))


def _convolutions(network: Network, rows: Rows) -> keras.Model:
    inputs = _input(rows.x)
    x = inputs
    for index in range(network.depth):
        convolution = hidden(
            network,
            layers.Conv2D,
            network.width * (1 + index),
            3,
            strides=1 + index % 2,
            padding="same",
        )
        x = finished(network, convolution(x))
    x = layers.GlobalMaxPooling2D()(x)
    return keras.Model(inputs, classified(network, rows, x))


def _flattened_convolutions(network: Network, rows: Rows) -> keras.Model:
    inputs = _input(rows.x)
    x = inputs
    for _ in range(network.depth):
        x = hidden(network, layers.Conv2D, network.width, 3, padding="same")(x)
        x = layers.MaxPooling2D()(finished(network, x))
    return keras.Model(inputs, classified(network, rows, layers.Flatten()(x)))


def _residual_convolutions(network: Network, rows: Rows) -> keras.Model:
    inputs = _input(rows.x)
    x = hidden(network, layers.Conv2D, network.width, 3, padding="same")(inputs)
    for _ in range(network.depth):
        branch = hidden(network, layers.Conv2D, network.width, 3, padding="same")(x)
        x = x + finished(network, branch)
    x = layers.GlobalMaxPooling2D()(x)
    return keras.Model(inputs, classified(network, rows, x))


def _separable(network: Network, rows: Rows) -> keras.Model:
    inputs = _input(rows.x)
    x = hidden(network, layers.Conv2D, network.width, 3, padding="same")(inputs)
    for _ in range(network.depth):
        x = layers.DepthwiseConv2D(3, padding="same")(x)
        x = finished(network, hidden(network, layers.Conv2D, network.width, 1)(x))
    x = layers.GlobalMaxPooling2D()(x)
    return keras.Model(inputs, classified(network, rows, x))


def _embedded(network: Network, rows: Rows, inputs: Any) -> Any:
    if not rows.source.tokens:
        return inputs
    return layers.Embedding(
        rows.source.tokens, network.width, mask_zero="mask_dropped" in network.faults
    )(inputs)


def _recurrent(cell: Callable[..., Any]) -> Callable[[Network, Rows], keras.Model]:
    def make(network: Network, rows: Rows) -> keras.Model:
        inputs = _input(rows.x)
        x = inputs
        if rows.source.tokens:
            x = layers.Embedding(rows.source.tokens, network.width, mask_zero=True)(x)
        swapped = "time_batch_swapped" in network.faults
        if swapped:
            x = ops.transpose(x, (1, 0, 2))
        for index in range(network.depth):
            last = index == network.depth - 1 and not swapped
            cells = hidden(network, cell, network.width, return_sequences=not last)
            x = cells(x)
            if network.norm == "layer":
                x = layers.LayerNormalization()(x)
        if swapped:
            x = ops.transpose(x, (1, 0, 2))[:, -1]
        if network.dropout:
            x = layers.Dropout(network.dropout)(x)
        return keras.Model(inputs, classified(network, rows, x))

    return make


def _bidirectional(network: Network, rows: Rows) -> keras.Model:
    inputs = _input(rows.x)
    x = _embedded(network, rows, inputs)
    x = layers.Bidirectional(hidden(network, layers.GRU, network.width))(x)
    return keras.Model(inputs, classified(network, rows, x))


def _time_convolutions(network: Network, rows: Rows) -> keras.Model:
    inputs = _input(rows.x)
    x = _embedded(network, rows, inputs)
    if "time_features_swapped" in network.faults:
        x = ops.reshape(x, (-1, x.shape[2], x.shape[1]))
    for _ in range(network.depth):
        convolution = hidden(network, layers.Conv1D, network.width, 3, padding="same")
        x = finished(network, convolution(x))
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, classified(network, rows, x))


def _attention(network: Network, rows: Rows) -> keras.Model:
    inputs = _input(rows.x)
    x = _embedded(network, rows, inputs)
    x = layers.Dense(network.width)(x)
    for _ in range(network.depth):
        normed = layers.LayerNormalization()(x)
        x = x + layers.MultiHeadAttention(2, max(2, network.width // 2))(normed, normed)
        wide = hidden(network, layers.Dense, 2 * network.width)
        branch = finished(network, wide(layers.LayerNormalization()(x)))
        x = x + layers.Dense(network.width)(branch)
    return keras.Model(inputs, classified(network, rows, _over_time(x)))


def _bag_of_words(network: Network, rows: Rows) -> keras.Model:
    inputs = _input(rows.x)
    x = layers.Embedding(rows.source.tokens, network.width, mask_zero=True)(inputs)
    x = layers.GlobalAveragePooling1D()(x)
    for _ in range(network.depth):
        x = finished(network, hidden(network, layers.Dense, network.width)(x))
    return keras.Model(inputs, classified(network, rows, x))


def _two_inputs(network: Network, rows: Rows) -> keras.Model:
    first, second = (_input(part) for part in rows.x)
    joined = [first, first] if "input_unused" in network.faults else [first, second]
    if "input_zeroed" in network.faults:
        joined = [first, second * 0.0]
    x = layers.Concatenate()(joined)
    for _ in range(network.depth):
        x = finished(network, hidden(network, layers.Dense, network.width)(x))
    return keras.Model([first, second], classified(network, rows, x))


def _fine_tuned(network: Network, rows: Rows) -> keras.Model:
    """A backbone trained on the validation rows' inputs alone, and a new head."""
    backbone = keras.Sequential([_input(rows.x)], name="backbone")
    for _ in range(network.depth):
        backbone.add(
            hidden(network, layers.Dense, network.width, activation=network.activation)
        )
    size = int(rows.x.shape[1])
    teacher = keras.Sequential([backbone, layers.Dense(size)])
    teacher.compile("adam", "mse")
    teacher.fit(rows.validation_x, rows.validation_x, epochs=5, verbose=0)
    backbone.trainable = False
    inputs = _input(rows.x)
    return keras.Model(inputs, classified(network, rows, backbone(inputs)))


def _gradattn(network: Network, rows: Rows) -> keras.Model:
    import keras_gradattn

    return keras_gradattn.GradAttnV1(
        rows.source.classes,
        input_shape=rows.x.shape[1:],
        stem="cifar",
        stage_filters=(network.width,) * 4,
        stage_blocks=(1, 1, 1, 1),
        width=2 * network.width,
        feed_forward=2 * network.width,
        num_heads=2,
        num_layers=network.depth,
        dropout=network.dropout,
    )


def _resnet(network: Network, rows: Rows) -> keras.Model:
    import keras_gradattn

    return keras_gradattn.ResNet18(
        rows.source.classes,
        input_shape=rows.x.shape[1:],
        stem="cifar",
        stage_filters=(network.width,) * 4,
        stage_blocks=(1, 1, 1, 1),
    )


def _hub_vit(network: Network, rows: Rows) -> keras.Model:
    import keras_hub

    patch = rows.x.shape[1] // 2
    backbone = keras_hub.models.ViTBackbone(
        image_shape=rows.x.shape[1:],
        patch_size=(patch, patch),
        num_layers=network.depth,
        num_heads=2,
        hidden_dim=network.width,
        mlp_dim=2 * network.width,
    )
    x = backbone.output[:, 0]
    return keras.Model(backbone.input, classified(network, rows, x))


def _hub_bert(network: Network, rows: Rows) -> keras.Model:
    import keras_hub

    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=rows.source.tokens,
        num_layers=network.depth,
        num_heads=2,
        hidden_dim=network.width,
        intermediate_dim=2 * network.width,
        max_sequence_length=rows.x.shape[1],
        dropout=network.dropout,
    )
    inputs = _input(rows.x)
    features = backbone(
        {
            "token_ids": inputs,
            "segment_ids": ops.zeros_like(inputs),
            "padding_mask": ops.cast(inputs != 0, "int32"),
        }
    )
    x = features["pooled_output"]
    return keras.Model(inputs, classified(network, rows, x))


class _Subclassed(keras.Model):
    """A network whose `call` is a person's own."""

    def __init__(self, network: Network, rows: Rows) -> None:
        super().__init__()
        self.hidden_layers = [
            hidden(network, layers.Dense, network.width, activation=network.activation)
            for _ in range(network.depth)
        ]
        self.drop = layers.Dropout(network.dropout)
        output = _HEADS[rows.source.task]
        self.head = layers.Dense(rows.source.classes, activation=output)

    def call(self, inputs: Any, training: bool = False) -> Any:
        x = inputs
        for layer in self.hidden_layers:
            x = layer(x)
        return self.head(self.drop(x, training=training))


class _Forgetful(_Subclassed):
    """Its author made hidden layers and forgot to call them."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        return self.head(inputs)


KINDS: dict[str, Callable[[Network, Rows], keras.Model]] = {
    "dense": _dense,
    "sequential": _sequential,
    "residual": _residual,
    "subclassed": _Subclassed,
    "convolutions": _convolutions,
    "flattened": _flattened_convolutions,
    "residual_convolutions": _residual_convolutions,
    "separable": _separable,
    "simple_rnn": _recurrent(layers.SimpleRNN),
    "gru": _recurrent(layers.GRU),
    "lstm": _recurrent(layers.LSTM),
    "bidirectional": _bidirectional,
    "time_convolutions": _time_convolutions,
    "attention": _attention,
    "bag_of_words": _bag_of_words,
    "two_inputs": _two_inputs,
    "fine_tuned": _fine_tuned,
    "gradattn": _gradattn,
    "resnet": _resnet,
    "hub_vit": _hub_vit,
    "hub_bert": _hub_bert,
}
