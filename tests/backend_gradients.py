"""Loss and gradients computed by the backend itself, without a Keras trainer."""

import keras
import numpy as np


def loss_and_gradients(model, images, labels, loss_function, training=True):
    """Loss, outputs and gradient of every trainable variable.

    Args:
        model: A built Keras model.
        images, labels: One batch.
        loss_function: From labels and outputs to a scalar tensor.
        training: Whether to run in training mode.

    Returns:
        Loss (float), outputs (array) and a list of gradient arrays, in the order of
        `model.trainable_variables`.
    """
    compute = {"jax": _jax, "tensorflow": _tensorflow, "torch": _torch}
    loss, outputs, gradients = compute[keras.backend.backend()](
        model, images, labels, loss_function, training
    )
    arrays = [keras.ops.convert_to_numpy(g) for g in gradients]
    return float(loss), keras.ops.convert_to_numpy(outputs), arrays


def inference(model, images) -> np.ndarray:
    """Outputs in inference mode, compiled on JAX, where single operations are slow."""
    if keras.backend.backend() != "jax":
        return keras.ops.convert_to_numpy(model(images, training=False))
    import jax

    def compute(trainable, non_trainable, images):
        return model.stateless_call(trainable, non_trainable, images, training=False)[0]

    trainable = [v.value for v in model.trainable_variables]
    non_trainable = [v.value for v in model.non_trainable_variables]
    return np.asarray(jax.jit(compute)(trainable, non_trainable, images))


def _jax(model, images, labels, loss_function, training):
    import jax

    def compute(trainable, non_trainable, images, labels):
        outputs, _ = model.stateless_call(
            trainable, non_trainable, images, training=training
        )
        return loss_function(labels, outputs), outputs

    trainable = [v.value for v in model.trainable_variables]
    non_trainable = [v.value for v in model.non_trainable_variables]
    (loss, outputs), gradients = jax.jit(jax.value_and_grad(compute, has_aux=True))(
        trainable, non_trainable, images, labels
    )
    return loss, outputs, gradients


def _tensorflow(model, images, labels, loss_function, training):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        outputs = model(images, training=training)
        loss = loss_function(labels, outputs)
    variables = [v.value for v in model.trainable_variables]
    return loss, outputs, tape.gradient(loss, variables)


def _torch(model, images, labels, loss_function, training):
    model.zero_grad()
    outputs = model(images, training=training)
    loss = loss_function(labels, outputs)
    loss.backward()
    gradients = [v.value.grad.detach().clone() for v in model.trainable_variables]
    model.zero_grad()
    return loss.detach(), outputs.detach(), gradients


def gradient_of(function, array) -> np.ndarray:
    """Gradient of a scalar function of one array, compiled where XLA is at hand."""
    match keras.backend.backend():
        case "jax":
            import jax

            return np.asarray(jax.jit(jax.grad(function))(array))
        case "tensorflow":
            import tensorflow as tf

            @tf.function(jit_compile=True)
            def compute(values):
                with tf.GradientTape() as tape:
                    tape.watch(values)
                    outputs = function(values)
                return tape.gradient(outputs, values)

            return compute(tf.constant(array)).numpy()
        case "torch":
            import torch

            values = torch.tensor(array, requires_grad=True)
            function(values).backward()
            return values.grad.numpy()
