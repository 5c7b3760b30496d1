"""Which device holds which part of a wide head's weights."""

import keras


def head_layout(
    mesh: keras.distribution.DeviceMesh, axis: str = "model"
) -> keras.distribution.LayoutMap:
    """Divide the encoder blocks of a GradAttn head among devices (JAX).

    Kernels of queries, keys, values and the feed-forward's first layer are cut by
    columns, those that follow them by rows (Megatron-LM: Shoeybi et al. 2019,
    section 3): each device computes its own heads and hidden units, and only sums are
    exchanged. Everything else is whole on every device. It pays where a head's weights
    are wide; the published ones, 256 and 512, are not.

    Args:
        mesh: Devices with an axis named `axis`, whose length must divide the number of
            heads and the feed-forward's width.
        axis: Name of the mesh's axis that weights are divided along.

    Returns:
        A map for `keras.distribution.ModelParallel`.

    Raises:
        ValueError: If the mesh has no such axis.

    Example:

    ```python
    mesh = keras.distribution.DeviceMesh((1, 2), ("batch", "model"), devices)
    parallel = keras.distribution.ModelParallel(
        layout_map=keras_gradattn.training.head_layout(mesh), batch_dim_name="batch"
    )
    keras.distribution.set_distribution(parallel)
    model = keras_gradattn.GradAttnV2(10, width=4096, feed_forward=16384)
    ```
    """
    if axis not in mesh.axis_names:
        raise ValueError(
            f"The mesh has the axes {mesh.axis_names}. Received: axis={axis!r}"
        )
    layout = keras.distribution.LayoutMap(mesh)
    layout[r".*block\d+/(attention/(query|key|value)|expansion)/kernel"] = (None, axis)
    layout[r".*block\d+/(attention/(query|key|value)|expansion)/bias"] = (axis,)
    layout[r".*block\d+/(attention/output|contraction)/kernel"] = (axis, None)
    return layout
