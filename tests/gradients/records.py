"""Records of numbers that a test chooses, without any training."""

from collections.abc import Sequence

import numpy as np

from keras_gradattn.gradients import GradientRecord
from keras_gradattn.gradients._ring import Rows
from keras_gradattn.gradients.depth_groups import Grouping


def make_record(
    norm: np.ndarray,
    *,
    groups: Sequence[str] | None = None,
    step: np.ndarray | None = None,
    epoch_of: int = 10,
    fits: Sequence[int] = (),
    sizes: Sequence[int] | None = None,
    zero_share: np.ndarray | None = None,
    weight_norm: np.ndarray | None = None,
    measured: np.ndarray | None = None,
    name: str = "made",
) -> GradientRecord:
    """A record whose group norms are `norm`, one variable a group.

    Args:
        norm: (rows, groups) what `record.norm` shall hold.
        groups: Group names, `layer_0`, `layer_1`, ... by default.
        step: (rows,) optimizer iterations, counted from 0 by default.
        epoch_of: Rows an epoch.
        fits: Rows at which a new `fit` begins.
        sizes: Elements of each group, 4 by default.
        zero_share: (rows, groups), NaN where not measured.
        weight_norm: (rows, groups), NaN where not measured.
        measured: (rows, groups) False where a group is frozen.
        name: Name of the record.
    """
    norm = np.asarray(norm, dtype="float64")
    rows, width = norm.shape
    groups = tuple(groups or (f"layer_{i}" for i in range(width)))
    step = np.arange(rows) if step is None else np.asarray(step)
    measured = np.ones(norm.shape, bool) if measured is None else measured
    unmeasured = np.full(norm.shape, np.nan)
    zero_share = unmeasured if zero_share is None else zero_share
    weight_norm = unmeasured if weight_norm is None else weight_norm
    detail = ~np.isnan(weight_norm).all(axis=1)
    grouping, sizes = (
        Grouping(groups, groups, tuple(range(width))),
        sizes or [4] * width,
    )
    record = GradientRecord(
        grouping,
        sizes,
        max_rows=1_000_000,
        name=name,
        backend="none",
    )
    starts = [0, *fits, rows] if rows else []
    for fit in range(len(starts) - 1):
        record._begin_phase(
            grouping,
            sizes,
            fit=fit,
            step=int(step[starts[fit]]),
            optimizer="SGD",
            learning_rate=0.1 / (1 + fit),
        )
        for epoch, start in enumerate(range(starts[fit], starts[fit + 1], epoch_of)):
            part = slice(start, min(start + epoch_of, starts[fit + 1]))
            record._add(
                Rows(
                    number=np.arange(rows)[part],
                    iteration=step[part],
                    norms=norm[part],
                    measured=measured[part],
                    detail=detail[part],
                    weight_norms=weight_norm[part],
                    zero_shares=zero_share[part],
                    taps=np.zeros((len(norm[part]), 0)),
                    more={},
                    lost=0,
                ),
                fit,
                epoch,
            )
    record._close_epoch()
    return record
