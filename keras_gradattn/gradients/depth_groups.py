"""Which depth group each trainable variable belongs to."""

import dataclasses
import difflib
from collections.abc import Callable, Mapping
from typing import Any

import keras

from keras_gradattn._compat import keras as keras_compat
from keras_gradattn.gradients._layer_order import LayerOrder

GroupsArgument = str | Mapping[str, str] | Callable[[keras.Variable], str | None]

OTHER = "other"
# A group of more layers with weights says little about depth.
_MOST_LAYERS = 20


@dataclasses.dataclass(frozen=True)
class Grouping:
    """Variables and the groups that they are summed into.

    Attributes:
        names: Group names, in the order of depth.
        paths: Paths of the variables, one per column.
        members: Per variable the index of its group, -1 for none.
    """

    names: tuple[str, ...]
    paths: tuple[str, ...]
    members: tuple[int, ...]


def group_variables(
    model: keras.Model,
    variables: list[Any],
    groups: GroupsArgument = "depth",
    *,
    level: int | None = None,
) -> Grouping:
    """Assign variables to groups.

    Args:
        model: The model that owns the variables.
        variables: Trainable variables, in the order of the columns.
        groups: `"depth"` (the model's own `depth_groups()` where it has one, its
            layers in the order of computation otherwise), `"variable"`, a mapping
            from variable path, layer name or path prefix to group name (the rest
            goes to `"other"`), or a function from variable to group name, `None`
            leaving the variable out.
        level: How many levels of layers `"depth"` opens: 1 groups by top-level layers,
            2 by the layers inside them. By default every nested model is opened, and
            every layer with more than 20 others with weights inside. Names of inner
            groups begin with the outer ones: `gpt2_backbone/transformer_layer_3`.

    Returns:
        A `Grouping`.

    Raises:
        ValueError: If `groups` is none of these, or names what does not exist.

    Example:

    ```python
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="head")])
    group_variables(model, model.trainable_variables).names  # ("head",)
    ```
    """
    paths = _unique([variable.path for variable in variables])
    order = None
    if groups == "depth":
        names, order = _by_depth(model, variables, level)
    elif groups == "variable":
        names = paths
    elif isinstance(groups, Mapping):
        names = _by_mapping(model, variables, paths, groups)
    elif callable(groups):
        names = [_checked_name(groups(variable), variable) for variable in variables]
    else:
        raise ValueError(
            "`groups` must be 'depth', 'variable', a mapping from variable path or "
            "layer name to group, or a function from variable to group. "
            f"Received: groups={groups!r}"
        )
    if order is None:
        order = _first_seen(names)
    if not order:
        raise ValueError(
            "`groups` leaves every variable out, so that nothing would be recorded. "
            f"Received: groups={groups!r}"
        )
    index = {name: i for i, name in enumerate(order)}
    return Grouping(
        names=tuple(order),
        paths=tuple(paths),
        members=tuple(-1 if name is None else index[name] for name in names),
    )


def inner_model(model: keras.Model) -> keras.Model:
    """The user's model inside a tapped one, the model itself otherwise."""
    return getattr(model, "untapped", model)


def _by_depth(model: Any, variables: Any, level: Any) -> Any:
    """Group of each variable, and the groups in the order of depth."""
    parts = _parts(inner_model(model), level)
    group_of: dict[int, str] = {}
    for part in parts:
        for variable in part.variables:
            # A shared variable belongs where the signal meets it first.
            group_of.setdefault(id(variable), part.group)
    names = [group_of.get(id(v), inner_model(model).name) for v in variables]
    known = [n for n in _first_seen([p.group for p in parts]) if n in set(names)]
    return names, known + [name for name in _first_seen(names) if name not in known]


@dataclasses.dataclass(frozen=True)
class _Part:
    """A layer that is one group, or part of one."""

    group: str
    layer: keras.layers.Layer
    variables: list[Any]


def _parts(model: Any, level: Any) -> Any:
    order = LayerOrder(model)
    parts: list[_Part] = []

    def walk(layer: Any, prefix: Any, depth: Any) -> None:
        groups = _depth_groups(layer)
        children = _graph_that_knows(layer, groups) or order.children(layer)
        labels = _unique([child.name for child in children])
        for child, label in zip(children, labels, strict=True):
            if label in groups:
                parts.append(_part(prefix + groups[label], child))
            elif _is_opened(child, depth, level):
                walk(child, f"{prefix}{label}/", depth + 1)
            else:
                parts.append(_part(prefix + label, child))
        if prefix:
            # Weights of the layer's own.
            parts.append(_part(prefix.rstrip("/"), layer))

    walk(model, "", 1)
    return parts


def _graph_that_knows(layer: Any, groups: dict[str, str]) -> list[Any]:
    """Layers of a graph that has named the depth of all that have weights.

    Our networks have a `call` around their graph. To find the order by running them
    would take longer than a step on PyTorch.
    """
    if not groups or not keras_compat.has_graph(layer):
        return []
    children = list(layer.layers)
    named = all(child.name in groups for child in children if child.variables)
    return children if named else []


def _part(group: Any, layer: Any) -> Any:
    return _Part(group, layer, list(layer.variables))


def _is_opened(layer: Any, depth: Any, level: Any) -> Any:
    inside = keras_compat.flatten_layers(layer, include_self=False)
    if not any(child.variables for child in inside):
        return False
    if level is not None:
        return depth < level
    if isinstance(layer, keras.Model):
        return True
    with_weights = [
        child
        for child in inside
        if child.variables
        and not keras_compat.flatten_layers(child, include_self=False)
    ]
    return len(with_weights) > _MOST_LAYERS


def _depth_groups(model: Any) -> Any:
    method = getattr(model, "depth_groups", None)
    return dict(method()) if callable(method) else {}


def _by_mapping(model: Any, variables: Any, paths: Any, mapping: Any) -> Any:
    layer_of: dict[int, set[str]] = {}
    for layer in keras_compat.flatten_layers(inner_model(model), include_self=False):
        for variable in layer.variables:
            layer_of.setdefault(id(variable), set()).add(layer.name)
    used, names = set(), []
    for variable, path in zip(variables, paths, strict=True):
        candidates = [
            key
            for key in mapping
            if path == key
            or path.startswith(f"{key}/")
            or key in layer_of.get(id(variable), ())
        ]
        # The most specific name wins: a path over its prefix.
        key = max(candidates, key=len, default=None)
        used.update(candidates)
        names.append(OTHER if key is None else str(mapping[key]))
    unknown = [key for key in mapping if key not in used]
    if unknown:
        known = sorted(set(paths) | set().union(*layer_of.values()))
        raise ValueError(
            "`groups` names variables or layers that the model does not train. "
            f"Received: {unknown}{suggestion(unknown[0], known)}"
        )
    return names


def _checked_name(name: Any, variable: Any) -> Any:
    if name is not None and not isinstance(name, str):
        raise ValueError(
            "The `groups` function must return a string or None. "
            f"Received: {name!r} for variable {variable.path!r}"
        )
    return name


def suggestion(name: str, known: list[str]) -> str:
    """`"; did you mean 'x'?"` where a known name is near."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _first_seen(names: Any) -> Any:
    return list(dict.fromkeys(name for name in names if name is not None))


def _unique(paths: Any) -> Any:
    seen: dict[str, int] = {}
    unique = []
    for path in paths:
        seen[path] = seen.get(path, 0) + 1
        unique.append(path if seen[path] == 1 else f"{path}#{seen[path]}")
    return unique


def group_of_layers(model: keras.Model, level: int | None = None) -> dict[int, str]:
    """Per layer id, at any depth, the depth group that it is part of."""
    model = inner_model(model)
    groups: dict[int, str] = {}
    for part in _parts(model, level):
        for layer in keras_compat.flatten_layers(part.layer):
            groups.setdefault(id(layer), part.group)
    return groups
