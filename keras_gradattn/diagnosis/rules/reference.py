"""A training against a healthy one, by depth and time."""

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np

from keras_gradattn.diagnosis.finding import Curve, Evidence, Finding, found
from keras_gradattn.diagnosis.seen import Seen, drawn
from keras_gradattn.diagnosis.thresholds import threshold

_PARTS = 4


def departs_from_reference(seen: Seen, reference: Any) -> Iterable[Finding]:
    """Gradient norms far outside of what the healthy run had at this depth and time.

    Both trainings are cut into quarters of the steps that both have. In each quarter
    the healthy run's own spread, between its tenth and ninetieth percentile, widens
    what is allowed.

    Args:
        seen: The training.
        reference: `GradientRecord` of a healthy one.

    Source: the idea of invariants learnt from a healthy run is that of Jiang et al.
    (2025), TrainCheck.
    """
    names = [g for g in seen.groups if g in reference.groups]
    if not names or not len(seen.step) or not len(reference):
        return
    begin = int(reference.running_step[0])
    steps = reference.running_step - begin
    last = int(min(seen.step[-1], steps[-1]))
    cuts = np.linspace(0, last + 1, _PARTS + 1)
    limit = threshold("reference_factor")
    worst: tuple[float, str, int, float, float] | None = None
    layers = []
    for name in names:
        now = seen.norm[:, seen.groups.index(name)]
        then = reference.norm[:, reference.groups.index(name)]
        far = 0
        for a, b in itertools.pairwise(cuts):
            mine = now[(seen.step >= a) & (seen.step < b)]
            good = then[(steps >= a) & (steps < b)]
            mine, good = mine[np.isfinite(mine)], good[np.isfinite(good) & (good > 0)]
            if len(mine) < 5 or len(good) < 5:
                continue
            level = max(float(np.median(mine)), 1e-30)
            low, high = np.quantile(good, [0.1, 0.9])
            off = max(level / high, low / level)
            if off > limit:
                far += 1
                if worst is None or off > worst[0]:
                    worst = (off, name, int(a), level, float(np.median(good)))
        if far >= 2:
            layers.append(name)
    if worst is None or not layers:
        return
    off, name, since, level, good_level = worst
    yield found(
        "departs_from_reference", "warning" if seen.poor else "note",
        f"Gradients of {name!r} have a norm of {level:.2g}; in the healthy run "
        f"{good_level:.2g} at this time.",
        Evidence("norm, to the healthy run's range", off, limit),
        layers=tuple(layers), first_step=since, last_step=last,
        picture=Curve("Gradient norm", {
            name: drawn(seen.step, seen.norm[:, seen.groups.index(name)]),
            "healthy run": drawn(
                steps, reference.norm[:, reference.groups.index(name)]
            ),
        }, logarithmic=True),
    )  # fmt: skip
