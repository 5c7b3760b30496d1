"""TensorFlow's barrier for XLA, and what is said where there is none."""

import sys

import numpy as np
import pytest

from keras_gradattn._compat import tensorflow as tensorflow_compat

pytestmark = pytest.mark.backends("tensorflow")


def test_a_barrier_changes_no_value():
    import tensorflow as tf

    values = [np.arange(3.0), np.float32(2)]

    @tf.function(jit_compile=True)
    def fenced():
        return tensorflow_compat.optimization_barrier(values)

    for found, value in zip(fenced(), values, strict=True):
        np.testing.assert_array_equal(found, value)


def test_a_missing_barrier_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow.compiler.tf2xla.ops", None)

    with pytest.warns(RuntimeWarning, match="last bits"):
        found = tensorflow_compat.optimization_barrier([1.0])

    assert [float(value) for value in found] == [1.0]


def test_a_batch_is_described():
    import tensorflow as tf

    data = tf.data.Dataset.from_tensors((np.zeros((3, 2), "float32"), np.arange(3)))

    x, y = tensorflow_compat.described_batch(iter(data.batch(4)))

    assert (x.shape, x.dtype) == ((None, 3, 2), "float32")
    assert (y.shape, y.dtype) == ((None, 3), "int64")


def test_what_cannot_be_described_is_nothing():
    import tensorflow as tf

    ragged = tf.data.Dataset.from_tensors(tf.ragged.constant([[1], [2, 3]]))

    assert tensorflow_compat.described_batch(iter(ragged)) is None
    assert tensorflow_compat.described_batch(iter([])) is None
