"""Libraries that come with an extra of this package, and are loaded when needed."""

import importlib
from typing import Any

# Module -> its name for pip, and the extra that brings it.
_EXTRAS = {
    "pandas": ("pandas", "tables"),
    "sklearn.metrics": ("scikit-learn", "data"),
}


def optional(module: str, what: str) -> Any:
    """A library, or an error that says how to get it.

    Args:
        module: Key of the table above.
        what: What needs it, the beginning of a sentence, such as `"A DataFrame"`.

    Raises:
        ImportError: If it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name, extra = _EXTRAS[module]
        raise ImportError(
            f"{what} needs {name}. Get it with: pip install 'keras-gradattn[{extra}]'"
        ) from error
