"""One process has one backend: ``KERAS_BACKEND`` chooses it, JAX by default."""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "agg")

import keras
import pytest


@pytest.fixture(scope="session")
def backend() -> str:
    """Name of the backend that this test process runs on."""
    return keras.backend.backend()


@pytest.fixture(autouse=True)
def seeded():
    """Every test starts from the same random state and float32."""
    keras.utils.set_random_seed(0)
    policy = keras.config.dtype_policy()
    floatx = keras.config.floatx()
    yield
    keras.config.set_dtype_policy(policy)
    keras.config.set_floatx(floatx)


@pytest.fixture
def double_precision():
    """Let JAX keep float64 values, which it rounds to float32 otherwise."""
    if keras.backend.backend() != "jax":
        yield
        return
    import jax

    with jax.enable_x64(True):
        yield


@pytest.fixture
def quick_compilation():
    """Let XLA compile fast rather than well, where only the numbers count."""
    if keras.backend.backend() != "jax":
        yield
        return
    import jax

    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
