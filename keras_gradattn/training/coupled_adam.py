"""Adam with its weight decay *in the gradient*, as ``torch.optim.Adam`` does it."""

import contextlib
import math
from typing import Any

import keras
from keras import ops

from keras_gradattn import config
from keras_gradattn._compat.keras import OpenAdam
from keras_gradattn._kernels import adam


@keras.saving.register_keras_serializable(package="keras_gradattn")
class CoupledAdam(OpenAdam):
    """Adam whose `weight_decay` is an L2 term added to every gradient.

    `keras.optimizers.Adam(weight_decay=...)` *decouples* the decay: weights shrink
    by `learning_rate * weight_decay` whatever the gradient. PyTorch's
    `torch.optim.Adam(weight_decay=...)`, which the published runs used, adds
    `weight_decay * weight` to the gradient, clipped gradients included, so that it
    passes through both moments: a weight that the loss leaves alone is driven to
    zero at the full learning rate. Norm scales and biases decay as well unless
    `exclude_from_weight_decay` leaves them out.

    With gradient `g`, weight `w` and step `t` (Kingma & Ba 2015, Algorithm 1, the
    epsilon inside it, not the paper's "epsilon hat" that Keras uses)::

        g = g + weight_decay * w
        m = beta_1 * m + (1 - beta_1) * g
        v = beta_2 * v + (1 - beta_2) * g**2
        w = w - learning_rate * (m / (1 - beta_1**t))
                / (sqrt(v / (1 - beta_2**t)) + epsilon)

    Args:
        learning_rate: A float, a schedule or a callable. Defaults to `0.001`.
        beta_1: Decay rate of the first moment, in [0, 1). Defaults to `0.9`.
        beta_2: Decay rate of the second moment, in [0, 1). Defaults to `0.999`.
        epsilon: Added to the bias-corrected root. Defaults to PyTorch's `1e-8`.
        weight_decay: Factor of the L2 term, not negative. Defaults to `0.0`.
        name: Name of the optimizer.
        **kwargs: `clipnorm`, `use_ema` and whatever else
            `keras.optimizers.Optimizer` takes.

    Raises:
        ValueError: If `weight_decay` is negative or `amsgrad` is asked for.

    Example:

    ```python
    model.compile(
        optimizer=keras_gradattn.training.CoupledAdam(1e-3, weight_decay=1e-4),
        loss="sparse_categorical_crossentropy",
    )
    ```
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        name: str = "coupled_adam",
        **kwargs: Any,
    ):
        if weight_decay is None or weight_decay < 0:
            raise ValueError(
                "`weight_decay` must be a number that is not negative. "
                f"Received: weight_decay={weight_decay}"
            )
        if kwargs.get("amsgrad"):
            raise ValueError("CoupledAdam has no `amsgrad`. Received: amsgrad=True")
        super().__init__(
            learning_rate=learning_rate,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            weight_decay=weight_decay,
            name=name,
            **kwargs,
        )

    def decay_all(self, variables: Any) -> None:
        """Leave the weights alone: the decay is in the gradient."""

    def update_all(self, gradients: Any, variables: Any, learning_rate: Any) -> None:
        """Move all variables, on PyTorch in one kernel."""
        # After clipping and accumulation, before the moments: where PyTorch has it,
        # and behind anything that reads the raw gradients from `apply`.
        if keras.backend.backend() != "torch" or not config.uses_kernel("adam"):
            super().update_all(gradients, variables, learning_rate)
            return
        # The kernel takes one decay for all that it is given.
        alike: dict[float, list[adam.Moving]] = {}
        for gradient, variable in zip(gradients, variables, strict=True):
            weight = variable.value
            momentum, velocity = (moment.value for moment in self.moments(variable))
            moving = adam.Moving(weight, gradient.to(weight.dtype), momentum, velocity)
            alike.setdefault(self._decay_of(variable), []).append(moving)
        for decay, together in alike.items():
            adam.step_on_torch(
                together,
                steps=float(self.iterations.value),
                learning_rate=float(learning_rate),
                beta_1=self.beta_1,
                beta_2=self.beta_2,
                epsilon=self.epsilon,
                weight_decay=decay,
            )

    def _decay_of(self, variable: Any) -> float:
        return self.weight_decay if self.decays(variable) else 0.0

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Move one variable by its gradient and the decay."""
        dtype = keras.backend.standardize_dtype(variable.dtype)
        gradient = ops.cast(gradient, dtype)
        if decay := self._decay_of(variable):
            with _after(gradient):
                gradient = gradient + decay * ops.cast(variable, dtype)
        momentum, velocity = self.moments(variable)
        rate = ops.cast(learning_rate, dtype)
        correction_1, correction_2 = (
            self._correction(beta, gradient.dtype)
            for beta in (self.beta_1, self.beta_2)
        )
        self.assign_add(momentum, (gradient - momentum) * (1 - self.beta_1))
        self.assign_add(velocity, (ops.square(gradient) - velocity) * (1 - self.beta_2))
        root = ops.sqrt(velocity) / ops.sqrt(correction_2) + self.epsilon
        self.assign_sub(variable, rate / correction_1 * momentum / root)

    def _correction(self, beta: float, dtype: Any) -> Any:
        """`1 - beta**t`, by `expm1`: the difference cancels in float32."""
        step = ops.cast(self.iterations + 1, keras.backend.standardize_dtype(dtype))
        return -ops.expm1(step * (math.log(beta) if beta else -math.inf))

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        # Adam's own switch; this optimizer does not offer it.
        del config["amsgrad"]
        return config


def _after(gradient: Any) -> contextlib.AbstractContextManager[Any]:
    """Where TensorFlow computes nothing before it has the gradient.

    It would multiply all weights by their decay at the beginning of the step, and hold
    a second copy of the weights until the last gradient is there.
    """
    if keras.backend.backend() != "tensorflow":
        return contextlib.nullcontext()
    import tensorflow as tf

    return tf.control_dependencies([tf.convert_to_tensor(gradient)])
