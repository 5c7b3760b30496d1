"""A backend that cannot be loaded gets a sentence on the command line.

`python -m keras_gradattn` imports the package before its first line runs, and the
package imports Keras.
"""

import difflib
import importlib.util
import os
import sys

BACKENDS = ("jax", "tensorflow", "torch")


def check_backend() -> None:
    """End with a sentence and 2 where `python -m` cannot load Keras' backend.

    Everywhere else Keras' own error is right: a program can catch it.
    """
    if sys.argv[:1] != ["-m"]:
        # Python puts this there only while it looks for the command's module.
        return
    name = os.environ.get("KERAS_BACKEND", "")
    if name and name not in BACKENDS:
        near = difflib.get_close_matches(name.lower(), BACKENDS, n=1, cutoff=0.4)
        meant = f" Did you mean {near[0]!r}?" if near else ""
        _end(
            f"KERAS_BACKEND should be {', '.join(BACKENDS[:-1])} or {BACKENDS[-1]}."
            f"{meant} Received: KERAS_BACKEND={name!r}"
        )
    try:
        import keras  # noqa: F401
    except ImportError as error:
        found = [entry for entry in BACKENDS if importlib.util.find_spec(entry)]
        wanted = name or error.name or "Keras"
        extra = wanted if wanted in BACKENDS else "torch"
        reason = str(error).split("\n")[0]
        _end(
            f"The backend {wanted} cannot be loaded ({reason}). Get it with: "
            f"pip install 'keras-gradattn[{extra}]', or set KERAS_BACKEND. "
            f"Received: KERAS_BACKEND={name!r}, installed: {', '.join(found) or 'none'}"
        )


def _end(sentence: str) -> None:
    print(sentence, file=sys.stderr)
    raise SystemExit(2)
