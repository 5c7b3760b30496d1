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
