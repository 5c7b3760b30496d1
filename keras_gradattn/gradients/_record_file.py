"""Files of a `GradientRecord`, and several records as one."""

import dataclasses
import json
import os
from typing import Any

import numpy as np

from keras_gradattn.gradients._phases import Phase, tap_columns
from keras_gradattn.gradients.depth_groups import Grouping

_FORMAT = 2
_TABLES = ("rows", "details", "epochs", "noise")


def save(record: Any, path: str | os.PathLike[str]) -> None:
    """Write one portable `.npz` file (no pickle inside)."""
    arrays = {
        f"{table}/{key}": getattr(record, f"_{table}")[key]
        for table in _TABLES
        for key in getattr(record, f"_{table}").shapes
    }
    metadata = {
        "format": _FORMAT,
        "names": record.grouping.names,
        "paths": record.grouping.paths,
        "members": record.grouping.members,
        "sizes": record.sizes,
        "taps": record.taps,
        "kept_every": record.kept_every,
        "max_rows": record.max_rows,
        "name": record.name,
        "backend": record.backend,
        "lost": record.lost,
        "phases": [dataclasses.asdict(phase) for phase in record.phases],
        "asked": sorted(record._asked),
        "reached": sorted(record._reached),
        "accumulation": record.accumulation,
    }
    with open(path, "wb") as file:
        np.savez_compressed(
            file,
            metadata=np.array(json.dumps(metadata)),
            histogram_edges=record.histogram_edges,
            **arrays,
        )


def load(kind: Any, path: str | os.PathLike[str]) -> Any:
    """Read what `save` wrote into a new record of this class."""
    with np.load(path, allow_pickle=False) as file:
        if "metadata" not in file.files or "rows/norm" not in file.files:
            raise ValueError(
                "The file holds no record of gradient norms. "
                f"Received: path={os.fspath(path)!r}"
            )
        metadata = json.loads(str(file["metadata"]))
        edges = file["histogram_edges"] if "histogram_edges" in file.files else ()
        record = kind(
            Grouping(
                tuple(metadata["names"]),
                tuple(metadata["paths"]),
                tuple(metadata["members"]),
            ),
            metadata["sizes"],
            taps=metadata["taps"],
            every=metadata["kept_every"],
            max_rows=metadata["max_rows"],
            name=metadata["name"],
            backend=metadata["backend"],
            histogram_edges=edges,
        )
        record.lost = metadata["lost"]
        arrays = {key: file[key] for key in file.files if "/" in key}
    if metadata["format"] < _FORMAT:
        _from_first_format(record, metadata, arrays)
    else:
        record.phases = tuple(_phase(**phase) for phase in metadata["phases"])
        record._asked = set(metadata["asked"])
        record._reached = set(metadata["reached"])
        record.accumulation = metadata["accumulation"]
    for table in _TABLES:
        target = getattr(record, f"_{table}")
        if f"{table}/fit" not in arrays:  # version 0.1 knew no noise
            continue
        columns = {key: arrays[f"{table}/{key}"] for key in target.shapes}
        if len(next(iter(columns.values()))):
            target.chunks = [columns]
    record._last_running = _last_step(record)
    return record


def _phase(groups: Any, paths: Any, sizes: Any, taps: Any = (), **rest: Any) -> Any:
    return Phase(
        groups=tuple(groups),
        paths=tuple(paths),
        sizes=tuple(sizes),
        taps=tuple((layer, group, tuple(names)) for layer, group, names in taps),
        **rest,
    )


def _last_step(record: Any) -> int:
    """The last running step of any table: not all of them are thinned alike."""
    tables = (record._rows, record._details, record._noise)
    steps = [table["running_step"].max() for table in tables if len(table)]
    return int(max(steps, default=-1))


def _from_first_format(record: Any, metadata: Any, arrays: Any) -> None:
    """Version 0.1 knew one phase, and no more than norms of weights after a step."""
    record._begin_phase(record.grouping, record.sizes, taps=record.taps)
    record._note_reach(record.grouping.paths, metadata["without_gradient"])
    for table in ("rows", "details"):
        norm, step = arrays[f"{table}/norm"], arrays[f"{table}/step"]
        arrays[f"{table}/measured"] = np.ones_like(norm)
        arrays[f"{table}/phase"] = np.zeros_like(step)
        arrays[f"{table}/running_step"] = np.maximum.accumulate(step)
    arrays["rows/turn"] = arrays["rows/step"]
    norm = arrays["details/norm"]
    arrays["details/update_norm"] = np.full(norm.shape, np.nan)
    arrays["details/histogram"] = np.zeros((*norm.shape, 0))


def join(kind: Any, records: Any, name: Any) -> Any:
    """One record of several that followed each other."""
    records = [getattr(record, "record", record) for record in records]
    if not records or not all(isinstance(record, kind) for record in records):
        raise ValueError(
            "`join` takes at least one record. "
            f"Received: {[type(record).__name__ for record in records]}"
        )
    first = records[0]
    if any(
        not np.array_equal(one.histogram_edges, first.histogram_edges)
        for one in records
    ):
        raise ValueError(
            "Records of histograms join where their bins are the same. "
            f"Received: {[len(one.histogram_edges) for one in records]} edges"
        )
    joined = kind(
        first.grouping,
        first.sizes,
        taps=first.taps,
        every=max(one.kept_every for one in records),
        max_rows=sum(one.max_rows for one in records),
        name=name or first.name,
        backend=first.backend,
        histogram_edges=first.histogram_edges,
    )
    for record in records:
        record._close_epoch()
        _append(joined, record)
    return joined


def _append(joined: Any, record: Any) -> None:
    phases, fits = len(joined.phases), _next(joined._rows["fit"], joined._epochs["fit"])
    # Older files say it of the whole record alone.
    by_phase = any(phase.taps for phase in record.phases)
    for phase in record.phases:
        names = record.grouping.names
        member = dict(zip(record.grouping.paths, record.grouping.members, strict=True))
        joined._begin_phase(
            Grouping(names, phase.paths, tuple(member[p] for p in phase.paths)),
            phase.sizes,
            taps=phase.taps if by_phase else record.taps,
            fit=phase.fit + fits,
            step=phase.step,
            optimizer=phase.optimizer,
            learning_rate=phase.learning_rate,
        )
    shift = 0
    steps = record._rows["running_step"]
    if len(steps) and steps[0] <= joined._last_running:
        shift = joined._last_running + 1 - steps[0]
    places = [joined.groups.index(group) for group in record.groups]
    for table in _TABLES:
        target, source = getattr(joined, f"_{table}"), getattr(record, f"_{table}")
        columns = {key: source[key] for key in source.shapes}
        columns["fit"] = columns["fit"] + fits
        for key, empty in joined.per_group[f"_{table}"].items():
            values = columns[key]
            wider = np.full((len(values), len(joined.groups), *values.shape[2:]), empty)
            wider[:, places] = values
            columns[key] = wider
        if table != "epochs":
            columns["phase"] = columns["phase"] + phases
            columns["running_step"] = columns["running_step"] + shift
        if table == "rows":
            columns["taps"] = _taps(joined, record)
        target.append(np.ones(len(source), dtype=bool), **columns)
    joined._last_running = _last_step(joined)
    joined.lost += record.lost
    joined._asked |= record._asked
    joined._reached |= record._reached
    joined.accumulation = max(joined.accumulation, record.accumulation)


def _taps(joined: Any, record: Any) -> Any:
    columns = tap_columns(joined.taps)
    values = np.full((len(record), len(columns)), np.nan)
    places = np.array([columns.index(one) for one in tap_columns(record.taps)], int)
    values[:, places] = record._rows["taps"]
    return values


def _next(*columns: Any) -> Any:
    return int(max((column.max() + 1 for column in columns if len(column)), default=0))
