"""Adam with its weight decay *in the gradient*, as ``torch.optim.Adam`` does it."""

import math
from typing import Any

import keras
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
        if self.weight_decay:
            grads = [
                grad + self.weight_decay * ops.cast(variable, grad.dtype)
                if self._use_weight_decay(variable)
                else grad
                for grad, variable in zip(grads, trainable_variables, strict=True)
            ]
        if keras.backend.backend() == "torch":
            self._update_on_torch(grads, trainable_variables, learning_rate)
        else:
            super()._backend_update_step(grads, trainable_variables, learning_rate)

    def _update_on_torch(
        self, grads: list, trainable_variables: list, learning_rate: Any
    ) -> None:
        """All variables in PyTorch's fused kernel.

        It computes what `update_step` computes, in one pass over the memory.
        """
        import torch
        from torch.optim.adam import adam

        weights = [variable.value for variable in trainable_variables]
        indices = [self._get_variable_index(v) for v in trainable_variables]
        steps = float(self.iterations.value)
        with torch.no_grad():
            adam(
                weights,
                [
                    grad.to(weight.dtype)
                    for grad, weight in zip(grads, weights, strict=True)
                ],
                [self._momentums[index].value for index in indices],
                [self._velocities[index].value for index in indices],
                [],
                # The kernel is given the steps taken so far and counts this one.
                [torch.tensor(steps, device=weight.device) for weight in weights],
                fused=True,
                amsgrad=False,
                beta1=self.beta_1,
                beta2=self.beta_2,
                lr=float(learning_rate),
                weight_decay=0.0,
                eps=self.epsilon,
                maximize=False,
            )

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Move one variable by its (already decayed) gradient."""
        dtype = variable.dtype
        gradient = ops.cast(gradient, dtype)
        step = ops.cast(self.iterations + 1, dtype)
        # 1 - beta**t cancels in float32 (6e-5 off at t=1): expm1 does not.
        correction_1 = -ops.expm1(step * math.log(self.beta_1))
        correction_2 = -ops.expm1(step * math.log(self.beta_2))

        index = self._get_variable_index(variable)
        momentum, velocity = self._momentums[index], self._velocities[index]
        self.assign_add(momentum, (gradient - momentum) * (1 - self.beta_1))
        self.assign_add(velocity, (ops.square(gradient) - velocity) * (1 - self.beta_2))
        root = ops.sqrt(velocity) / ops.sqrt(correction_2) + self.epsilon
        rate = ops.cast(learning_rate, dtype) / correction_1
        self.assign_sub(variable, rate * momentum / root)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        # Adam's own switch; this optimizer does not offer it.
        del config["amsgrad"]
        return config
