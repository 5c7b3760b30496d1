"""Which depth attends to which: the attention weights of a network."""

import keras

from keras_gradattn.layers.gradattn_head import GradAttnHead


@keras.saving.register_keras_serializable(package="keras_gradattn")
class _HeadWithAttention(keras.layers.Layer):
    """A head that also returns its attention.

    A layer of its own, because Keras takes every call of one layer to have as many
    outputs as the first.
    """

    def __init__(self, head, **kwargs):
        super().__init__(dtype=head.dtype_policy, **kwargs)
        self.head = head

    def build(self, input_shape):
        if not self.head.built:
            self.head.build(input_shape)
        self.built = True

    def call(self, features, training=None):
        return self.head(features, training=training, return_attention=True)

    def compute_output_spec(self, features, training=None):
        return self.head.compute_output_spec(features, return_attention=True)

    def get_config(self):
        head = keras.saving.serialize_keras_object(self.head)
        return {"name": self.name, "head": head}

    @classmethod
    def from_config(cls, config):
        head = keras.saving.deserialize_keras_object(config["head"])
        return cls(head, name=config["name"])


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
    >>> tuple(outputs["attention"][0].shape)
    (1, 8, 5, 5)
    """
    head = next((x for x in model.layers if isinstance(x, GradAttnHead)), None)
    if head is None:
        raise ValueError(
            "`attention_model` needs a model with a GradAttnHead among its layers. "
            f"Received: {type(model).__name__} '{model.name}'"
        )
    probe = _HeadWithAttention(head, name="head_with_attention")
    # Keras unpacks lists of one: one feature, one input.
    features = head.input if isinstance(head.input, list | tuple) else [head.input]
    predictions, attention = probe(features)
    return keras.Model(
        model.inputs[0] if len(model.inputs) == 1 else model.inputs,
        {"predictions": predictions, "attention": attention},
        name=f"{model.name}_attention",
    )
