"""What XLA is told, and what it gives back."""

import os

import keras
import pytest

from keras_gradattn._compat import xla_memory
from keras_gradattn._compat.xla_options import choose_xla_options

ON_JAX = keras.backend.backend() == "jax"
CHOSEN = (
    "--xla_cpu_experimental_ynn_fusion_type=-individual_convolution "
    "--xla_cpu_use_fusion_emitters=false"
)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", CHOSEN),
        ("--xla_dump_to=d", f"--xla_dump_to=d {CHOSEN}"),
        (CHOSEN, CHOSEN),
        (
            "--xla_cpu_use_fusion_emitters=true",
            f"--xla_cpu_use_fusion_emitters=true {CHOSEN.split()[0]}",
        ),
    ],
)
def test_options_are_added_to_what_is_there(before, after, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", before)

    choose_xla_options()

    assert os.environ["XLA_FLAGS"] == (after if ON_JAX else before)


def test_options_are_not_given_to_another_xla(monkeypatch):
    jaxlib = pytest.importorskip("jaxlib")
    monkeypatch.setattr(jaxlib, "__version__", "0.99.0")
    monkeypatch.setenv("XLA_FLAGS", "")

    choose_xla_options()

    assert os.environ["XLA_FLAGS"] == ""


def test_long_compilations_return_their_memory(monkeypatch):
    trimmed = []
    monkeypatch.setattr(xla_memory, "_glibc_trim", lambda: trimmed.append)

    # Past the cache, which keeps a second network from registering again.
    xla_memory.return_compiler_memory.__wrapped__()

    if ON_JAX:
        import jax

        seen = []
        listen = jax.monitoring.register_event_duration_secs_listener
        listen(lambda event, duration, **_: seen.append(event))
        jax.jit(lambda x: x * 3 + 1)(2.0)
        # JAX still calls it so.
        assert xla_memory._COMPILED in seen
        trimmed.clear()
        for event, seconds in ((xla_memory._COMPILED, 0.01), ("/another/event", 5.0)):
            jax.monitoring.record_event_duration_secs(event, seconds)
        assert trimmed == []
        jax.monitoring.record_event_duration_secs(xla_memory._COMPILED, 5.0)
    assert trimmed == ([0] if ON_JAX else [])


def test_networks_without_glibc(monkeypatch):
    def no_such_library(name):
        raise OSError(name)

    monkeypatch.setattr(xla_memory.ctypes, "CDLL", no_such_library)
    assert xla_memory._glibc_trim() is None
    xla_memory.return_compiler_memory.__wrapped__()
