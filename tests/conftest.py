"""One process has one backend: ``KERAS_BACKEND`` chooses it, JAX by default."""

import atexit
import functools
import gc
import os
import shutil
import tempfile

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "agg")
# Two workers share the cores: a thread that spins while it waits keeps the other out.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Compile fast rather than well, here and in child processes: few steps are taken, on
# small networks. What is compiled stays the same program; its machine code is plainer.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "true")
if os.environ["KERAS_BACKEND"] == "tensorflow":
    os.environ["XLA_FLAGS"] = (
        os.environ.get("XLA_FLAGS", "")
        + " --xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    )
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    # Compiling takes most of the time, and most programs occur in several tests. The
    # first process of a run makes the folder, and its workers and scripts share it.
    _cache = tempfile.mkdtemp(prefix="compiled-for-tests-")
    atexit.register(shutil.rmtree, _cache, ignore_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _cache
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

if (
    "PYTEST_XDIST_WORKER" in os.environ
    and hasattr(os, "sched_setaffinity")
    # With one thread, oneDNN corrupts PyTorch's memory in narrow convolutions.
    and os.environ["KERAS_BACKEND"] != "torch"
):
    # Threads of two workers on the same cores would wait for each other.
    _worker = int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw"))
    _cores = sorted(os.sched_getaffinity(0))
    if _own := _cores[_worker :: int(os.environ["PYTEST_XDIST_WORKER_COUNT"])]:
        os.sched_setaffinity(0, _own)
        os.environ.setdefault("OMP_NUM_THREADS", str(len(_own)))

import keras
import pytest

from benchmarks.harness.usage import resident_bytes
from keras_gradattn import config
from keras_gradattn._compat import keras as keras_compat
from keras_gradattn._compat import tensorflow as tensorflow_compat
from keras_gradattn._compat.system import memory_return

# Before JAX starts: tests compile in less time and memory so.
config.tune_jax_for_cpu()

if keras.backend.backend() == "tensorflow":
    make_plain_function = keras.Model.make_train_function

    @functools.wraps(make_plain_function)
    def make_train_function(model, force=False):
        """Have the first step traced once: Keras' own trace makes variables and goes.

        Tracing takes most of the time on this backend. The step stays the same.
        """
        before = model.train_function
        make_plain_function(model, force)
        step = model.train_function
        if step is before or model.run_eagerly:
            return

        @functools.wraps(step)
        def prepared(iterator):
            if model.built and not model.optimizer.built:
                batch = tensorflow_compat.described_batch(iterator)
                if batch is not None:
                    keras_compat.make_training_state(model, batch)
            return step(iterator)

        model.train_function = prepared

    keras.Model.make_train_function = make_train_function

# In bytes: two workers shall do with 6 GB.
MUCH_MEMORY = 2e9
GROWTH = 0.5e9
_limit = {"bytes": MUCH_MEMORY}


def pytest_collection_modifyitems(config, items):
    """Leave out the tests that say nothing about this backend or this Keras."""
    elsewhere = [item for item in items if not _applies(item)]
    if elsewhere:
        config.hook.pytest_deselected(items=elsewhere)
        items[:] = [item for item in items if item not in elsewhere]


def _applies(item):
    backends = item.get_closest_marker("backends")
    since = item.get_closest_marker("keras_since")
    return (not backends or keras.backend.backend() in backends.args) and (
        not since or _release(keras.__version__) >= _release(*since.args)
    )


def _release(version):
    return tuple(map(int, version.split(".")[:2]))


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


@pytest.fixture(scope="module", autouse=True)
def bounded_memory():
    """Let a worker that has grown forget the programs and models of past tests."""
    yield
    held = resident_bytes()
    # Where the system does not say how much it is, nothing is given back.
    if held is None or held < _limit["bytes"]:
        return
    keras.backend.clear_session()
    gc.collect()
    if keras.backend.backend() == "jax":
        import jax

        jax.clear_caches()
    if give_back := memory_return():
        give_back()
    # What stays cannot be given back, so it is not asked for again each time.
    _limit["bytes"] = max(MUCH_MEMORY, (resident_bytes() or 0) + GROWTH)


@pytest.fixture
def double_precision():
    """Let JAX keep float64 values, which it rounds to float32 otherwise."""
    if keras.backend.backend() != "jax":
        yield
        return
    import jax

    # Older versions keep it among their experiments.
    home = jax if hasattr(jax, "enable_x64") else jax.experimental
    with home.enable_x64(True):
        yield


@pytest.fixture
def without_traces():
    """Let TensorFlow take few steps operation by operation: a trace takes seconds.

    For tests of what happens around the steps. That compiled steps compute the same is
    tested by networks, recorder and runner each.
    """
    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def _compile_on_jax(quickly: bool):
    if keras.backend.backend() == "jax":
        import jax

        jax.config.update("jax_disable_most_optimizations", quickly)


@pytest.fixture
def full_compilation():
    """Let JAX compile as it does for users, for what depends on its optimisations."""
    _compile_on_jax(quickly=False)
    yield
    _compile_on_jax(quickly=True)
