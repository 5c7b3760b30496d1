"""A forward pass on PyTorch that keeps no map longer than it is needed."""

import collections
from collections.abc import Callable, Sequence
from typing import Any

import keras


def run_layers(
    model: Any, inputs: Sequence[Any], operation_fn: Callable[[Any], Callable[..., Any]]
) -> Any:
    """What a Functional model's layers compute, each map let go after its last use.

    Keras holds every map until the pass ends. Compiled backends free them earlier all
    the same; on PyTorch what the backward pass does not need (half of the maps: what
    enters a ReLU) would lie beside what it does need.

    Args:
        model: A Functional model.
        inputs: Its inputs, flat.
        operation_fn: Makes a layer's call, as Keras hands it to the graph.

    Returns:
        The outputs in the model's structure.
    """
    depths = sorted(model._nodes_by_depth, reverse=True)
    nodes = [n for d in depths for n in model._nodes_by_depth[d] if not n.is_input]
    uses = collections.Counter(id(x) for node in nodes for x in node.input_tensors)
    uses.update(id(x) for x in model.outputs)
    values = {id(x): value for x, value in zip(model.inputs, inputs, strict=True)}
    for node in nodes:
        arguments, keywords = node.arguments.fill_in(values)
        for x in node.input_tensors:
            uses[id(x)] -= 1
            if not uses[id(x)]:
                del values[id(x)]
        outputs = operation_fn(node.operation)(*arguments, **keywords)
        values.update(
            (id(x), value)
            for x, value in zip(node.outputs, keras.tree.flatten(outputs), strict=True)
        )
        del arguments, keywords, outputs
    return keras.tree.pack_sequence_as(
        model._outputs_struct, [values[id(x)] for x in model.outputs]
    )
