"""What was recorded during training: rows per step, summaries per epoch, one file."""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_gradattn._extras import optional
from keras_gradattn.gradients import _record_file, plots
from keras_gradattn.gradients import report as _report
from keras_gradattn.gradients._noise_scale import BatchSizes, noise_scale_of
from keras_gradattn.gradients._phases import (
    Phase,
    incidence,
    merged_grouping,
    merged_taps,
    tap_columns,
)
from keras_gradattn.gradients._ring import Rows
from keras_gradattn.gradients._table import Table
from keras_gradattn.gradients.depth_groups import Grouping

# Columns with one entry a group, and what stands where a group was not measured.
PER_GROUP = {
    "_rows": {"norm": np.nan, "measured": 0.0},
    "_details": {
        "norm": np.nan,
        "measured": 0.0,
        "weight_norm": np.nan,
        "update_norm": np.nan,
        "zero_share": np.nan,
        "histogram": 0.0,
    },
    "_epochs": {
        "mean": np.nan,
        "smallest": np.nan,
        "largest": np.nan,
        "nonfinite": 0.0,
    },
    "_noise": {},
}
_DETAILS = (
    "weight_norm",
    "update_norm",
    "gradient_to_weight",
    "update_to_weight",
    "ratio",
    "zero_share",
)
_WHOLE = ("fit", "epoch", "step", "phase", "running_step")


class GradientRecord:
    """Gradient norms of training steps, grouped by depth.

    You need not make one: `GradientNorms` does, as its `record`, and
    `GradientRecord.load` reads a saved one. A row is one training step.

    Args:
        grouping: Variables and their groups.
        sizes: Number of elements of each variable.
        taps: For each layer-output tap `(layer name, group, statistic names)`. Defaults
            to none.
        every: Keep a row for each step whose number is a multiple of this. Defaults to
            1.
        max_rows: When there are more rows, every second one is dropped. Epoch summaries
            still cover every step. Defaults to 50,000.
        name: Name in reports and pictures.
        backend: Keras backend that trained.
        histogram_edges: Edges of the bins of absolute gradient values. Defaults to
            none.

    Attributes:
        groups: Group names in the order of depth.
        step: (rows,) the optimizer's iteration before that step's update.
        running_step: (rows,) the same, but a new optimizer does not begin at 0 again.
        epoch: (rows,) epoch of `fit`, from 0.
        fit: (rows,) number of the call of `fit`, from 0.
        phase: (rows,) index into `phases`.
        norm: (rows, groups) L2 norm of the group's gradient, NaN where not measured.
        measured: (rows, groups) whether the group had a gradient to measure. It has
            none if it was frozen, or if the step was one of another optimizer.
        global_norm: (rows,) L2 norm over all measured variables.
        phases: What was trained by which optimizer, one entry for each change.
        kept_every: Rows are kept whose step is a multiple of this.
        lost: Number of steps whose rows were overwritten before they could be read.
        without_gradient: Paths of variables that the loss reached in no recorded step.
        histogram_edges: (bins + 1,) edges, from 0 over every second power of two to
            infinity.

    Example:

    ```python
    norms.save("run.npz")
    record = keras_gradattn.GradientRecord.load("run.npz")
    record.norm.shape  # (rows, groups)
    record.rms[-1]  # of the last step, by depth
    ```
    """

    per_group = PER_GROUP

    def __init__(
        self,
        grouping: Grouping,
        sizes: Sequence[int],
        *,
        taps: Sequence[tuple[str, str, tuple[str, ...]]] = (),
        every: int = 1,
        max_rows: int = 50_000,
        name: str = "model",
        backend: str = "",
        histogram_edges: Sequence[float] = (),
    ) -> None:
        self.grouping = grouping
        self.sizes = tuple(int(size) for size in sizes)
        self.taps = tuple((n, g, tuple(s)) for n, g, s in taps)
        self._every = self.kept_every = every
        self.max_rows = max_rows
        self.name = name
        self.backend = backend
        self.lost = 0
        self.phases: tuple[Phase, ...] = ()
        self.histogram_edges = np.asarray(histogram_edges, "float64")
        self.accumulation = 1
        self._asked: set[str] = set()
        self._reached: set[str] = set()
        groups, bins = len(grouping.names), max(len(self.histogram_edges) - 1, 0)
        where = dict.fromkeys(_WHOLE, ())
        self._rows = Table(
            **where, turn=(), norm=(groups,), measured=(groups,), global_norm=(),
            taps=(self._tap_width,),
        )  # fmt: skip
        self._details = Table(
            **where, norm=(groups,), measured=(groups,), weight_norm=(groups,),
            update_norm=(groups,), zero_share=(groups,), histogram=(groups, bins),
        )  # fmt: skip
        self._epochs = Table(
            fit=(), epoch=(), steps=(), mean=(groups,), smallest=(groups,),
            largest=(groups,), nonfinite=(groups,), global_mean=(),
        )  # fmt: skip
        # One row an update, whichever rows of its micro-batches are kept.
        self._noise = Table(**where, small=(), big=(), parts=())
        self._batch_sizes = BatchSizes()
        self._running: dict[Any, Any] | None = None
        self._offset = 0
        self._last_running = -1
        self._turns: dict[bytes, int] = {}

    @property
    def _tap_width(self) -> Any:
        return sum(len(statistics) for _, _, statistics in self.taps)

    @property
    def _incidence(self) -> Any:
        return incidence(self.grouping.members, len(self.grouping.names))

    @property
    def groups(self) -> tuple[str, ...]:
        """Group names in the order of depth."""
        return self.grouping.names

    @property
    def group_sizes(self) -> np.ndarray:
        """(groups,) number of gradient elements of each group, over all phases."""
        return np.asarray(self.sizes, dtype="float64") @ self._incidence

    @property
    def fit(self) -> np.ndarray:
        """(rows,) running number of the `fit` call, from 0."""
        return self._rows["fit"].astype(int)

    @property
    def epoch(self) -> np.ndarray:
        """(rows,) epoch of `fit`, from 0."""
        return self._rows["epoch"].astype(int)

    @property
    def step(self) -> np.ndarray:
        """(rows,) the optimizer's iteration before that step's update."""
        return self._rows["step"].astype("int64")

    @property
    def running_step(self) -> np.ndarray:
        """(rows,) `step`, but a new optimizer does not begin at 0 again."""
        return self._rows["running_step"].astype("int64")

    @property
    def phase(self) -> np.ndarray:
        """(rows,) index into `phases`."""
        return self._rows["phase"].astype(int)

    @property
    def norm(self) -> np.ndarray:
        """(rows, groups) L2 norm of the group's gradient, NaN where not measured."""
        return self._rows["norm"]

    @property
    def measured(self) -> np.ndarray:
        """(rows, groups) whether the group had a gradient to measure."""
        return self._rows["measured"] > 0

    @property
    def global_norm(self) -> np.ndarray:
        """(rows,) L2 norm over all measured variables."""
        return self._rows["global_norm"]

    @property
    def rms(self) -> np.ndarray:
        """(rows, groups) root mean square per gradient element."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.norm / np.sqrt(self._sizes_by_phase()[self.phase])

    def _sizes_by_phase(self) -> Any:
        """(phases, groups) elements that were trained: of a frozen part none."""
        if not self.phases:
            return self.group_sizes[None]
        member = dict(zip(self.grouping.paths, self.grouping.members, strict=True))
        sizes = np.zeros((len(self.phases), len(self.groups)))
        for phase in self.phases:
            for path, size in zip(phase.paths, phase.sizes, strict=True):
                if member[path] >= 0:
                    sizes[phase.number, member[path]] += size
        return sizes

    @property
    def finite(self) -> np.ndarray:
        """(rows, groups) whether every measured element is finite."""
        return np.isfinite(self.norm) | ~self.measured

    @property
    def without_gradient(self) -> tuple[str, ...]:
        """Paths of variables that the loss reached in no recorded step."""
        return tuple(p for p in self.grouping.paths if p in self._asked - self._reached)

    @property
    def detail(self) -> dict[str, np.ndarray]:
        """The costlier columns, measured every `detail_every` steps.

        A dictionary with one row for each of these steps; NaN where a group was not
        measured. `fit`, `epoch`, `step`, `running_step`, `phase`, `norm` and
        `measured` are as in the record itself. The others are (rows, groups):

        * `weight_norm`: L2 norm of the weights before the update.
        * `update_norm`: L2 norm of what the update really changed.
        * `gradient_to_weight`: `norm / weight_norm`. `ratio` is the same.
        * `update_to_weight`: `update_norm / weight_norm`.
        * `zero_share`: share of gradient elements that are exactly zero, 0 to 1.
        """
        detail = {key: self._details[key] for key in self._details.shapes}
        detail.pop("histogram")
        detail["measured"] = detail["measured"] > 0
        with np.errstate(divide="ignore", invalid="ignore"):
            detail["gradient_to_weight"] = detail["norm"] / detail["weight_norm"]
            detail["update_to_weight"] = detail["update_norm"] / detail["weight_norm"]
        detail["ratio"] = detail["gradient_to_weight"]
        for key in _WHOLE:
            detail[key] = detail[key].astype("int64")
        return detail

    @property
    def histograms(self) -> np.ndarray | None:
        """(detail rows, groups, bins) gradient elements between two edges, by depth."""
        return self._details["histogram"] if len(self.histogram_edges) else None

    @property
    def noise_scale(self) -> dict[str, np.ndarray] | None:
        """Gradient noise; `None` unless gradients of two batch sizes were measured.

        A dictionary of columns:

        * `step`, `running_step`: as in the record.
        * `gradient_squared`: unbiased estimate of the true gradient's squared norm.
        * `noise`: the same of the trace of its covariance, for one micro-batch.
        * `noise_scale`: `noise / gradient_squared`, smoothed. Below this batch size it
          pays to average more. It counts micro-batches; multiply it by their samples.

        Source: McCandlish et al. (2018), arXiv:1812.06162, appendix A.1.
        """
        names = ("step", "running_step", "small", "big", "parts")
        return noise_scale_of(*(self._noise[name] for name in names))

    @property
    def epochs(self) -> dict[str, np.ndarray]:
        """Per epoch and group, over every step: mean, smallest and largest norm."""
        epochs = {key: self._epochs[key] for key in self._epochs.shapes}
        for key in ("fit", "epoch", "steps"):
            epochs[key] = epochs[key].astype("int64")
        return epochs

    @property
    def layer_outputs(self) -> dict[str, dict[str, np.ndarray]]:
        """Per tapped layer: statistics of the gradient of its output, per row."""
        table = self._rows["taps"]
        outputs: dict[str, dict[str, np.ndarray]] = {}
        for column, (layer, statistic) in enumerate(tap_columns(self.taps)):
            outputs.setdefault(layer, {})[statistic] = table[:, column]
        return outputs

    def __len__(self) -> int:
        return len(self._rows)

    # Filling, called by the recorder.

    def _begin_phase(
        self,
        grouping: Grouping,
        sizes: Sequence[int],
        *,
        taps: Sequence[tuple[str, str, tuple[str, ...]]] = (),
        fit: int = 0,
        step: int = 0,
        optimizer: str = "",
        learning_rate: float | None = None,
    ) -> None:
        """Say what is trained from here on; columns are added for what is new.

        Args:
            grouping: Group of each variable that is trained from here on.
            sizes: Number of elements of each of these variables.
            taps: Layer, group and statistics of each output tap. Defaults to none.
            fit: Running number of the `fit` call.
            step: The optimizer's iteration.
            optimizer: Its class's name.
            learning_rate: Its rate, where one number is set.
        """
        known = dict(zip(self.grouping.paths, self.sizes, strict=True))
        known.update(zip(grouping.paths, map(int, sizes), strict=True))
        self._widen(merged_grouping(self.grouping, grouping), known, taps)
        self.phases = (
            *self.phases,
            Phase(
                number=len(self.phases),
                fit=fit,
                step=step,
                optimizer=optimizer,
                learning_rate=learning_rate,
                groups=grouping.names,
                paths=grouping.paths,
                sizes=tuple(map(int, sizes)),
                taps=tuple((n, g, tuple(s)) for n, g, s in taps),
            ),
        )

    def _widen(self, grouping: Any, sizes: Any, taps: Any) -> None:
        self._close_epoch()
        before = self.groups
        self.grouping = grouping
        self.sizes = tuple(sizes[path] for path in grouping.paths)
        if grouping.names != before:
            places = np.array([grouping.names.index(name) for name in before], int)
            for table, columns in PER_GROUP.items():
                for key, empty in columns.items():
                    getattr(self, table).spread(key, places, len(grouping.names), empty)
        old, self.taps = tap_columns(self.taps), merged_taps(self.taps, taps)
        new = tap_columns(self.taps)
        if new != old:
            places = np.array([new.index(one) for one in old], int)
            self._rows.spread("taps", places, len(new), np.nan)

    def _add(self, rows: Rows, fit: int, epoch: int) -> dict[str, Any]:
        """Append rows of one epoch, measured in the last phase that was begun.

        Args:
            rows: What the ring held.
            fit: Running number of the `fit` call, from 0.
            epoch: Epoch of that `fit`, from 0.

        Returns:
            Columns of those rows that `every` asks for, by name. Thinning may have
            dropped some of them from the record again.
        """
        if not self.phases:
            self._begin_phase(self.grouping, self.sizes, taps=self.taps, fit=fit)
        phase = self.phases[-1]
        member = dict(zip(self.grouping.paths, self.grouping.members, strict=True))
        groups = incidence([member[path] for path in phase.paths], len(self.groups))
        self.lost += rows.lost
        measured = (rows.measured.astype("float64") @ groups) > 0
        norm = np.where(measured, _grouped(rows.norms, groups), np.nan)
        values = {
            "fit": np.full(len(norm), fit),
            "epoch": np.full(len(norm), epoch),
            "step": rows.iteration,
            "running_step": self._counted_on(rows.iteration),
            "phase": np.full(len(norm), phase.number),
            "norm": norm,
            "measured": measured,
            "global_norm": np.sqrt(np.sum(np.square(rows.norms), axis=1)),
        }
        self._summarise(values, fit, epoch)
        turn = self._turn(rows)
        taps = self._taps_in_place(rows.taps, phase.taps)
        self._rows.append(
            turn % self.kept_every == 0,
            turn=turn,
            taps=taps,
            **values,
        )
        if len(self._rows) > self.max_rows:
            self.kept_every *= 2
            self._rows.keep(self._rows["turn"] % self.kept_every == 0)
        self._add_noise(rows, values)
        details = self._add_details(rows, values, groups, phase)
        asked = turn % self._every == 0
        arrived = {**values, **details, "detail": rows.detail, "taps": taps}
        if asked.all():
            return arrived
        return {key: column[asked] for key, column in arrived.items()}

    def _add_noise(self, rows: Any, values: Any) -> None:
        small, big = self._batch_sizes(
            values["running_step"],
            values["global_norm"],
            _first_column(rows.more.get("accumulated_norm")),
            _first_column(rows.more.get("local_squares")),
            self.accumulation,
        )
        self._noise.append(
            np.isfinite(small) & np.isfinite(big),
            small=small,
            big=big,
            parts=np.full(len(small), self.accumulation),
            **values,
        )
        if len(self._noise) > self.max_rows:
            self._noise.keep(np.arange(len(self._noise)) % 2 == 0)

    def _add_details(self, rows: Any, values: Any, groups: Any, phase: Any) -> Any:
        sizes = np.asarray(phase.sizes, dtype="float64")
        with np.errstate(divide="ignore", invalid="ignore"):
            zero_share = (rows.zero_shares * sizes) @ groups / (sizes @ groups)
        missing = np.full(rows.norms.shape, np.nan)
        norms = {}
        for key in ("weight_norm", "update_norm"):
            found = getattr(rows, f"{key}s")
            found = missing if found is None else found
            norms[key] = np.where(values["measured"], _grouped(found, groups), np.nan)
        bins = max(len(self.histogram_edges) - 1, 0)
        histogram = np.zeros((len(rows.norms), len(self.groups), bins))
        if bins and "histogram" in rows.more:
            places = [self.groups.index(name) for name in phase.groups]
            shape = (len(rows.norms), len(places), bins)
            histogram[:, places] = rows.more["histogram"].reshape(shape)
        details = {
            **norms,
            "zero_share": np.where(values["measured"], zero_share, np.nan),
            "histogram": histogram,
        }
        values = {k: v for k, v in values.items() if k != "global_norm"}
        self._details.append(rows.detail, **details, **values)
        if len(self._details) > self.max_rows:
            self._details.keep(np.arange(len(self._details)) % 2 == 0)
        return details

    def _note_reach(self, asked: Sequence[str], without: Sequence[str]) -> None:
        """Which variables updates were about, and which of them had no gradient.

        Args:
            asked: Paths of variables that updates were about.
            without: Those of them that had no gradient.
        """
        self._asked |= set(asked)
        self._reached |= set(asked) - set(without)

    def _counted_on(self, steps: Any) -> Any:
        """Steps that never go back, whatever optimizer counts them."""
        if len(steps) and steps[0] + self._offset <= self._last_running:
            self._offset = self._last_running + 1 - int(steps[0])
        running = steps + self._offset
        if len(running):
            self._last_running = int(running[-1])
        return running

    def _turn(self, rows: Any) -> Any:
        """What thinning counts: of each kind of update its own rows.

        Two updates a step would otherwise leave every second row to one of them.
        """
        kinds = [measured.tobytes() for measured in rows.measured]
        alone = set(kinds) | set(self._turns)
        turns = np.empty(len(kinds), dtype="int64")
        for i, kind in enumerate(kinds):
            step = int(rows.iteration[i])
            turns[i] = step if len(alone) == 1 else self._turns.get(kind, -1) + 1
            self._turns[kind] = int(turns[i])
        return turns

    def _taps_in_place(self, values: Any, taps: Any) -> Any:
        """Values of these taps in the columns of all, NaN elsewhere."""
        columns = tap_columns(self.taps)
        places = np.array([columns.index(one) for one in tap_columns(taps)], int)
        table = np.full((len(values), len(columns)), np.nan)
        table[:, places] = values
        return table

    def _close_epoch(self) -> dict[str, Any] | None:
        """Finish the running epoch's summary and return it.

        Returns:
            The summary by column, `None` where no step was recorded.
        """
        running, self._running = self._running, None
        if running is None:
            return None
        counts = np.where(running["counts"] > 0, running["counts"], np.nan)
        summary = {
            "fit": running["fit"],
            "epoch": running["epoch"],
            "steps": running["steps"],
            "mean": running["sum"] / counts,
            "smallest": np.where(counts > 0, running["smallest"], np.nan),
            "largest": np.where(counts > 0, running["largest"], np.nan),
            "nonfinite": running["nonfinite"],
            "global_mean": running["global_sum"] / running["steps"],
        }
        self._epochs.append(
            np.array([True]), **{k: np.asarray(v)[None] for k, v in summary.items()}
        )
        return summary

    def _summarise(self, values: Any, fit: Any, epoch: Any) -> None:
        running = self._running
        if running is not None and (running["fit"], running["epoch"]) != (fit, epoch):
            self._close_epoch()
            running = None
        norm, measured = values["norm"], values["measured"]
        if not len(norm):
            return
        if running is None:
            groups = len(self.groups)
            running = self._running = {
                "fit": fit,
                "epoch": epoch,
                "steps": 0,
                "counts": np.zeros(groups),
                "sum": np.zeros(groups),
                "smallest": np.full(groups, np.inf),
                "largest": np.full(groups, -np.inf),
                "nonfinite": np.zeros(groups),
                "global_sum": 0.0,
            }
        running["steps"] += len(norm)
        running["counts"] += measured.sum(axis=0)
        running["sum"] += np.where(measured, norm, 0).sum(axis=0)
        lowest, highest = (
            np.where(measured, norm, bound) for bound in (np.inf, -np.inf)
        )
        running["smallest"] = np.minimum(running["smallest"], lowest.min(axis=0))
        running["largest"] = np.maximum(running["largest"], highest.max(axis=0))
        running["nonfinite"] += (~np.isfinite(norm) & measured).sum(axis=0)
        running["global_sum"] += float(values["global_norm"].sum())

    # Reading.

    def to_dict(self) -> dict[str, Any]:
        """Everything recorded, as plain lists and numbers (JSON-ready but for NaN).

        Returns:
            Columns by name; by group those that each group has.
        """
        detail, epochs = self.detail, self.epochs
        return {
            "name": self.name,
            "backend": self.backend,
            "kept_every": self.kept_every,
            "lost": self.lost,
            "without_gradient": list(self.without_gradient),
            "fit": self.fit.tolist(),
            "epoch": self.epoch.tolist(),
            "step": self.step.tolist(),
            "running_step": self.running_step.tolist(),
            "phase": self.phase.tolist(),
            "phases": [dataclasses.asdict(phase) for phase in self.phases],
            "global_norm": self.global_norm.tolist(),
            "groups": {
                group: {
                    "size": int(self.group_sizes[i]),
                    "norm": self.norm[:, i].tolist(),
                    "rms": self.rms[:, i].tolist(),
                    "finite": self.finite[:, i].tolist(),
                }
                for i, group in enumerate(self.groups)
            },
            "detail": {
                "step": detail["step"].tolist(),
                "groups": {
                    group: {key: detail[key][:, i].tolist() for key in _DETAILS}
                    for i, group in enumerate(self.groups)
                },
            },
            "epochs": {
                "epoch": epochs["epoch"].tolist(),
                "steps": epochs["steps"].tolist(),
                "groups": {
                    group: {
                        key: epochs[key][:, i].tolist()
                        for key in ("mean", "smallest", "largest", "nonfinite")
                    }
                    for i, group in enumerate(self.groups)
                },
            },
            "layer_outputs": {
                layer: {key: values.tolist() for key, values in statistics.items()}
                for layer, statistics in self.layer_outputs.items()
            },
        }

    def to_dataframe(self, what: str = "groups") -> Any:
        """A tidy `pandas.DataFrame`.

        Args:
            what: `"groups"` (one line per kept step and group), `"epochs"` (one per
                epoch and group) or `"layer_outputs"` (one per kept step and layer).

        Returns:
            The frame; `weight_norm`, `ratio` and `zero_share` are NaN in the steps
            where they were not measured.

        Raises:
            ValueError: If `what` is none of these.
        """
        pd = optional("pandas", "A DataFrame")

        if what == "epochs":
            return pd.DataFrame(self._epoch_lines())
        if what == "layer_outputs":
            return pd.DataFrame(self._layer_lines())
        if what != "groups":
            raise ValueError(
                "`what` must be 'groups', 'epochs' or 'layer_outputs'. "
                f"Received: what={what!r}"
            )
        rows, groups = self.norm.shape
        frame = pd.DataFrame(
            {
                "fit": np.repeat(self.fit, groups),
                "epoch": np.repeat(self.epoch, groups),
                "step": np.repeat(self.step, groups),
                "running_step": np.repeat(self.running_step, groups),
                "phase": np.repeat(self.phase, groups),
                "group": np.tile(np.asarray(self.groups, dtype=object), rows),
                "norm": self.norm.ravel(),
                "rms": self.rms.ravel(),
                "finite": self.finite.ravel(),
            }
        )
        frame = frame[self.measured.ravel()]
        detail = self.detail
        measured = pd.DataFrame(
            {
                "running_step": np.repeat(detail["running_step"], groups),
                "group": np.tile(
                    np.asarray(self.groups, dtype=object), len(detail["step"])
                ),
                **{key: detail[key].ravel() for key in _DETAILS},
            }
        )
        return frame.merge(measured, on=["running_step", "group"], how="left")

    def _epoch_lines(self) -> Any:
        epochs = self.epochs
        return [
            {
                "fit": int(epochs["fit"][row]),
                "epoch": int(epochs["epoch"][row]),
                "steps": int(epochs["steps"][row]),
                "group": group,
                **{
                    key: float(epochs[key][row, i])
                    for key in ("mean", "smallest", "largest", "nonfinite")
                },
            }
            for row in range(len(epochs["epoch"]))
            for i, group in enumerate(self.groups)
        ]

    def _layer_lines(self) -> Any:
        depth_group = {layer: group for layer, group, _ in self.taps}
        return [
            {
                "fit": int(self.fit[row]),
                "epoch": int(self.epoch[row]),
                "step": int(self.step[row]),
                "layer": layer,
                "group": depth_group[layer],
                **{key: float(values[row]) for key, values in statistics.items()},
            }
            for row in range(len(self))
            for layer, statistics in self.layer_outputs.items()
        ]

    def report(self) -> str:
        """What was seen, in words and one table. Also printable at any time.

        Returns:
            Text of several lines.
        """
        return _report.training_report(self)

    def plot(
        self, path: str | os.PathLike[str] | None = None, kind: str = "heatmap"
    ) -> Any:
        """Picture of the norms (needs matplotlib).

        Args:
            path: Where to save the picture, or `None`.
            kind: `"heatmap"` (depth by step, log colour) or `"lines"`.

        Returns:
            The `matplotlib.figure.Figure`.
        """
        return plots.plot_training(self, path, kind=kind)

    def to_html(
        self, path: str | os.PathLike[str], *, title: str | None = None
    ) -> None:
        """Write the record as one self-contained page (needs plotly).

        Args:
            path: Where to write it.
            title: The page's title, the record's name by default.
        """
        from keras_gradattn.gradients import html_report

        html_report.write_html(self, path, title=title)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one portable `.npz` file (no pickle inside).

        Args:
            path: Where to write it.
        """
        _record_file.save(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "GradientRecord":
        """Read what `save` wrote, also by version 0.1.

        Args:
            path: The file.

        Returns:
            A record.

        Raises:
            ValueError: If the file is not a record of gradient norms.
        """
        return _record_file.load(cls, path)

    @classmethod
    def join(
        cls, records: Sequence["GradientRecord"], *, name: str | None = None
    ) -> "GradientRecord":
        """One record of trainings that followed each other, a phase (or more) each.

        Args:
            records: In the order of time: a training and its continuation, or the
                phases of a fine-tuning.
            name: Name in reports and pictures, the first one's by default.

        Returns:
            A new record; `fit` and `running_step` count on.

        Raises:
            ValueError: Without records, or where histograms have other bins.

        Example:

        ```python
        norms.save("a.npz")
        whole = GradientRecord.join([GradientNorms.load("a.npz"), norms.record])
        ```
        """
        return _record_file.join(cls, records, name)


def _grouped(norms: Any, groups: Any) -> Any:
    """Roots of summed squares, by group."""
    # A matrix product would carry NaN into every group (0 x NaN): non-finite
    # members are set aside and put back into the groups that hold them.
    finite = np.isfinite(norms)
    grouped = np.sqrt(np.square(np.where(finite, norms, 0.0)) @ groups)
    for value, hit in ((np.inf, np.isinf(norms)), (np.nan, np.isnan(norms))):
        grouped[(hit @ groups) > 0] = value
    return grouped


def _first_column(values: Any) -> Any:
    return None if values is None else values[:, 0]
