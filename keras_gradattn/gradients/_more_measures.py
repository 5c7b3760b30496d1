"""Measures that are taken where they are asked for: histograms, two batch sizes."""

import dataclasses
from typing import Any

import keras
import numpy as np

from keras_gradattn.gradients import _norms
from keras_gradattn.gradients._recorded_step import replicated_strategy
from keras_gradattn.gradients._sparse import nonzero_rows
from keras_gradattn.gradients.depth_groups import GroupsArgument, group_variables

# Powers of two between float32's smallest values of use and what no gradient exceeds.
# Every second one: all of them take twice as long to count, and on TensorFlow half as
# long again to compile.
_EXPONENTS = np.arange(-40, 17, 2)
# Zeros and what is below all powers fall into the first bin.
EDGES = np.concatenate([[0.0], 2.0**_EXPONENTS, [np.inf]])


@dataclasses.dataclass(frozen=True)
class MoreMeasures:
    """Which further measures a step takes; equal where they are the same.

    Attributes:
        histograms: Whether gradient values are counted by powers of two.
        noise_scale: Whether gradients of two batch sizes are measured.
        groups: How histograms are grouped.
        level: Likewise.
    """

    histograms: bool
    noise_scale: bool
    groups: GroupsArgument
    level: int | None

    def or_none(self) -> "MoreMeasures | None":
        """`None` where nothing is asked for."""
        return self if self.histograms or self.noise_scale else None

    def __call__(
        self, variables: list[Any], model: keras.Model, optimizer: Any
    ) -> list[Any]:
        measures: list[Any] = []
        if self.histograms:
            grouping = group_variables(model, variables, self.groups, level=self.level)
            measures.append(Histogram(grouping.members, len(grouping.names)))
        if self.noise_scale:
            if replicated_strategy(model) is not None:
                measures.append(LocalSquares())
            elif getattr(optimizer, "gradient_accumulation_steps", None):
                measures.append(AccumulatedNorm(optimizer))
        return measures


def parts_of(model: keras.Model, optimizer: Any) -> int:
    """Micro-batches, or else replicas, that make one update."""
    strategy = replicated_strategy(model)
    if strategy is not None:
        return strategy.num_replicas_in_sync
    return getattr(optimizer, "gradient_accumulation_steps", None) or 1


class Histogram:
    """Absolute gradient values by powers of two, summed over each group.

    Args:
        members: Per variable the index of its group, -1 for none.
        groups: Number of groups.
    """

    name = "histogram"
    of = "rows"

    def __init__(self, members: tuple[int, ...], groups: int) -> None:
        self._members = members
        self._groups = groups
        self.width = groups * (len(EDGES) - 1)

    def __call__(
        self, ring: Any, present: Any, gradients: Any, scale: Any, wanted: Any
    ) -> Any:
        ops = keras.ops
        dtype = "float32"

        def counted() -> Any:
            factor = 1.0 if scale is None else scale
            groups = []
            for group in range(self._groups):
                inside = [
                    (i, g)
                    for i, g in zip(present, gradients, strict=True)
                    if self._members[i] == group
                ]
                size = sum(int(np.prod(ring.variables[i].shape)) for i, _ in inside)
                total = _at_least([g for _, g in inside], size, factor)
                groups.append(total[:-1] - total[1:])
            return ops.reshape(ops.stack(groups), (-1,))

        return _norms.branch(wanted, counted, lambda: ops.zeros((self.width,), dtype))


def _at_least(gradients: Any, size: Any, factor: Any) -> Any:
    """How many of the elements are at least as large as each edge."""
    ops = keras.ops
    if not gradients:
        return ops.zeros((len(_EXPONENTS) + 2,), "float32")
    flat = [ops.cast(ops.reshape(g, (-1,)), "float32") for g in gradients]
    values = ops.abs(ops.concatenate(flat)) / factor
    edges = (2.0**_EXPONENTS).astype("float32")
    if keras.backend.backend() == "jax":
        # One kernel, which XLA compiles without a copy per edge.
        reached = values[None] >= edges[:, None]
        counts = ops.sum(ops.cast(reached, "float32"), axis=1)
    else:
        counts = ops.stack(
            [ops.sum(ops.cast(values >= float(edge), "float32")) for edge in edges]
        )
    everything = ops.full((1,), float(size), "float32")
    return ops.concatenate([everything, counts, ops.zeros((1,), "float32")])


class AccumulatedNorm:
    """Norm of the mean gradient of an update's micro-batches, with the last of them.

    Args:
        optimizer: One that accumulates gradients.
    """

    name = "accumulated_norm"
    of = "summed"
    width = 1

    def __init__(self, optimizer: Any) -> None:
        self._optimizer = optimizer

    def __call__(
        self, ring: Any, present: Any, gradients: Any, scale: Any, wanted: Any
    ) -> Any:
        from keras_gradattn._compat import keras as keras_compat

        ops = keras.ops
        steps = self._optimizer.gradient_accumulation_steps
        count = keras_compat.update_count(self._optimizer).value
        ends = ops.equal((count + 1) % steps, 0)
        if keras.backend.backend() == "torch":
            ends = bool(ends)
        sums = dict(keras_compat.accumulated_gradients(self._optimizer))
        factor = 1.0 if scale is None else 1.0 / scale

        def norm() -> Any:
            total = 0.0
            for i, gradient in zip(present, gradients, strict=True):
                held = sums[id(ring.variables[i])].value
                # All rows of an embedding, as the sum has them.
                gradient = _norms.dense(gradient)
                mean = (gradient * factor + ops.cast(held, gradient.dtype)) / steps
                total = total + ops.cast(ops.sum(ops.square(mean)), "float32")
            return ops.reshape(ops.sqrt(total), (1,))

        return _norms.branch(ends, norm, lambda: ops.zeros((1,), "float32"))


class LocalSquares:
    """Mean over the replicas of the squared norm of their own gradients.

    What a replica contributes to the sum is its gradient over the number of replicas.
    """

    name = "local_squares"
    width = 1
    of = "own"

    def __call__(
        self, ring: Any, present: Any, gradients: Any, scale: Any, wanted: Any
    ) -> Any:
        import tensorflow as tf

        context = tf.distribute.get_replica_context()
        replicas = context.num_replicas_in_sync
        total = tf.add_n([2 * tf.nn.l2_loss(nonzero_rows(g)) for g in gradients])
        total = tf.cast(total, "float32") * float(replicas) ** 2
        if scale is not None:
            total = total / scale**2
        mean = context.all_reduce(tf.distribute.ReduceOp.MEAN, total)
        return tf.reshape(mean, (1,))
