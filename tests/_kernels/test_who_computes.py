"""A switch decides who computes."""

import keras
import numpy as np
import pytest

from keras_gradattn import layers
from keras_gradattn._kernels import adam as adam_kernels
from keras_gradattn.layers import (
    batch_normalization,
    symmetric_conv2d,
    symmetric_max_pooling2d,
)
from keras_gradattn.training.coupled_adam import CoupledAdam
from tests._kernels.switched import convolving, without

MAPS = np.random.default_rng(0).normal(size=(2, 6, 6, 4)).astype("float32")


def normalize():
    layers.BatchNormalization()(MAPS, training=True)


def convolve():
    layers.SymmetricConv2D(3, 3)(MAPS)


def pool():
    layers.SymmetricMaxPooling2D()(MAPS)


def step():
    weight = keras.Variable(np.ones((2, 2), "float32"))
    optimizer = CoupledAdam()
    optimizer.build([weight])
    optimizer.apply([keras.ops.ones((2, 2))], [weight])


# Switch, and the name by which a run finds the kernel.
KERNELS = [
    ("batch_normalization", batch_normalization, "normalize_on_torch", normalize),
    ("adam", adam_kernels, "step_on_torch", step),
    ("memory_layout", symmetric_conv2d, "convolve_on_torch", convolve),
    ("memory_layout", symmetric_max_pooling2d, "max_pool_on_torch", pool),
]


def counted(monkeypatch, module, name):
    """Calls of a function from now on, which still does what it did."""
    calls = []
    original = getattr(module, name)

    def count(*args, **kwargs):
        calls.append(name)
        return original(*args, **kwargs)

    monkeypatch.setattr(module, name, count)
    return calls


# The others have none beside the convolution by taps.
@pytest.mark.backends("torch")
@pytest.mark.parametrize(("kernel", "module", "name", "run"), KERNELS)
def test_a_kernel_computes_unless_it_is_switched_off(
    monkeypatch, kernel, module, name, run
):
    calls = counted(monkeypatch, module, name)

    run()
    with_kernel = len(calls)
    with without(kernel):
        run()

    assert with_kernel > 0
    assert len(calls) == with_kernel


def test_taps_are_multiplied_where_they_are_chosen(monkeypatch):
    calls = counted(monkeypatch, symmetric_conv2d, "convolve_taps")

    with convolving("backend"):
        convolve()
    assert not calls
    with convolving("taps"):
        convolve()
    assert len(calls) == 1
