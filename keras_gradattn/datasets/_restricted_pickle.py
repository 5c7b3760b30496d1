"""Pickled arrays, read without running anything that the file names."""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np

# NumPy has moved its modules; files of every age name one of these.
_NUMPY_CORE = ("numpy.core.", "numpy._core.")
_READ_ERRORS = (
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    MemoryError,
    OverflowError,
    TypeError,
    UnicodeError,
    ValueError,
    pickle.UnpicklingError,
)


def read_pickle(content: bytes, name: str) -> Any:
    """Reads a pickle that holds dictionaries, lists, numbers, text and arrays only.

    Arrays are put together from their bytes here, not by what the file calls. Any
    other object is refused, so that a file from a stranger cannot run code.

    Args:
        content: The pickle, of Python 2 or 3.
        name: What to call the file in a message.

    Returns:
        The object. Bytes that are text (as all text of Python 2) become `str`.

    Raises:
        ValueError: If the pickle names anything else, or is damaged.
    """
    try:
        loaded = _Unpickler(io.BytesIO(content), encoding="bytes").load()
        return _plain(loaded)
    except _READ_ERRORS as error:
        raise ValueError(
            f"{name} cannot be read as pickled arrays: it is damaged or something "
            f"else. Received: {type(error).__name__}: {error}"
        ) from error


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        for core in _NUMPY_CORE:
            module = module.replace(core, "")
        if (module, name) in _STAND_INS:
            return _STAND_INS[module, name]
        raise pickle.UnpicklingError(f"it names {module}.{name}")


class _Type:
    """Stands in for a `numpy.dtype`."""

    def __init__(self, name: Any, *_: Any):
        self.name = _text(name)
        self.order = "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = _text(state[1])


class _Array:
    """Stands in for a `numpy.ndarray`."""

    state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def value(self) -> Any:
        _, shape, kind, fortran_order, content = self.state
        if kind.name == "O8":
            return _object(content, shape)
        dtype = np.dtype(kind.name)
        if dtype.kind not in "biuf":
            raise ValueError(f"an array of {kind.name}")
        if kind.order in "<>":
            dtype = dtype.newbyteorder(kind.order)
        array = np.frombuffer(content, dtype)
        if fortran_order:
            return array.reshape(shape[::-1]).T
        return array.reshape(shape)


def _reconstruct(array: type[Any], *_: Any) -> _Array:
    if array is not _Array:
        raise ValueError("an array of another class")
    return _Array()


def _from_buffer(
    content: Any, kind: _Type, shape: tuple[int, ...], order: str
) -> _Array:
    array = _Array()
    array.state = (1, shape, kind, order == "F", bytes(content))
    return array


def _encode(text: str, _: Any) -> bytes:
    # How Python 3 writes bytes for Python 2.
    return text.encode("latin1")


# What a pickle may name, and what it gets instead.
_STAND_INS: dict[tuple[str, str], Any] = {
    ("multiarray", "_reconstruct"): _reconstruct,
    ("numeric", "_frombuffer"): _from_buffer,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _encode,
}


def _object(content: list[Any], shape: tuple[int, ...]) -> Any:
    # One object in an array without axes: how `numpy.savez` stores a dictionary.
    if shape != () or len(content) != 1:
        raise ValueError(f"an array of objects with shape {shape}")
    return content[0]


def _plain(value: Any) -> Any:
    if isinstance(value, _Array):
        return _plain(value.value())
    if isinstance(value, dict):
        return {_text(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, _Type):
        raise ValueError("a dtype outside an array")
    return _text(value)


def _text(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8")
    return value
