"""What XLA says about options, and what its compiler gives back."""

import os

import pytest

from keras_gradattn._compat import jax as jax_compat

pytestmark = pytest.mark.backends("jax")


def test_options_are_tried_in_a_process_of_their_own(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "")
    options = (("xla_no_such_option", "1"), ("xla_cpu_enable_fast_math", "false"))

    refused = jax_compat.refused_options(options)

    assert list(refused) == ["xla_no_such_option"]
    assert "Unknown flag" in refused["xla_no_such_option"]
    assert os.environ["XLA_FLAGS"] == ""


def test_an_option_that_cannot_be_tried_is_refused(monkeypatch):
    monkeypatch.setattr(jax_compat.sys, "executable", "/no/such/python")

    refused = jax_compat.refused_options((("xla_cpu_another_option", "1"),))

    assert "could not be tried" in refused["xla_cpu_another_option"]


def test_jax_has_started_once_it_computed():
    import jax

    jax.numpy.zeros(1).block_until_ready()

    assert jax_compat.has_started()


def test_long_compilations_return_their_memory(monkeypatch):
    import jax

    trimmed = []
    monkeypatch.setattr(
        jax_compat, "memory_return", lambda: lambda: trimmed.append(True)
    )
    # Past the cache, which keeps a second call from registering again.
    assert jax_compat.return_compiler_memory.__wrapped__()
    seen = []
    listen = jax.monitoring.register_event_duration_secs_listener
    listen(lambda event, duration, **_: seen.append(event))
    jax.jit(lambda x: x * 3 + 1)(2.0)
    # JAX still calls it so.
    assert jax_compat._COMPILED in seen

    trimmed.clear()
    for event, seconds in ((jax_compat._COMPILED, 0.01), ("/another/event", 5.0)):
        jax.monitoring.record_event_duration_secs(event, seconds)
    assert trimmed == []
    jax.monitoring.record_event_duration_secs(jax_compat._COMPILED, 5.0)
    assert trimmed == [True]


def test_nothing_is_registered_without_glibc(monkeypatch):
    monkeypatch.setattr(jax_compat, "memory_return", lambda: None)

    assert not jax_compat.return_compiler_memory.__wrapped__()
