"""Weights before a step, and what the step really changed.

Measured beside the compiled step, in the few steps that take details: inside it, old
weights that are still to be read would have to be copied at every step.
"""

import dataclasses
import functools
from typing import Any

import keras
import numpy as np

from keras_gradattn.gradients._ring import Ring, to_numpy

# Weights may decay to almost nothing but are never huge: one scale serves them all.
_SCALE = 2.0**40


@dataclasses.dataclass
class _Measured:
    first: Any  # rows written before
    last: Any  # rows written after
    identities: list[int]
    norms: list[Any]  # per variable a tensor of two


class WeightUpdates:
    """Norms of weights and of their updates, kept until the ring is read.

    Args:
        calls_per_update: Steps until weights change: more than one where gradients are
            accumulated.
    """

    def __init__(self, calls_per_update: int = 1) -> None:
        self._calls_per_update = calls_per_update
        self._open: tuple[Any, ...] | None = None
        self._left = 0
        self._measured: list[_Measured] = []

    def before(
        self, variables: list[Any], values: list[Any], rows_written: Any
    ) -> None:
        """Keep copies of the weights that the coming step will change."""
        if self._open is None:
            copies = [_copied(value) for value in values]
            self._open = (list(map(id, variables)), copies, _copied(rows_written))
            self._left = self._calls_per_update

    @property
    def waiting(self) -> bool:
        """Whether `after` will compare once this step is done."""
        return self._open is not None and self._left == 1

    def after(self, variables: list[Any], values: list[Any], rows_written: Any) -> None:
        """Compare with the copies, once the weights have changed."""
        if self._open is None:
            return
        self._left -= 1
        if self._left > 0:
            return
        (identities, copies, first), self._open = self._open, None
        current = dict(zip(map(id, variables), values, strict=True))
        # The first step may tell that some of them are not measured after all.
        kept = [
            (identity, copy)
            for identity, copy in zip(identities, copies, strict=True)
            if identity in current
        ]
        identities = [identity for identity, _ in kept]
        norms = [_norms_of(copy, current[identity]) for identity, copy in kept]
        self._measured.append(
            _Measured(first, _copied(rows_written), identities, norms)
        )

    def drop(self) -> None:
        """Forget copies of a step that failed."""
        self._open = None

    def read(self, ring: Ring, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(rows, variables) weight and update norms of these rows, NaN elsewhere."""
        weights = np.full((len(numbers), len(ring.variables)), np.nan)
        updates = weights.copy()
        column = {id(v): i for i, v in enumerate(ring.variables)}
        measured, self._measured = self._measured, []
        for one in measured:
            first, last = (int(np.array(to_numpy(c))) for c in (one.first, one.last))
            row = np.flatnonzero(numbers == first)
            # Where loss scaling skipped the step there is no row; where several rows
            # were written, the update is none of theirs alone.
            if not len(row) or last - first != self._calls_per_update:
                continue
            for identity, norms in zip(one.identities, one.norms, strict=True):
                if identity in column:
                    weight, update = np.array(to_numpy(norms), "float64")
                    weights[row[0], column[identity]] = weight
                    updates[row[0], column[identity]] = update
        return weights, updates


def jax_copy(array: Any) -> Any:
    """A copy with a buffer of its own."""
    return _jax_functions()[0](array)


def _copied(value: Any) -> Any:
    match keras.backend.backend():
        case "jax":
            return value if np.isscalar(value) else jax_copy(value)
        case "tensorflow":
            import tensorflow as tf

            return value if np.isscalar(value) else tf.identity(value)
    return value if np.isscalar(value) else value.detach().clone()


def _norms_of(old: Any, new: Any) -> Any:
    """Norm of a weight, and of its change."""
    match keras.backend.backend():
        case "jax":
            return _jax_functions()[1](old, new)
        case "tensorflow":
            return _tensorflow_function()(old, new)
    import torch

    with torch.no_grad():
        old, new = old.double(), new.detach().double()
        return torch.stack(
            [torch.linalg.vector_norm(old), torch.linalg.vector_norm(new - old)]
        )


@functools.cache
def _jax_functions() -> Any:
    import jax
    import jax.numpy as jnp

    def norms(old: Any, new: Any) -> Any:
        wide = jnp.promote_types(old.dtype, jnp.float32)
        old, new = old.astype(wide), new.astype(wide)
        return jnp.stack([_norm(old), _norm(new - old)])

    def _norm(values: Any) -> Any:
        return jnp.sqrt(jnp.sum(jnp.square(values * _SCALE))) / _SCALE

    # Compiled once a shape, and taken from there by every model and every `fit`.
    return jax.jit(jnp.copy), jax.jit(norms)


@functools.cache
def _tensorflow_function() -> Any:
    import tensorflow as tf

    def norm(values: Any) -> Any:
        return tf.sqrt(2 * tf.nn.l2_loss(values * _SCALE)) / _SCALE

    def norms(old: Any, new: Any) -> Any:
        new = tf.convert_to_tensor(new)
        if old.dtype.size < 4:
            old, new = tf.cast(old, "float32"), tf.cast(new, "float32")
        return tf.stack([norm(old), norm(new - old)])

    return norms
