"""The healthy programs: a table, one line each.

A line has a family, a source, and what differs from the defaults of `Data`, `Network`
and `Training`. A program's name is made from those, so that the same line keeps its
name and with it its half.
"""

import dataclasses
from typing import Any

from studies.diagnosis.programs.program import Data, Network, Program, Training

_PARTS = {"data": Data, "network": Network, "training": Training}
_FIELDS = {
    field.name: part
    for part, table in _PARTS.items()
    for field in dataclasses.fields(table)
}


def program(family: str, source: str, floor: float | None = None, **values: Any) -> Any:
    """A program from what differs from the defaults.

    Args:
        family: Where it counts.
        source: A name in `SOURCES`.
        floor: The least metric of health, if not the source's.
        values: Fields of `Data`, `Network` and `Training` by their names.
    """
    parts: dict[str, dict[str, Any]] = {part: {} for part in _PARTS}
    parts["data"]["source"] = source
    for name, value in values.items():
        parts[_FIELDS[name]][name] = value
    said = [f"{name}={_short(value)}" for name, value in sorted(values.items())]
    name = ",".join([source, *said])
    tables = {part: table(**parts[part]) for part, table in _PARTS.items()}
    return Program(name, family, floor=floor, base=name, **tables)


def _short(value: Any) -> str:
    if isinstance(value, tuple):
        return "+".join(f"{key}:{part}" for key, part in value)
    return str(value)


_SGD: dict[str, Any] = {"optimizer": "sgd", "learning_rate": 0.1}
_MOMENTUM: dict[str, Any] = {
    "optimizer": "sgd",
    "learning_rate": 0.03,
    "options": (("momentum", 0.9),),
}
_RMSPROP: dict[str, Any] = {"optimizer": "rmsprop", "learning_rate": 0.003}
_ADAMW: dict[str, Any] = {
    "optimizer": "adamw",
    "learning_rate": 0.005,
    "options": (("weight_decay", 0.004),),
}
_CLIPPED: dict[str, Any] = {"options": (("clipnorm", 1.0),)}

_TABLES = [
    ("tables", "blobs", {}),
    ("tables", "blobs", _SGD),
    ("tables", "blobs", _MOMENTUM),
    ("tables", "blobs", _RMSPROP),
    ("tables", "blobs", _ADAMW),
    ("tables", "blobs", {"optimizer": "nadam", "learning_rate": 0.003}),
    ("tables", "blobs", {"optimizer": "adagrad", "learning_rate": 0.05}),
    ("tables", "blobs", {"optimizer": "lion", "learning_rate": 0.001}),
    ("tables", "blobs", {"kind": "sequential", "activation": "tanh"}),
    ("tables", "blobs", {"depth": 0}),
    ("tables", "blobs", {"depth": 1, "output": None}),
    ("tables", "blobs", {"batch_size": 8, "epochs": 5, "learning_rate": 0.002}),
    ("tables", "blobs", {"batch_size": 256, "epochs": 60, "learning_rate": 0.02}),
    ("tables", "blobs", {"depth": 4, "norm": "batch"}),
    ("tables", "blobs", {"kind": "residual", "depth": 3}),
    ("tables", "moons", {"learning_rate": 0.01, "epochs": 20}),
    ("tables", "moons", {**_MOMENTUM, "epochs": 26, "learning_rate": 0.1}),
    ("tables", "moons", {"activation": "tanh", "learning_rate": 0.02, "epochs": 20}),
    ("tables", "moons", {"activation": "gelu", "epochs": 26, "width": 32}),
    ("tables", "moons", {"kind": "sequential", "width": 32, "epochs": 26}),
    ("tables", "moons", {"norm": "batch", "epochs": 25, "width": 24}),
    ("tables", "circles", {"epochs": 20, "width": 32}),
    ("tables", "circles", {"epochs": 20, "width": 32, "activation": "selu"}),
    ("tables", "circles", {"epochs": 25, "width": 24, "norm": "layer", "depth": 3}),
    ("tables", "circles", {"epochs": 25, "width": 24, "norm": "batch", "depth": 3}),
    ("tables", "circles", {"epochs": 20, "kind": "subclassed", "width": 32}),
    ("tables", "circles", {"epochs": 20, "kind": "residual", "width": 16}),
    ("tables", "circles", {"epochs": 20, "width": 32, "output": None, "depth": 3}),
    ("tables", "circles", {"epochs": 26, "width": 32, **_MOMENTUM}),
    ("tables", "circles", {"epochs": 26, "width": 32, "learning_rate": "cosine"}),
    ("tables", "checkers", {"epochs": 20, "width": 32}),
    ("tables", "checkers", {"epochs": 20, "width": 32, "activation": "elu"}),
    ("tables", "checkers", {"epochs": 20, "width": 48, "dropout": 0.1}),
    ("tables", "checkers", {"epochs": 20, "width": 32, "learning_rate": "warm_up"}),
    ("tables", "checkers", {"epochs": 20, "kind": "subclassed", "width": 32}),
    ("tables", "digits", {"rows": 400, "width": 32}),
    ("tables", "digits", {"rows": 400, "width": 32, **_SGD}),
    ("tables", "digits", {"rows": 400, "width": 48, "dropout": 0.3, "epochs": 20}),
    ("tables", "digits", {"rows": 400, "width": 32, "norm": "batch", "depth": 3}),
    ("tables", "digits", {"rows": 400, "width": 32, "l2": 1e-4}),
    ("tables", "digits", {"rows": 400, "width": 32, "activation": "sigmoid"}),
    ("tables", "digits", {"rows": 400, "kind": "sequential", "width": 64, "depth": 1}),
    ("tables", "digits", {"rows": 400, "width": 32, "depth": 5}),
    ("tables", "digits", {"rows": 400, "width": 32, **_CLIPPED}),
    ("tables", "wine", {"epochs": 26}),
    ("tables", "wine", {"epochs": 26, "kind": "sequential", "activation": "tanh"}),
    ("tables", "cancer", {"rows": 280, "epochs": 20}),
    ("tables", "cancer", {"rows": 280, "epochs": 20, "width": 32, "dropout": 0.3}),
    ("tables", "cancer", {"rows": 280, "epochs": 20, "depth": 1, **_MOMENTUM}),
    ("tables", "cancer", {"rows": 280, "epochs": 15, "kind": "sequential", **_RMSPROP}),
]

_NUMBERS = [
    ("regression", "friedman", {"epochs": 20, "width": 32}),
    ("regression", "friedman", {"epochs": 20, "width": 32, "activation": "tanh"}),
    ("regression", "friedman", {"epochs": 20, "width": 32, "loss": "huber"}),
    ("regression", "friedman", {"epochs": 20, "width": 32, "loss": "mae"}),
    ("regression", "friedman", {"epochs": 26, "width": 32, **_MOMENTUM}),
    ("regression", "friedman", {"epochs": 20, "kind": "residual", "width": 24}),
    ("regression", "friedman", {"epochs": 20, "kind": "sequential", "width": 48}),
    ("regression", "friedman", {"epochs": 20, "width": 32, "norm": "layer"}),
    ("regression", "friedman", {"epochs": 20, "width": 32, "learning_rate": "cosine"}),
    ("regression", "friedman", {"epochs": 20, "width": 32, **_ADAMW}),
    ("regression", "sine", {"epochs": 26, "width": 32, "learning_rate": 0.01}),
    (
        "regression",
        "sine",
        {"epochs": 45, "width": 32, "activation": "tanh", "learning_rate": 0.02},
    ),
    ("regression", "sine", {"epochs": 26, "width": 32, "depth": 3}),
    ("regression", "sine", {"epochs": 26, "width": 32, "activation": "swish"}),
    ("regression", "plane", {}),
    ("regression", "plane", {"depth": 0, "learning_rate": 0.02}),
    ("regression", "plane", {"depth": 1, **_SGD}),
    ("regression", "plane", {"kind": "subclassed", "width": 24}),
    ("regression", "plane", {"kind": "sequential", **_RMSPROP}),
    ("regression", "diabetes", {"rows": 220, "epochs": 20, "depth": 1}),
    ("regression", "diabetes", {"rows": 220, "epochs": 20, "depth": 1, "l2": 0.01}),
]

_IMAGES = [
    ("images", "digit_images", {"kind": "flattened", "rows": 400, "width": 8}),
    ("images", "digit_images", {"kind": "flattened", "rows": 400, "width": 8, **_SGD}),
    (
        "images",
        "digit_images",
        {"kind": "flattened", "rows": 400, "width": 8, "norm": "batch"},
    ),
    (
        "images",
        "digit_images",
        {"kind": "flattened", "rows": 400, "width": 8, "dropout": 0.2, "epochs": 20},
    ),
    (
        "images",
        "digit_images",
        {"kind": "convolutions", "rows": 400, "width": 12, "depth": 3, "epochs": 20},
    ),
    (
        "images",
        "digit_images",
        {"kind": "residual_convolutions", "rows": 400, "width": 12, "epochs": 20},
    ),
    ("images", "bars", {"kind": "convolutions", "width": 8}),
    ("images", "bars", {"kind": "convolutions", "width": 8, "norm": "batch"}),
    ("images", "bars", {"kind": "convolutions", "width": 8, **_RMSPROP}),
    ("images", "bars", {"kind": "convolutions", "width": 8, "activation": "elu"}),
    ("images", "bars", {"kind": "convolutions", "width": 8, "depth": 4}),
    ("images", "bars", {"kind": "flattened", "width": 8, "epochs": 20}),
    ("images", "bars", {"kind": "residual_convolutions", "width": 8}),
    ("images", "bars", {"kind": "separable", "width": 12, "epochs": 20}),
    ("images", "patches", {"kind": "convolutions", "width": 8}),
    ("images", "patches", {"kind": "convolutions", "width": 8, **_MOMENTUM}),
    ("images", "patches", {"kind": "convolutions", "width": 8, "output": None}),
    ("images", "patches", {"kind": "flattened", "width": 8, "epochs": 20}),
    (
        "images",
        "patches",
        {"kind": "residual_convolutions", "width": 8, "norm": "batch", "depth": 3},
    ),
    ("images", "patches", {"kind": "separable", "width": 12, "norm": "batch"}),
]

_SEQUENCES = [
    ("sequences", "sign_of_sum", {"kind": "simple_rnn", "depth": 1}),
    ("sequences", "sign_of_sum", {"kind": "gru", "depth": 1, "epochs": 10}),
    ("sequences", "sign_of_sum", {"kind": "lstm", "depth": 1, "epochs": 10}),
    ("sequences", "sign_of_sum", {"kind": "time_convolutions"}),
    ("sequences", "waves", {"kind": "gru", "depth": 1, "epochs": 12}),
    ("sequences", "waves", {"kind": "lstm", "depth": 1, "epochs": 12}),
    ("sequences", "waves", {"kind": "bidirectional", "width": 8, "epochs": 10}),
    ("sequences", "waves", {"kind": "time_convolutions", "epochs": 12}),
    ("sequences", "waves", {"kind": "time_convolutions", "norm": "batch"}),
    ("sequences", "waves", {"kind": "attention", "depth": 1, "epochs": 20}),
    ("sequences", "running_mean", {"kind": "simple_rnn", "depth": 1, "epochs": 20}),
    ("sequences", "running_mean", {"kind": "gru", "depth": 1, "epochs": 15}),
    ("sequences", "running_mean", {"kind": "lstm", "depth": 1, "epochs": 15}),
    ("sequences", "words", {"kind": "bag_of_words", "depth": 1, "epochs": 10}),
    ("sequences", "words", {"kind": "gru", "depth": 1, "epochs": 6}),
    ("sequences", "words", {"kind": "lstm", "depth": 1, "epochs": 6}),
    ("sequences", "words", {"kind": "time_convolutions", "depth": 1, "epochs": 8}),
    ("sequences", "words", {"kind": "time_convolutions", "width": 12, "epochs": 8}),
    ("sequences", "words", {"kind": "bidirectional", "width": 8, "epochs": 5}),
]

_NOISY = [
    ("noisy labels", "blobs", {"label_noise": 0.2}),
    ("noisy labels", "blobs", {"label_noise": 0.4, "rows": 400}),
    ("noisy labels", "digits", {"label_noise": 0.2, "rows": 400, "width": 24}),
    ("noisy labels", "cancer", {"label_noise": 0.2, "rows": 280, "depth": 1}),
    ("noisy labels", "plane", {"label_noise": 0.7, "floor": 0.7}),
    ("noisy labels", "friedman", {"label_noise": 0.4, "rows": 400, "floor": 0.5}),
    (
        "noisy labels",
        "bars",
        {"label_noise": 0.2, "kind": "convolutions", "width": 6, "epochs": 10},
    ),
]

_SMALL = [
    ("small data", "iris", {"epochs": 26, "rows": 75, "width": 8}),
    ("small data", "iris", {"epochs": 26, "rows": 75, "kind": "sequential"}),
    ("small data", "wine", {"epochs": 20, "rows": 60, "depth": 1, "l2": 0.001}),
    ("small data", "blobs", {"rows": 60, "epochs": 25, "depth": 1, "width": 8}),
    ("small data", "plane", {"rows": 60, "epochs": 50, "depth": 0, **_SGD}),
    ("small data", "sign_of_sum", {"rows": 100, "epochs": 20, "depth": 0}),
]

_PLATEAUS = [
    ("plateau that resolves", "parity", {"rows": 300, "epochs": 45, "width": 16}),
    (
        "plateau that resolves",
        "parity",
        {"rows": 300, "epochs": 45, "width": 16, "activation": "tanh"},
    ),
    (
        "plateau that resolves",
        "circles",
        {"epochs": 26, "width": 16, "depth": 3, "activation": "sigmoid",
         "learning_rate": 0.02},
    ),
    (
        "plateau that resolves",
        "moons",
        {"epochs": 26, "width": 16, "depth": 3, "activation": "sigmoid",
         "learning_rate": 0.02},
    ),
    (
        "plateau that resolves",
        "digits",
        {"rows": 400, "epochs": 25, "width": 24, "depth": 3, "activation": "sigmoid",
         "learning_rate": 0.01},
    ),
]  # fmt: skip

_TUNED = [
    (
        "fine-tuning",
        "digits",
        {"kind": "fine_tuned", "rows": 400, "width": 48, "epochs": 16, "unfreeze": 8,
         "learning_rate": 0.02},
    ),
    (
        "fine-tuning",
        "digits",
        {"kind": "fine_tuned", "rows": 400, "width": 48, "epochs": 14,
         "learning_rate": 0.02},
    ),
    (
        "fine-tuning",
        "cancer",
        {"kind": "fine_tuned", "rows": 280, "width": 32, "epochs": 20, "unfreeze": 10,
         "depth": 1},
    ),
    (
        "fine-tuning",
        "blobs",
        {"kind": "fine_tuned", "width": 32, "epochs": 16, "unfreeze": 8, "depth": 1},
    ),
]  # fmt: skip

_OURS = [
    (
        "our networks",
        "patches",
        {"kind": "gradattn", "width": 8, "depth": 1, "epochs": 5, "rows": 300},
    ),
    (
        "our networks",
        "bars",
        {"kind": "gradattn", "width": 8, "depth": 1, "epochs": 6, "rows": 300},
    ),
    (
        "our networks",
        "patches",
        {"kind": "gradattn", "width": 8, "depth": 1, "epochs": 5, "rows": 300,
         "dropout": 0.1, **_ADAMW},
    ),
    (
        "our networks",
        "patches",
        {"kind": "resnet", "width": 8, "epochs": 6, "rows": 300},
    ),
    ("our networks", "bars", {"kind": "resnet", "width": 8, "epochs": 6, "rows": 300}),
]  # fmt: skip

_HUB = [
    ("KerasHub", "patches", {"kind": "hub_vit", "width": 16, "epochs": 15, "depth": 1}),
    ("KerasHub", "patches", {"kind": "hub_vit", "width": 24, "epochs": 12, "depth": 2}),
    ("KerasHub", "words", {"kind": "hub_bert", "depth": 1, "epochs": 8, "rows": 400}),
    (
        "KerasHub",
        "words",
        {"kind": "hub_bert", "depth": 2, "epochs": 8, "rows": 400, "dropout": 0.1,
         "learning_rate": 0.003},
    ),
]  # fmt: skip

_WIRED = [
    ("two inputs", "two_tables", {"kind": "two_inputs", "epochs": 20, "width": 24}),
    (
        "two inputs",
        "two_tables",
        {"kind": "two_inputs", "epochs": 20, "width": 24, "activation": "tanh"},
    ),
    (
        "two inputs",
        "two_tables",
        {"kind": "two_inputs", "epochs": 25, "width": 24, "norm": "batch"},
    ),
    (
        "half precision",
        "blobs",
        {"policy": "mixed_float16", "width": 32, "epochs": 12},
    ),
    (
        "half precision",
        "digits",
        {"policy": "mixed_bfloat16", "rows": 400, "width": 32},
    ),
    (
        "half precision",
        "circles",
        {"policy": "mixed_float16", "epochs": 25, "width": 32},
    ),
]

HEALTHY: tuple[Program, ...] = tuple(
    program(family, source, **values)
    for family, source, values in (
        *_TABLES,
        *_NUMBERS,
        *_IMAGES,
        *_SEQUENCES,
        *_NOISY,
        *_SMALL,
        *_PLATEAUS,
        *_TUNED,
        *_OURS,
        *_HUB,
        *_WIRED,
    )
)
