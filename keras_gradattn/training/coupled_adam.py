"""Adam with its weight decay *in the gradient*, as ``torch.optim.Adam`` does it."""

import contextlib
import math
from typing import Any

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="keras_gradattn")
class CoupledAdam(keras.optimizers.Adam):
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

    def _apply_weight_decay(self, variables: list) -> None:
        """Leave the weights alone: the decay is in the gradient."""

    def _backend_update_step(
        self, grads: list, trainable_variables: list, learning_rate: Any
    ) -> None:
        # After clipping and accumulation, before the moments: where PyTorch has it,
        # and behind anything that reads the raw gradients from `apply`.
        if keras.backend.backend() == "torch":
            self._update_on_torch(grads, trainable_variables, learning_rate)
        else:
            super()._backend_update_step(grads, trainable_variables, learning_rate)

    def _decay_of(self, variable: Any) -> float:
        return self.weight_decay if self._use_weight_decay(variable) else 0.0

    def _update_on_torch(
        self, grads: list, trainable_variables: list, learning_rate: Any
    ) -> None:
        """All variables in PyTorch's fused kernel.

        It computes what `update_step` computes, in one pass over the memory.
        """
        import torch
        from torch.optim.adam import adam

        steps = float(self.iterations.value)
        # The kernel takes one decay for all that it is given.
        alike: dict[float, list] = {}
        for gradient, variable in zip(grads, trainable_variables, strict=True):
            index = self._get_variable_index(variable)
            weight = variable.value
            alike.setdefault(self._decay_of(variable), []).append(
                (
                    weight,
                    gradient.to(weight.dtype),
                    self._momentums[index].value,
                    self._velocities[index].value,
                    # The kernel is given the steps so far and counts this one.
                    torch.tensor(steps, device=weight.device),
                )
            )
        for decay, tensors in alike.items():
            weights, gradients, momentums, velocities, counts = map(
                list, zip(*tensors, strict=True)
            )
            with torch.no_grad():
                adam(
                    weights,
                    gradients,
                    momentums,
                    velocities,
                    [],
                    counts,
                    fused=True,
                    amsgrad=False,
                    beta1=self.beta_1,
                    beta2=self.beta_2,
                    lr=float(learning_rate),
                    weight_decay=decay,
                    eps=self.epsilon,
                    maximize=False,
                )

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Move one variable by its gradient and the decay."""
        dtype = keras.backend.standardize_dtype(variable.dtype)
        gradient = ops.cast(gradient, dtype)
        if decay := self._decay_of(variable):
            with _after(gradient):
                gradient = gradient + decay * ops.cast(variable, dtype)
        index = self._get_variable_index(variable)
        moments = self._momentums[index], self._velocities[index]
        rate = ops.cast(learning_rate, dtype)
        if keras.backend.backend() == "tensorflow":
            self._update_on_tensorflow(variable, *moments, gradient, rate)
        else:
            self._update(variable, *moments, gradient, rate)

    def _update(
        self, variable: Any, momentum: Any, velocity: Any, gradient: Any, rate: Any
    ) -> None:
        correction_1, correction_2 = (
            self._correction(beta, gradient.dtype)
            for beta in (self.beta_1, self.beta_2)
        )
        self.assign_add(momentum, (gradient - momentum) * (1 - self.beta_1))
        self.assign_add(velocity, (ops.square(gradient) - velocity) * (1 - self.beta_2))
        root = ops.sqrt(velocity) / ops.sqrt(correction_2) + self.epsilon
        self.assign_sub(variable, rate / correction_1 * momentum / root)

    def _update_on_tensorflow(
        self, variable: Any, momentum: Any, velocity: Any, gradient: Any, rate: Any
    ) -> None:
        """TensorFlow's own kernel: one pass over the memory, on all cores.

        It adds its epsilon to the root before the bias correction, hence
        `w - (rate * c) * m / (sqrt(v) + epsilon * c)` with `c = sqrt(1 - beta_2**t)`.
        """
        import tensorflow as tf

        dtype = gradient.dtype
        # The kernel takes `1 - beta` of the rounded beta, 5e-5 from that of 0.999.
        # Corrected by the same beta, a mean of equal values is that value again.
        beta_1, beta_2 = (
            np.asarray(beta, dtype.as_numpy_dtype)
            for beta in (self.beta_1, self.beta_2)
        )
        root = ops.sqrt(self._correction(float(beta_2), dtype))
        # Its own corrections, which cancel in float32, are switched off.
        nothing = tf.zeros((), dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=momentum.value.handle,
            v=velocity.value.handle,
            beta1_power=nothing,
            beta2_power=nothing,
            lr=rate / self._correction(float(beta_1), dtype) * root,
            beta1=beta_1,
            beta2=beta_2,
            epsilon=self.epsilon * root,
            # Rows of an embedding as a whole: every weight decays and has moments.
            grad=tf.convert_to_tensor(gradient),
        )

    def _correction(self, beta: float, dtype: Any) -> Any:
        """`1 - beta**t`, by `expm1`: the difference cancels in float32."""
        step = ops.cast(self.iterations + 1, keras.backend.standardize_dtype(dtype))
        return -ops.expm1(step * (math.log(beta) if beta else -math.inf))

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        # Adam's own switch; this optimizer does not offer it.
        del config["amsgrad"]
        return config


def _after(gradient: Any) -> contextlib.AbstractContextManager:
    """Where TensorFlow computes nothing before it has the gradient.

    It would multiply all weights by their decay at the beginning of the step, and hold
    a second copy of the weights until the last gradient is there.
    """
    if keras.backend.backend() != "tensorflow":
        return contextlib.nullcontext()
    import tensorflow as tf

    return tf.control_dependencies([tf.convert_to_tensor(gradient)])
