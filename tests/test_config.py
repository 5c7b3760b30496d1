"""Switches: what each one changes, and what it says where it cannot."""

import os

import keras
import numpy as np
import pytest

from keras_gradattn import config, layers

ON_JAX = keras.backend.backend() == "jax"
CHOSEN = (
    "--xla_cpu_experimental_ynn_fusion_type=-individual_convolution "
    "--xla_cpu_use_fusion_emitters=false"
)


@pytest.fixture
def unstarted_jax(monkeypatch):
    """A process whose JAX has not started, with an XLA that takes every option."""
    from keras_gradattn._compat import jax as jax_compat

    monkeypatch.setattr(jax_compat, "has_started", lambda: False)
    monkeypatch.setattr(jax_compat, "refused_options", lambda options: {})
    monkeypatch.setattr(jax_compat, "return_compiler_memory", lambda: True)
    monkeypatch.setattr(config, "_added", None)
    monkeypatch.setenv("XLA_FLAGS", "")
    return monkeypatch


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
def test_options_are_added_to_what_is_there(before, after, unstarted_jax):
    unstarted_jax.setenv("XLA_FLAGS", before)

    added = config.tune_jax_for_cpu()

    assert os.environ["XLA_FLAGS"] == (after if ON_JAX else before)
    assert all(f"--{o}={v}" in after for o, v in added.items())
    assert bool(added) == (ON_JAX and before != CHOSEN)


@pytest.mark.backends("jax")
def test_a_second_call_adds_nothing(unstarted_jax):
    first = config.tune_jax_for_cpu()
    unstarted_jax.setattr(config.jax_compat, "has_started", lambda: True)

    assert config.tune_jax_for_cpu() == first
    assert os.environ["XLA_FLAGS"] == CHOSEN


@pytest.mark.backends("jax")
def test_an_option_that_xla_does_not_take_is_left_out_and_told(unstarted_jax):
    refused = {"xla_cpu_use_fusion_emitters": "Unknown flag"}
    unstarted_jax.setattr(config.jax_compat, "refused_options", lambda o: refused)

    with pytest.warns(RuntimeWarning, match=r"fusion_emitters.*Unknown flag"):
        added = config.tune_jax_for_cpu()

    assert os.environ["XLA_FLAGS"] == CHOSEN.split()[0]
    assert list(added) == ["xla_cpu_experimental_ynn_fusion_type"]


@pytest.mark.backends("jax")
def test_options_that_come_too_late_are_not_set_and_told(unstarted_jax):
    unstarted_jax.setattr(config.jax_compat, "has_started", lambda: True)

    with pytest.warns(RuntimeWarning, match="right after the imports"):
        assert config.tune_jax_for_cpu() == {}

    assert os.environ["XLA_FLAGS"] == ""


def test_convolution_forces_a_form():
    # Off the small maps nobody takes taps, and off the backend's own they are slower.
    images = np.ones((1, 2, 2, 3), "float32")
    layer = layers.SymmetricConv2D(4, 3)
    layer.build(images.shape)

    def takes_taps():
        return layer._multiplies_taps(keras.ops.convert_to_tensor(images), 20, 20)

    assert not takes_taps()
    config.convolution("taps")
    try:
        assert takes_taps()
        config.convolution("backend")
        assert not takes_taps()
    finally:
        config.convolution("auto")


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="Received: form='fast'"):
        config.convolution("fast")
    with pytest.raises(ValueError, match="Received: name='adamw'"):
        config.kernel("adamw", False)


@pytest.mark.parametrize("name", config.KERNELS)
def test_kernels_are_used_until_they_are_switched_off(name):
    assert config.uses_kernel(name)
    config.kernel(name, False)
    try:
        assert not config.uses_kernel(name)
        others = set(config.KERNELS) - {name}
        assert all(config.uses_kernel(other) for other in others)
    finally:
        config.kernel(name, True)
    assert config.uses_kernel(name)


@pytest.mark.backends("tensorflow")
def test_tensorflow_keeps_its_accelerators_where_it_computes(monkeypatch):
    monkeypatch.setattr(config.tensorflow_compat, "hide_accelerators", None)

    config.keep_tensorflow_off_accelerators()


@pytest.mark.backends("jax", "torch")
def test_a_started_tensorflow_keeps_its_accelerators_and_says_so(monkeypatch):
    monkeypatch.setattr(config.tensorflow_compat, "hide_accelerators", lambda: False)

    with pytest.warns(RuntimeWarning, match="right after the imports"):
        config.keep_tensorflow_off_accelerators()
