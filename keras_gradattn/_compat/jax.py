"""What JAX and XLA keep to themselves and we need. Seen with JAX 0.4.35 and 0.10.2."""

import functools
import os
import re
import subprocess
import sys
from typing import Any

from keras_gradattn._compat.system import memory_return

_COMPILED = "/jax/core/compile/backend_compile_duration"

# Reads the flags without starting JAX, in a fifth of a second.
_READ_FLAGS = (
    "from jaxlib import xla_client; "
    "xla_client.CompileOptions().executable_build_options.debug_options"
)


def has_started() -> bool:
    """Whether JAX has started its devices, which is when XLA reads its options.

    Asking JAX for its devices would start them. Absent: whether JAX is imported.
    """
    if "jax" not in sys.modules:
        return False
    try:
        from jax._src import xla_bridge

        return bool(xla_bridge.backends_are_initialized())
    except (ImportError, AttributeError):
        return True


@functools.cache
def refused_options(options: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """Which options of XLA this jaxlib does not take.

    XLA ends the process over one that it does not know, so child processes try.
    Absent: each option is refused, with the reason.

    Args:
        options: Names and values.

    Returns:
        A reason for each that is refused.
    """
    if _problem(options) is None:
        return {}
    problems = {option[0]: _problem((option,)) for option in options}
    return {name: problem for name, problem in problems.items() if problem}


def _problem(options: tuple[tuple[str, str], ...]) -> str | None:
    flags = " ".join(f"--{name}={value}" for name, value in options)
    try:
        tried = subprocess.run(
            [sys.executable, "-c", _READ_FLAGS],
            env=os.environ | {"XLA_FLAGS": flags},
            capture_output=True,
            text=True,
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"it could not be tried ({error})"
    if tried.returncode == 0:
        return None
    said = re.search(r"(Unknown flag|Failed to parse|Couldn't).*", tried.stderr)
    lines = tried.stderr.strip().splitlines() or ["the process ended without a word"]
    return said.group().strip() if said else lines[-1]


@functools.cache
def return_compiler_memory() -> bool:
    """Have every compilation give what it freed back to the system.

    Compiling a training step leaves some 300 MiB that are free but still the process's,
    in pieces too small for the step's maps: what the step takes comes on top. JAX' list
    of listeners is public; the event's name is not documented. Absent: memory stays.
    Registers once.

    Returns:
        Whether memory will be returned; `False` without glibc.
    """
    trim = memory_return()
    if trim is None:
        return False
    import jax

    def returned(event: str, duration_secs: float, **_: object) -> None:
        # Small programs leave next to nothing, and trimming takes milliseconds.
        if event == _COMPILED and duration_secs > 0.1:
            trim()

    jax.monitoring.register_event_duration_secs_listener(returned)
    return True


def reached(gradient: Any, values: list[Any], *arguments: Any) -> list[bool]:
    """Which of the values a gradient function has anything to say about.

    JAX fills in zeros where nothing arrives. In the traced program such zeros are a
    constant, spread over the shape, and everything else is computed. What a program
    looks like is not promised: whatever is not such a constant counts as reached.

    Args:
        gradient: From values and arguments to one gradient a value.
        values: What is differentiated by.
        *arguments: The other arguments.
    """
    import jax

    traced = jax.make_jaxpr(gradient)(values, *arguments).jaxpr
    makers = {id(out): eqn for eqn in traced.eqns for out in eqn.outvars}

    def constant(variable: Any) -> bool:
        if hasattr(variable, "val"):
            return True
        maker = makers.get(id(variable))
        if maker is None or maker.primitive.name not in _SPREADING:
            return False
        return all(constant(one) for one in maker.invars)

    return [not constant(one) for one in traced.outvars]


# What a constant zero goes through on its way to a gradient's shape and type.
_SPREADING = ("broadcast_in_dim", "convert_element_type", "reshape")
