"""Which depth attends to which: the attention weights of a network."""

import keras

from keras_gradattn.layers.gradattn_head import GradAttnHead


def attention_model(model: keras.Model) -> keras.Model:
    """A model that shares the weights and also returns its attention over depth.

    Args:
        model: Any Functional model with a `GradAttnHead`: `GradAttnV1`, `GradAttnV2`,
            `GradAttnV3` or one made by `attach`.

    Returns:
        A model with two outputs by name: `predictions` `(batch, num_classes)` and
        `attention`, a list of one `(batch, heads, stages, stages)` per encoder block;
        row i holds how much depth i takes from each depth, summing to one.

    Raises:
        ValueError: If the model has no GradAttn head.

    Example:

    >>> model = keras_gradattn.GradAttnV2(num_classes=10)
    >>> outputs = keras_gradattn.attention_model(model)(keras.ops.ones((1, 32, 32, 3)))
    >>> outputs["attention"][0].shape
    (1, 8, 5, 5)
    """
    head = next((x for x in model.layers if isinstance(x, GradAttnHead)), None)
    if head is None:
        raise ValueError(
            "`attention_model` needs a model with a GradAttnHead. "
            f"Received: {type(model).__name__} '{model.name}'"
        )
    predictions, attention = head(head.input, return_attention=True)
    return keras.Model(
        model.inputs,
        {"predictions": predictions, "attention": attention},
        name=f"{model.name}_attention",
    )
