"""The ring of rows that the compiled training step writes its norms into."""

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from keras_gradattn._compat import tensorflow as tensorflow_compat
from keras_gradattn.gradients import _norms
from keras_gradattn.gradients._sparse import nonzero_rows

# Two float32 columns hold the iteration exactly: float32 itself stops at 2**24.
_ITERATION_BASE = 2**20
# Iteration (two), which variables were applied, whether details were wanted.
_HEAD = 4


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows read back from the ring, oldest first.

    Attributes:
        number: (rows,) running number of each row since the ring was made.
        iteration: (rows,) `optimizer._iterations` before that step's update.
        norms: (rows, variables) gradient L2 norms, 0 where not measured.
        measured: (rows, variables) whether that `apply` was about the variable.
        detail: (rows,) whether zero shares and the like were measured.
        zero_shares: (rows, variables) share of exact zeros, 0 where not measured.
        taps: (rows, tap values) statistics of layer-output gradients.
        more: Columns that were asked for, by name.
        lost: Rows that were overwritten before they could be read.
        weight_norms: (rows, variables) L2 norms of the weights before the update, NaN
            where not measured.
        update_norms: (rows, variables) L2 norms of what the update changed, likewise.
    """

    number: np.ndarray
    iteration: np.ndarray
    norms: np.ndarray
    measured: np.ndarray
    detail: np.ndarray
    zero_shares: np.ndarray
    taps: np.ndarray
    more: dict[str, np.ndarray]
    lost: int
    weight_norms: np.ndarray | None = None
    update_norms: np.ndarray | None = None


class Ring:
    """A `(capacity, columns)` variable and a counter, written once per step.

    Args:
        variables: Trainable `keras.Variable`s, one norm column each.
        tap_variables: Variables whose "gradient" is a vector of tap statistics.
        capacity: Rows held before the oldest is overwritten.
        barrier: Whether the step is compiled by XLA (see `_fence`).
        strategy: TensorFlow distribution strategy, or `None`.
        more: Further measures: objects with `name`, `width`, `of` and
            `__call__(ring, present, gradients, scale, wanted)`, a vector. `of` says
            which gradients: "rows" are dense, without rows of zeros; "summed" are those
            that the optimizer gets, "own" those of one replica.
        sink: Takes each row instead of the ring, from inside a compiled step.
        detail_every: Every how many steps details are measured where the host does not
            see each step: of the iteration with a sink, of the rows without one.
            `None` where the host says it of each step.
    """

    def __init__(
        self,
        variables: list[Any],
        tap_variables: Sequence[Any] = (),
        *,
        capacity: int,
        barrier: bool,
        strategy: Any = None,
        more: Sequence[Any] = (),
        sink: Callable[..., Any] | None = None,
        detail_every: int | None = None,
    ) -> None:
        self.variables = list(variables)
        self.tap_variables = list(tap_variables)
        self.capacity = capacity
        self.more = list(more)
        self._sink = sink
        self._detail_every = detail_every
        self._barrier = barrier
        self._strategy = strategy
        self._read = 0
        self._column = _columns(self.variables)
        self._tap_width = sum(int(np.prod(v.shape)) for v in self.tap_variables)
        # Per kind of `apply`: variables it was about, and those with a gradient.
        self.kinds: list[tuple[frozenset[int], frozenset[int]]] = []
        n = len(self.variables)
        self._widths = [_HEAD, n, n, self._tap_width, *(m.width for m in self.more)]
        self._dtype = "float32"
        if any(v.dtype == "float64" for v in self.variables):
            self._dtype = "float64"
        with _scope(strategy):
            self.rows = _variable(
                np.zeros((capacity, sum(self._widths))), self._dtype, "rows"
            )
            self.count = _variable(np.zeros(()), "int32", "count")
            self.wanted = _variable(np.zeros(()), "bool", "wanted")
        # PyTorch runs eagerly: what it asks about is kept on the host, which spares
        # reading the device. TensorFlow's variable is written only where it changes.
        self._host_count = 0
        self._host_wanted = False
        # JAX keeps the current state outside of the variables.
        self.arrays: tuple[Any, ...] | None = None
        self._eager: Any = None

    @property
    def state(self) -> tuple[Any, ...]:
        """The variables that a pure step takes and returns."""
        return (self.rows, self.count, self.wanted)

    @property
    def without_gradient(self) -> list[int]:
        """Columns of variables that no recorded step had a gradient for."""
        asked = frozenset().union(*(about for about, _ in self.kinds))
        return sorted(asked.difference(*(reached for _, reached in self.kinds)))

    @property
    def wants_details(self) -> bool:
        """Whether the coming step measures what is costly."""
        return self._host_wanted

    def rows_written(self) -> Any:
        """How many rows there are, as the device has it."""
        if keras.backend.backend() == "torch":
            return self._host_count
        return self.count.value if self.arrays is None else self.arrays[1]

    def want_details(self, wanted: bool) -> None:
        """Say whether the coming step does. Called on the host."""
        if keras.backend.backend() == "tensorflow" and wanted != self._host_wanted:
            self.wanted.assign(wanted)
        self._host_wanted = wanted

    def record(
        self,
        gradients: list[Any],
        variables: list[Any],
        iteration: Any,
        scale: Any = None,
        tap_scale: Any = None,
    ) -> list[Any]:
        """Measure gradients and write their row. Called inside the training step.

        Args:
            gradients: One per variable; `None` where the loss does not reach it.
            variables: What the optimizer is about to update.
            iteration: Updates before this one.
            scale: What gradients are to be divided by, or `None`.
            tap_scale: Per tap a vector to divide its statistics by, or `None`.

        Returns:
            The gradients, for the optimizer to use.
        """
        if keras.backend.backend() == "torch":
            if self._eager is None:
                self._eager = torch_eagerly(self._record)
            return self._eager(gradients, variables, iteration, scale, tap_scale)
        return self._record(gradients, variables, iteration, scale, tap_scale)

    def _record(
        self, gradients: Any, variables: Any, iteration: Any, scale: Any, tap_scale: Any
    ) -> Any:
        found, about = {}, set()
        for variable, gradient in zip(variables, gradients, strict=True):
            column = self._column.get(id(variable))
            if column is not None:
                about.add(column)
                if gradient is not None:
                    found[column] = gradient
        present = sorted(found)
        taps = self._tapped(variables, gradients)
        if not present and not taps:
            return gradients
        kind = self._kind(frozenset(about), frozenset(present))
        own = self._fence([found[i] for i in present])
        summed = self._sum_replicas(own)
        values = [nonzero_rows(g) for g in summed]
        values = [_norms.cast(g, _norms.wide_dtype([g])) for g in values]
        wanted = self._is_detail_step(iteration)
        row = [self._head(iteration, kind, wanted)]
        if present:
            sizes = [int(np.prod(self.variables[i].shape)) for i in present]
            norms, zeros = _norms.norms_and_zero_shares(
                values, sizes, wanted, self._barrier
            )
            if scale is not None:
                norms = norms / keras.ops.cast(scale, norms.dtype)
            row += [self._spread(norms, present), self._spread(zeros, present)]
            if keras.backend.backend() == "tensorflow" and not self._barrier:
                gradients = [
                    _norms.after(g, norms)
                    if id(v) in self._column and g is not None
                    else g
                    for v, g in zip(variables, gradients, strict=True)
                ]
        else:
            row.append(keras.ops.zeros((2 * len(self.variables),), self._dtype))
        row += self._tap_values(taps, tap_scale)
        for measure in self.more:
            of = {"own": own, "summed": summed}.get(measure.of, values)
            extra = measure(self, present, of, scale, wanted)
            row.append(_norms.cast(extra, self._dtype))
        self._put(keras.ops.concatenate(row))
        return gradients

    def _head(self, iteration: Any, kind: Any, wanted: Any) -> Any:
        if keras.backend.backend() == "torch":
            import torch

            iteration = int(iteration)
            head = [iteration // _ITERATION_BASE, iteration % _ITERATION_BASE]
            return torch.tensor(
                [*head, kind, float(wanted)],
                dtype=getattr(torch, self._dtype),
                device=self.rows.value.device,
            )
        iteration = keras.ops.cast(iteration, "int32")
        return keras.ops.stack(
            [
                keras.ops.cast(iteration // _ITERATION_BASE, self._dtype),
                keras.ops.cast(iteration % _ITERATION_BASE, self._dtype),
                keras.ops.cast(kind, self._dtype),
                keras.ops.cast(wanted, self._dtype),
            ]
        )

    def _kind(self, about: Any, present: Any) -> Any:
        if (about, present) not in self.kinds:
            self.kinds.append((about, present))
        return self.kinds.index((about, present))

    def _tapped(self, variables: Any, gradients: Any) -> Any:
        taps = set(map(id, self.tap_variables))
        return {
            id(v): g
            for v, g in zip(variables, gradients, strict=True)
            if id(v) in taps and g is not None
        }

    def _tap_values(self, taps: Any, tap_scale: Any) -> Any:
        values = []
        for i, tap in enumerate(self.tap_variables):
            if id(tap) not in taps:
                values.append(keras.ops.zeros((int(np.prod(tap.shape)),), self._dtype))
                continue
            (value,) = self._fence([taps[id(tap)]])
            value = keras.ops.reshape(_norms.cast(value, self._dtype), (-1,))
            if tap_scale is not None:
                value = value / keras.ops.cast(tap_scale[i], self._dtype)
            values.append(value)
        return values

    def read(self) -> Rows:
        """Rows written since the last call."""
        rows, count, _ = self.arrays or (v.value for v in self.state)
        if keras.backend.backend() == "torch":
            count = self._host_count
        count = int(np.array(to_numpy(count)))
        first = max(self._read, count - self.capacity)
        lost = first - self._read
        number = np.arange(first, count)
        self._read = count
        if not len(number):
            return self._rows_of(np.zeros((0, sum(self._widths))), number, lost)
        # A copy: the array may share memory with a buffer that a step reuses.
        table = np.array(to_numpy(rows), copy=True)[number % self.capacity]
        return self._rows_of(table, number, lost)

    def rows_of(self, table: np.ndarray, first: int) -> Rows:
        """Rows that went to the sink, those that came late put in their order.

        Args:
            table: One row each.
            first: Rows before these.
        """
        number = first + np.arange(len(table))
        rows = self._rows_of(table.reshape(len(table), sum(self._widths)), number, 0)
        order = np.argsort(rows.iteration, kind="stable")
        ordered = {
            field: getattr(rows, field)[order]
            for field in ("iteration", "norms", "measured", "detail", "zero_shares")
        }
        return dataclasses.replace(
            rows,
            taps=rows.taps[order],
            more={name: part[order] for name, part in rows.more.items()},
            **ordered,
        )

    def _rows_of(self, table: Any, number: Any, lost: Any) -> Any:
        table = table.astype("float64")
        head, norms, zeros, taps, *more = np.split(
            table, np.cumsum(self._widths)[:-1], axis=1
        )
        measured = np.zeros(norms.shape, dtype=bool)
        for kind, (about, _) in enumerate(self.kinds):
            rows_of_kind = np.flatnonzero(head[:, 2] == kind)
            measured[np.ix_(rows_of_kind, np.array(sorted(about), dtype=int))] = True
        return Rows(
            number=number,
            iteration=(head[:, 0] * _ITERATION_BASE + head[:, 1]).astype("int64"),
            norms=norms,
            measured=measured,
            detail=head[:, 3] > 0,
            zero_shares=zeros,
            taps=taps,
            more={m.name: part for m, part in zip(self.more, more, strict=True)},
            lost=lost,
        )

    def restart(self) -> None:
        """Begin anew where a failed step took JAX' arrays along."""
        self.arrays = None
        self._read = 0

    def _is_detail_step(self, iteration: Any) -> Any:
        if self._sink is not None:
            return keras.ops.equal(iteration % (self._detail_every or 1), 0)
        if keras.backend.backend() == "torch":
            return self._host_wanted
        if self._detail_every is not None and keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            if not tf.executing_eagerly():
                return tf.equal(self.count.value % self._detail_every, 0)
        return self.wanted.value

    def _spread(self, values: Any, present: Any) -> Any:
        """Values of the present variables in the columns of all, 0 elsewhere."""
        values = _norms.cast(values, self._dtype)
        if len(present) == len(self.variables):
            return values
        where = np.full(len(self.variables), len(present))
        where[present] = np.arange(len(present))
        padded = keras.ops.concatenate([values, keras.ops.zeros((1,), self._dtype)])
        return keras.ops.take(padded, where)

    def _fence(self, tensors: Any) -> Any:
        """Keep XLA from fusing the norms with the update.

        Fused, the update's last bits change (measured: 6e-5 after six Adam steps),
        and recording must not change training.
        """
        if not self._barrier or not tensors:
            return tensors
        if keras.backend.backend() == "jax":
            import jax

            barrier: Any = jax.lax.optimization_barrier
            return barrier(tensors)
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            dense = [i for i, t in enumerate(tensors) if tf.is_tensor(t)]
            fenced = tensorflow_compat.optimization_barrier([tensors[i] for i in dense])
            tensors = list(tensors)
            for i, tensor in zip(dense, fenced, strict=True):
                tensors[i] = tensor
        return tensors

    def _sum_replicas(self, gradients: Any) -> Any:
        """What the optimizer applies under a strategy: the replicas' sum."""
        if self._strategy is None or not gradients:
            return gradients
        import tensorflow as tf

        context = tf.distribute.get_replica_context()
        return context.all_reduce(tf.distribute.ReduceOp.SUM, list(gradients))

    def _put(self, row: Any) -> None:
        if self._sink is not None:
            self._sink(row)
            return
        backend = keras.backend.backend()
        if backend == "torch":
            self.rows.value[self._host_count % self.capacity] = row
            self._host_count += 1
            return
        count = self.count.value
        index = count % self.capacity
        # A slice is replaced: blending by a one-hot mask would carry NaN into
        # every other row (0 x NaN).
        if backend == "jax":
            import jax

            updated = jax.lax.dynamic_update_index_in_dim(
                self.rows.value, row, index, axis=0
            )
            self.rows.assign(updated)
            self.count.assign(count + 1)
        else:
            import tensorflow as tf

            self.rows.value.scatter_update(tf.IndexedSlices(row[None], index[None]))
            # Without this, a step whose data fail to arrive would be counted.
            with tf.control_dependencies([row]):
                self.count.value.assign(count + 1)


def _columns(variables: Any) -> Any:
    """Column by identity, of Keras' variable and of what some backends hold in it."""
    columns = {}
    for i, variable in enumerate(variables):
        columns[id(variable)] = i
        if keras.backend.backend() != "jax":
            columns[id(variable.value)] = i
    return columns


def _scope(strategy: Any) -> Any:
    return contextlib.nullcontext() if strategy is None else strategy.scope()


def _variable(value: Any, dtype: Any, name: Any) -> Any:
    return keras.Variable(
        value.astype(dtype),
        dtype=dtype,
        trainable=False,
        aggregation="only_first_replica",
        name=f"gradient_norm_{name}",
    )


def torch_eagerly(function: Any) -> Any:
    """A function that PyTorch's compiler leaves alone, without gradients."""
    import torch

    # A counter on the host would be compiled in as a constant and force a
    # recompilation at every step.
    disable: Any = torch.compiler.disable
    return torch.no_grad()(disable(function))


def to_numpy(value: Any) -> np.ndarray:
    """A tensor or array of any backend, on whichever devices, as NumPy holds it."""
    if hasattr(value, "detach"):  # PyTorch, on whichever device
        return value.detach().cpu().numpy()
    if hasattr(value, "numpy"):  # TensorFlow, mirrored variables too
        return value.numpy()
    if getattr(value, "is_fully_addressable", True) is False:
        # JAX in several processes: each holds the whole of what is replicated.
        return np.asarray(value.addressable_data(0))
    return np.asarray(value)
