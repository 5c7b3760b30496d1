"""Fixtures of the training tests."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def quick_compilation(backend):
    """Compile fast rather than well: these networks run for a few steps only."""
    if backend != "jax":
        yield
        return
    import jax

    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
