"""The name of a run's files, which says what the run is."""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Any

# Parts that stand in places of their own, or that a part of the name spells out.
_PLACED = (
    *("dataset", "model", "recipe", "seed", "model_options"),
    *("content", "architecture"),
)
# What the command line calls the arguments of a run.
_SHORTER = {"max_epochs": "epochs", "max_steps": "steps"}
# Paths stay below the 260 characters that Windows takes without being asked.
_LONGEST = 100
_SAFE_WORD = re.compile(r"[a-z][a-z0-9_]*")
# Words that stand for other values, or that Windows keeps for devices.
_TAKEN = re.compile(r"none|true|false|empty|custom|con|prn|aux|nul|(com|lpt)[0-9]")


def run_name(configuration: Mapping[str, Any]) -> str:
    """Name a run by data set, network, protocol and seed.

    Four parts, the folders and the file of a result:

        <data set>/<model>[,<option>=<value>...]/<recipe>[,<change>...]/seed<seed>

    Two configurations have one name only if they are equal but for the fields of
    recipes of one name: a recipe of one's own needs a name of its own, and what
    `Recipe.with_changes` sets stands in the name. Names have lower-case letters,
    digits and `_ - . , = ~` only, so that they differ on every file system and need
    no quotes. A part that would be longer than 100 characters, or has a value
    that cannot be written so, ends in `~` and eight digits of its SHA-256.

    Args:
        configuration: A result's `"configuration"`: `dataset`, `model`, `recipe` (with
            `name` and, where fields were set otherwise, `changes`), `seed`, and where
            they differ from `None` or nothing `model_options`, `max_epochs`,
            `max_steps`, `limit`, `devices`, `engine` or whatever else it names.
            Fingerprints of data and a network of one's own, `content` and
            `architecture`, stand beside the names that they tell apart.

    Returns:
        A relative path with forward slashes, without an ending.

    Example:

    >>> from keras_gradattn.training.run_name import run_name
    >>> run_name({
    ...     "dataset": "fashion_mnist", "model": "gradattn_pathways", "seed": 42,
    ...     "recipe": {"name": "modern", "changes": {"stem": "imagenet"}},
    ...     "max_epochs": 10, "model_options": {"mixing": "equal"},
    ... })
    'fashion_mnist/gradattn_pathways,mixing=equal/modern,stem=imagenet,epochs=10/seed42'
    """
    recipe = configuration["recipe"]
    asked = {
        _SHORTER.get(name, name): value
        for name, value in configuration.items()
        if name not in _PLACED and value is not None
    }
    return "/".join(
        [
            _part(configuration["dataset"], _given(configuration, "content")),
            _part(
                configuration["model"],
                configuration.get("model_options") or {},
                _given(configuration, "architecture"),
            ),
            _part(recipe["name"], recipe.get("changes") or {}, asked),
            _part(f"seed{configuration['seed']}", {}),
        ]
    )


def _given(configuration: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = configuration.get(name)
    return {} if value is None else {name: value}


def _part(title: str, *settings: Mapping[str, Any]) -> str:
    """`title,name=value,...`, with a hash where that does not say all."""
    words = [_word(title)]
    # In the alphabet's order: the order of asking is no difference.
    words += [
        (f"{name}={value}", exact_name and exact_value)
        for group in settings
        for key in sorted(group)
        for name, exact_name in [_word(key)]
        for value, exact_value in [_text(group[key])]
    ]
    text = ",".join(word for word, _ in words)
    if len(text) <= _LONGEST and all(exact for _, exact in words):
        return text
    whole = json.dumps([title, *map(_plain, settings)], sort_keys=True)
    digits = hashlib.sha256(whole.encode()).hexdigest()[:8]
    room = _LONGEST - len(digits) - 1
    if len(text) > room:
        # Up to a whole setting, where one fits.
        text = text[: text.rfind(",", 0, room + 1)] if "," in text[:room] else text
    return f"{text[:room].rstrip('-.,=')}~{digits}"


def _word(text: str) -> tuple[str, bool]:
    """A word that every file system takes, and whether no other gives the same."""
    if _SAFE_WORD.fullmatch(text) and not _TAKEN.fullmatch(text):
        return text, True
    return re.sub(r"[^a-z0-9_]+", "-", text.lower()).strip("-") or "custom", False


def _text(value: Any) -> tuple[str, bool]:
    """A value as a name has it, and whether no other value is written the same."""
    value = _plain(value)
    if value is None or isinstance(value, bool):
        return str(value).lower(), True
    if isinstance(value, int | float):
        return str(value), math.isfinite(value)
    if isinstance(value, str):
        return _word(value)
    if not value:
        return "empty", isinstance(value, list)
    if isinstance(value, list) and len(value) > 1 and all(map(_is_count, value)):
        return "-".join(map(str, value)), True
    return "custom", False


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _plain(value: Any) -> Any:
    """The value as JSON gives it back, whole numbers without a point."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
