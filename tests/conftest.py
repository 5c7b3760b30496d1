"""One process has one backend: ``KERAS_BACKEND`` chooses it, JAX by default."""

import atexit
import os
import shutil
import tempfile

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "agg")
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    # Compiling takes most of the time, and most programs occur in several tests. The
    # first process of a run makes the folder, and its workers and scripts share it.
    _cache = tempfile.mkdtemp(prefix="compiled-for-tests-")
    atexit.register(shutil.rmtree, _cache, ignore_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _cache
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

import keras
import pytest

from keras_gradattn import config

# Before JAX starts: tests compile in less time and memory so.
config.tune_jax_for_cpu()


def pytest_collection_modifyitems(config, items):
    """Leave out the tests that say nothing about this backend."""
    backend = keras.backend.backend()
    elsewhere = [
        item
        for item in items
        if (marker := item.get_closest_marker("backends"))
        and backend not in marker.args
    ]
    if elsewhere:
        config.hook.pytest_deselected(items=elsewhere)
        items[:] = [item for item in items if item not in elsewhere]


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

    # Older versions keep it among their experiments.
    enable_x64 = getattr(jax, "enable_x64", None) or jax.experimental.enable_x64
    with enable_x64(True):
        yield


def _compile_on_jax(quickly: bool):
    if keras.backend.backend() == "jax":
        import jax

        jax.config.update("jax_disable_most_optimizations", quickly)


@pytest.fixture(scope="session", autouse=True)
def quick_compilation():
    """Let XLA compile fast rather than well: few steps are taken, on small networks.

    What is compiled stays the same program; only its machine code is plainer.
    """
    _compile_on_jax(quickly=True)
    yield
    _compile_on_jax(quickly=False)


@pytest.fixture
def full_compilation(quick_compilation):
    """Let XLA compile as it does for users, for what depends on its optimisations."""
    _compile_on_jax(quickly=False)
    yield
    _compile_on_jax(quickly=True)
