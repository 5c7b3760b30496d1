"""Which depth group each trainable variable belongs to."""

import dataclasses
import difflib
from collections.abc import Callable, Mapping

import keras

GroupsArgument = str | Mapping[str, str] | Callable[[keras.Variable], str | None]

OTHER = "other"


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
    model: keras.Model, variables: list, groups: GroupsArgument = "depth"
) -> Grouping:
    """Assign variables to groups.

    Args:
        model: The model that owns the variables.
        variables: Trainable variables, in the order of the columns.
        groups: `"depth"` (the model's own `depth_groups()` where it has one, its
            top-level layers in topological order otherwise), `"variable"`, a mapping
            from variable path, layer name or path prefix to group name (the rest
            goes to `"other"`), or a function from variable to group name, `None`
            leaving the variable out.

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
    if groups == "depth":
        names = _by_depth(model, variables)
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
    order = _order(model, names) if groups == "depth" else _first_seen(names)
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


def _by_depth(model, variables):
    model = inner_model(model)
    depth_groups = _depth_groups(model)
    owner = {}
    for layer, name in zip(model.layers, _layer_labels(model), strict=True):
        for variable in layer.trainable_variables:
            # A shared variable belongs where the signal meets it first.
            owner.setdefault(id(variable), name)
    names = []
    for variable in variables:
        layer = owner.get(id(variable), model.name)
        names.append(depth_groups.get(layer, layer))
    return names


def _depth_groups(model):
    method = getattr(model, "depth_groups", None)
    return dict(method()) if callable(method) else {}


def _order(model, names):
    present = set(names)
    known = _first_seen(list(_depth_groups(inner_model(model)).values()))
    ordered = [name for name in known if name in present]
    if ordered:
        return ordered + [n for n in _first_seen(names) if n not in ordered]
    layers = _layer_labels(inner_model(model))
    ordered = [name for name in layers if name in present]
    return ordered + [name for name in _first_seen(names) if name not in ordered]


def _layer_labels(model):
    # Subclassed models may hold several layers of one name.
    return _unique([layer.name for layer in model.layers])


def _by_mapping(model, variables, paths, mapping):
    layer_of = {}
    for layer in inner_model(model)._flatten_layers(include_self=False):
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


def _checked_name(name, variable):
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


def _first_seen(names):
    return list(dict.fromkeys(name for name in names if name is not None))


def _unique(paths):
    seen: dict[str, int] = {}
    unique = []
    for path in paths:
        seen[path] = seen.get(path, 0) + 1
        unique.append(path if seen[path] == 1 else f"{path}#{seen[path]}")
    return unique


def group_of_layers(model: keras.Model) -> dict[int, str]:
    """Per layer id, at any depth, the depth group of its top-level layer."""
    model = inner_model(model)
    depth_groups = _depth_groups(model)
    labels = {
        id(layer): label
        for layer, label in zip(model.layers, _layer_labels(model), strict=True)
    }
    groups: dict[int, str] = {}
    for top in model._flatten_layers(include_self=False, recursive=False):
        label = labels.get(id(top), top.name)
        name = depth_groups.get(label, label)
        for layer in top._flatten_layers():
            groups.setdefault(id(layer), name)
    return groups
