"""The ring of rows that the compiled training step writes its norms into."""

import dataclasses

import keras
import numpy as np

from keras_gradattn.gradients import _norms

# Two float32 columns hold the iteration exactly: float32 itself stops at 2**24.
_ITERATION_BASE = 2**20


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows read back from the ring, oldest first.

    Attributes:
        number: (rows,) running number of each row since installation.
        iteration: (rows,) `optimizer._iterations` before that step's update.
        norms: (rows, variables) gradient L2 norms.
        weight_norms: (rows, variables) L2 norms of the weights after the step, NaN
            where not measured.
        zero_shares: (rows, variables) share of exact zeros, NaN where not measured.
        taps: (rows, tap values) statistics of layer-output gradients.
        lost: Rows that were overwritten before they could be read.
    """

    number: np.ndarray
    iteration: np.ndarray
    norms: np.ndarray
    weight_norms: np.ndarray
    zero_shares: np.ndarray
    taps: np.ndarray
    lost: int


@dataclasses.dataclass(frozen=True)
class Measured:
    """What is known of a row before the update: tensors of the training step.

    `gradients` are the optimizer's to use.
    """

    gradients: list
    present: list
    head: object
    norms: object
    zero_shares: object
    no_detail: object
    taps: list


class Ring:
    """A `(capacity, columns)` variable and a counter, written once per step.

    Args:
        variables: Trainable `keras.Variable`s, one norm column each.
        tap_variables: Variables whose "gradient" is a vector of tap statistics.
        capacity: Rows held before the oldest is overwritten.
        detail_every: Every how many rows weight norms and zero shares are taken.
        barrier: Whether the step is compiled by XLA (see `_fence`).
        strategy: TensorFlow distribution strategy, or `None`.
    """

    def __init__(
        self,
        variables: list,
        tap_variables: list,
        *,
        capacity: int,
        detail_every: int,
        barrier: bool,
        strategy: object = None,
    ):
        self.variables = list(variables)
        self.tap_variables = list(tap_variables)
        self.capacity = capacity
        self.detail_every = detail_every
        self._barrier = barrier
        self._strategy = strategy
        self._read = 0
        self._column = {id(v): i for i, v in enumerate(self.variables)}
        self._tap_column = {id(v): i for i, v in enumerate(self.tap_variables)}
        self._tap_width = sum(int(np.prod(v.shape)) for v in self.tap_variables)
        self.without_gradient: set[int] = set()
        width = 2 + 3 * len(self.variables) + self._tap_width
        dtype = "float32"
        if any(v.dtype == "float64" for v in self.variables):
            dtype = "float64"
        self._dtype = dtype
        self.rows = keras.Variable(
            np.zeros((capacity, width), dtype),
            dtype=dtype,
            trainable=False,
            aggregation="only_first_replica",
            name="gradient_norm_rows",
        )
        self.count = keras.Variable(
            np.zeros((), "int32"),
            dtype="int",
            trainable=False,
            aggregation="only_first_replica",
            name="gradient_norm_count",
        )
        # PyTorch runs eagerly: a counter on the host spares reading the device.
        self._host_count = 0
        self._eager = {}

    def measure(
        self, gradients: list, variables: list, iteration: object, scale: float | None
    ) -> "Measured":
        """Norms of the gradients, before the update may overwrite them.

        Called inside the training step, traced or eager.
        """
        return self._eagerly(self._measure, gradients, variables, iteration, scale)

    def write(self, measured: "Measured") -> None:
        """Complete the row with the updated weights' norms and write it."""
        self._eagerly(self._write, measured)

    def _eagerly(self, function, *arguments):
        if keras.backend.backend() == "torch":
            if function.__name__ not in self._eager:
                self._eager[function.__name__] = _torch_eagerly(function)
            function = self._eager[function.__name__]
        return function(*arguments)

    def _measure(self, gradients, variables, iteration, scale):
        found = {
            id(v): g for v, g in zip(variables, gradients, strict=True) if g is not None
        }
        self.without_gradient = {
            i for i, v in enumerate(self.variables) if id(v) not in found
        }
        present = [v for v in self.variables if id(v) in found]
        taps = [v for v in self.tap_variables if id(v) in found]
        values = [found[id(v)] for v in (*present, *taps)]
        if scale is not None:
            values = [g / scale for g in values]
        values = self._fence(values)
        dense = [_norms.dense(g) for g in self._sum_replicas(values[: len(present)])]
        iteration = keras.ops.cast(iteration, "int32")
        head = keras.ops.stack(
            [
                keras.ops.cast(iteration // _ITERATION_BASE, self._dtype),
                keras.ops.cast(iteration % _ITERATION_BASE, self._dtype),
            ]
        )
        norms, zero_shares, measured = _norms.norms_and_zero_shares(
            dense, self._is_detail_step(), self._barrier
        )
        if measured is not None:
            order = dict(zip(map(id, present), measured, strict=True))
            gradients = [
                _norms.after(g, order[id(v)]) if id(v) in order else g
                for v, g in zip(variables, gradients, strict=True)
            ]
        # NaN is "not measured", and that the others are not either.
        no_detail = 0.0 * zero_shares[0]
        tapped = dict(zip(map(id, taps), values[len(present) :], strict=True))
        return Measured(
            gradients=gradients,
            present=present,
            head=head,
            norms=self._spread(norms, present),
            zero_shares=self._spread(zero_shares, present, no_detail),
            no_detail=no_detail,
            taps=[
                keras.ops.reshape(_norms.cast(tapped[id(tap)], self._dtype), (-1,))
                if id(tap) in tapped
                else keras.ops.zeros((int(np.prod(tap.shape)),), self._dtype)
                for tap in self.tap_variables
            ],
        )

    def _write(self, measured):
        # After the update: XLA would copy every weight that is read and then
        # overwritten in place.
        weights = self._fence([v.value for v in measured.present])
        weight_norms = self._spread(
            _norms.weight_norms(
                weights,
                self._is_detail_step(),
                self._barrier,
            ),
            measured.present,
            measured.no_detail,
        )
        row = [measured.head, measured.norms, weight_norms, measured.zero_shares]
        self._put(keras.ops.concatenate([*row, *measured.taps]))

    def read(self, state: tuple | None = None) -> Rows:
        """Rows written since the last call.

        Args:
            state: `(rows, count)` arrays that replace the variables' own values
                (JAX keeps the current state outside of the variables).
        """
        rows, count = state or (self.rows.value, self.count.value)
        if keras.backend.backend() == "torch":
            count = self._host_count
        count = int(np.array(_to_numpy(count)))
        first = max(self._read, count - self.capacity)
        lost = first - self._read
        number = np.arange(first, count)
        # A copy: the array may share memory with a buffer that the next step reuses.
        table = np.array(_to_numpy(rows), copy=True)[number % self.capacity]
        self._read = count
        n = len(self.variables)
        head, norms, weight_norms, zero_shares, taps = np.split(
            table.astype("float64"), [2, 2 + n, 2 + 2 * n, 2 + 3 * n], axis=1
        )
        return Rows(
            number=number,
            iteration=(head[:, 0] * _ITERATION_BASE + head[:, 1]).astype("int64"),
            norms=norms,
            weight_norms=weight_norms,
            zero_shares=zero_shares,
            taps=taps,
            lost=lost,
        )

    def _is_detail_step(self):
        if keras.backend.backend() == "torch":
            return self._host_count % self.detail_every == 0
        return keras.ops.equal(self.count.value % self.detail_every, 0)

    def _spread(self, values, present, absent=0.0):
        """Values of the present variables in the columns of all, `absent` elsewhere."""
        values = keras.ops.cast(values, self._dtype)
        if len(present) == len(self.variables):
            return values
        parts = dict(zip(map(id, present), range(len(present)), strict=True))
        absent = keras.ops.cast(absent, self._dtype)
        return keras.ops.stack(
            [values[parts[id(v)]] if id(v) in parts else absent for v in self.variables]
        )

    def _fence(self, tensors):
        """Keep XLA from fusing the norms with the update.

        Fused, the update's last bits change (measured: 6e-5 after six Adam steps),
        and recording must not change training.
        """
        if not self._barrier:
            return tensors
        if keras.backend.backend() == "jax":
            import jax

            return jax.lax.optimization_barrier(tensors)
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            # Registered, but left out of `tf.raw_ops`.
            from tensorflow.compiler.tf2xla.ops import gen_xla_ops

            return gen_xla_ops.xla_optimization_barrier(
                [tf.convert_to_tensor(tensor) for tensor in tensors]
            )
        return tensors

    def _sum_replicas(self, gradients):
        """What the optimizer applies under `MirroredStrategy`: the replicas' sum."""
        if self._strategy is None:
            return gradients
        import tensorflow as tf

        context = tf.distribute.get_replica_context()
        return context.all_reduce(
            tf.distribute.ReduceOp.SUM, [tf.convert_to_tensor(g) for g in gradients]
        )

    def _put(self, row):
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


def _torch_eagerly(function):
    import torch

    # A counter on the host would be compiled in as a constant and force a
    # recompilation at every step.
    return torch.no_grad()(torch.compiler.disable(function))


def _to_numpy(value):
    if hasattr(value, "detach"):  # PyTorch, on whichever device
        return value.detach().cpu().numpy()
    if hasattr(value, "numpy"):  # TensorFlow, mirrored variables too
        return value.numpy()
    return np.asarray(value)
