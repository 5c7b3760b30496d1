"""A learnable vector per depth, added to the tokens."""

from typing import Any

import keras

from keras_gradattn.layers._initializers import Normal


@keras.saving.register_keras_serializable(package="keras_gradattn")
class LearnablePositions(keras.layers.Layer):
    """Add a learnable embedding to every token, by its position.

    Starts from a standard normal distribution, as the released GradAttn-V2 does.

    Args:
        initializer: Any Keras initialiser. Defaults to N(0, 1).
        **kwargs: Base layer arguments such as `name` and `dtype`.

    Returns:
        As a layer: `(batch, tokens, width)` to the same shape; tokens and width static.

    Example:

    >>> tokens = keras.Input((5, 256))
    >>> keras_gradattn.layers.LearnablePositions()(tokens).shape
    (None, 5, 256)
    """

    def __init__(self, initializer: Any = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.initializer = keras.initializers.get(initializer or Normal(stddev=1.0))

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        if len(input_shape) != 3 or None in input_shape[1:]:
            raise ValueError(
                "`LearnablePositions` takes `(batch, tokens, width)`, tokens and width "
                f"static. Received: input_shape={input_shape}"
            )
        self.positions = self.add_weight(
            name="positions",
            shape=(1, *input_shape[1:]),
            initializer=self.initializer,
        )

    def call(self, tokens: Any) -> Any:
        return tokens + self.positions

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "initializer": keras.initializers.serialize(self.initializer),
        }
