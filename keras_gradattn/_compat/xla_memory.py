"""Memory that XLA's compiler is done with."""

import ctypes
import functools

import keras

_COMPILED = "/jax/core/compile/backend_compile_duration"


@functools.cache
def return_compiler_memory() -> None:
    """Have every compilation on JAX give what it freed back to the system.

    Compiling a training step leaves some 300 MiB that are free but still the process's,
    in pieces too small for the step's maps: what the step takes comes on top. Does
    nothing on other backends and where the C library is not glibc. Registers once.
    """
    if keras.backend.backend() != "jax":
        return
    trim = _glibc_trim()
    if trim is None:
        return
    import jax

    def returned(event, duration, **_):
        # Small programs leave next to nothing, and trimming takes milliseconds.
        if event == _COMPILED and duration > 0.1:
            trim(0)

    jax.monitoring.register_event_duration_secs_listener(returned)


def _glibc_trim():
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        # Another C library; on Windows there is no such handle at all.
        return None
