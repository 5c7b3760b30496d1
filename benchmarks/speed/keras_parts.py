"""The pieces of a Keras network's training step, compiled as its backend compiles."""

import keras
from keras import ops

from benchmarks.speed.keras_steps import BACKEND, Steps
from benchmarks.speed.parts import STEP, UPDATE, forward, gradient


def depths(steps: Steps) -> list[str]:
    """Names of the depths at which the network is cut."""
    return [*steps.model.stage_features, "head"]


def pieces(steps: Steps) -> dict[str, object]:
    """Functions by name; each runs once and waits for its end."""
    model = steps.model
    images, labels = (ops.convert_to_tensor(a) for a in steps.arrays)
    found = {}
    for depth in depths(steps):
        prefix, loss = _prefix(model, depth, labels)
        found[forward(depth)], found[gradient(depth)] = _PREFIX[BACKEND](
            prefix, loss, images, model.jit_compile
        )
    found[UPDATE] = _UPDATE[BACKEND](model)
    found[STEP] = lambda: steps.run(1)
    return found


def _prefix(model, depth, labels):
    if depth == "head":
        cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        return model, lambda outputs: cross_entropy(labels, outputs)
    prefix = keras.Model(model.input, model.stage_features[depth])
    # Of the square, whose gradient is no constant that a compiler could use.
    return prefix, lambda outputs: ops.mean(ops.square(outputs))


def _jax_copies(variables):
    import jax.numpy as jnp

    # A step gives its own arrays away.
    return [jnp.copy(variable.value) for variable in variables]


def _jax_prefix(prefix, loss, images, jit):
    import jax

    def compute(trainable, non_trainable, images):
        outputs, non_trainable = prefix.stateless_call(
            trainable, non_trainable, images, training=True
        )
        return loss(outputs), non_trainable

    arguments = (
        _jax_copies(prefix.trainable_variables),
        _jax_copies(prefix.non_trainable_variables),
        images,
    )
    compiled = [
        jax.jit(compute),
        jax.jit(jax.value_and_grad(compute, has_aux=True)),
    ]
    return [
        lambda function=function: jax.block_until_ready(function(*arguments))
        for function in compiled
    ]


def _jax_update(model):
    import jax
    import jax.numpy as jnp

    update = jax.jit(model.optimizer.stateless_apply, donate_argnums=(0, 2))
    state = [
        _jax_copies(model.optimizer.variables),
        _jax_copies(model.trainable_variables),
    ]
    gradients = [jnp.full_like(values, 1e-3) for values in state[1]]

    def run():
        trainable, optimizer = update(state[0], gradients, state[1])
        state[:] = [optimizer, trainable]
        jax.block_until_ready(state)

    return run


def _tensorflow_prefix(prefix, loss, images, jit):
    import tensorflow as tf

    variables = [variable.value for variable in prefix.trainable_variables]

    @tf.function(jit_compile=jit)
    def run_forward(images):
        return loss(prefix(images, training=True))

    @tf.function(jit_compile=jit)
    def run_gradient(images):
        with tf.GradientTape() as tape:
            value = loss(prefix(images, training=True))
        # Returned, or they would not be computed.
        return value, tape.gradient(value, variables)

    return [
        lambda function=function: tf.nest.flatten(function(images))[0].numpy()
        for function in (run_forward, run_gradient)
    ]


def _tensorflow_update(model):
    import tensorflow as tf

    gradients = [tf.fill(v.shape, 1e-3) for v in model.trainable_variables]

    @tf.function(jit_compile=model.jit_compile)
    def run(gradients):
        model.optimizer.apply_gradients(
            zip(gradients, model.trainable_variables, strict=True)
        )
        return model.optimizer.iterations.value

    return lambda: run(gradients).numpy()


def _torch_prefix(prefix, loss, images, jit):
    from benchmarks.speed.torch_steps import synchronised

    def run_forward():
        return loss(prefix(images, training=True))

    def run_gradient():
        value = run_forward()
        prefix.zero_grad()
        value.backward()

    return [synchronised(run_forward), synchronised(run_gradient)]


def _torch_update(model):
    import torch

    from benchmarks.speed.torch_steps import synchronised

    gradients = [torch.full_like(v.value, 1e-3) for v in model.trainable_variables]

    @torch.no_grad()
    def run():
        model.optimizer.apply(gradients, model.trainable_variables)

    return synchronised(run)


_PREFIX = {
    "jax": _jax_prefix,
    "tensorflow": _tensorflow_prefix,
    "torch": _torch_prefix,
}
_UPDATE = {
    "jax": _jax_update,
    "tensorflow": _tensorflow_update,
    "torch": _torch_update,
}
