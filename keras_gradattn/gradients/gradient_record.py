"""What was recorded during training: rows per step, summaries per epoch, one file."""

import json
import os
from collections.abc import Mapping

import numpy as np

from keras_gradattn.gradients import plots
from keras_gradattn.gradients import report as _report
from keras_gradattn.gradients._ring import Rows
from keras_gradattn.gradients.depth_groups import Grouping

_FORMAT = 1


class GradientRecord:
    """Gradient norms of training steps, grouped by depth.

    Filled by `GradientNorms`; `GradientRecord.load` reads a saved one.

    Args:
        grouping: Variables and their groups.
        sizes: Number of elements of each variable.
        taps: Per layer-output tap `(layer name, group, statistic names)`.
        every: Rows are kept whose step is a multiple of this.
        max_rows: Beyond this many rows every second one is dropped, again and again;
            epoch summaries still cover every step.
        name: Name in reports and pictures.
        backend: Keras backend that trained.

    Attributes:
        groups: Group names in the order of depth.
        step: (rows,) the optimizer's iteration before that step's update.
        epoch: (rows,) epoch of `fit`, from 0.
        fit: (rows,) running number of the `fit` call, from 0.
        norm: (rows, groups) L2 norm of the group's gradient.
        global_norm: (rows,) L2 norm over all trainable variables.
        kept_every: Rows are kept whose step is a multiple of this.
        lost: Steps whose rows were overwritten before they could be read.
        without_gradient: Paths of variables that the loss does not reach.
    """

    def __init__(
        self,
        grouping: Grouping,
        sizes: list[int],
        *,
        taps: list[tuple[str, str, tuple[str, ...]]] = (),
        every: int = 1,
        max_rows: int = 50_000,
        name: str = "model",
        backend: str = "",
    ):
        self.grouping = grouping
        self.sizes = tuple(int(size) for size in sizes)
        self.taps = tuple((n, g, tuple(s)) for n, g, s in taps)
        self.kept_every = every
        self.max_rows = max_rows
        self.name = name
        self.backend = backend
        self.lost = 0
        self.without_gradient: tuple[str, ...] = ()
        members = np.asarray(grouping.members, dtype=int)
        # (variables, groups) incidence; a variable in no group has an empty row.
        self._incidence = (
            members[:, None] == np.arange(len(grouping.names))[None]
        ).astype("float64")
        groups = len(grouping.names)
        self._tap_width = sum(len(statistics) for _, _, statistics in self.taps)
        self._rows = _Table(
            fit=(), epoch=(), step=(), norm=(groups,), global_norm=(),
            taps=(self._tap_width,),
        )  # fmt: skip
        self._details = _Table(
            fit=(), epoch=(), step=(), norm=(groups,), weight_norm=(groups,),
            zero_share=(groups,),
        )  # fmt: skip
        self._epochs = _Table(
            fit=(), epoch=(), steps=(), mean=(groups,), smallest=(groups,),
            largest=(groups,), nonfinite=(groups,), global_mean=(),
        )  # fmt: skip
        self._running: dict | None = None

    @property
    def groups(self) -> tuple[str, ...]:
        return self.grouping.names

    @property
    def group_sizes(self) -> np.ndarray:
        """(groups,) number of gradient elements of each group."""
        return np.asarray(self.sizes, dtype="float64") @ self._incidence

    @property
    def fit(self) -> np.ndarray:
        return self._rows["fit"].astype(int)

    @property
    def epoch(self) -> np.ndarray:
        return self._rows["epoch"].astype(int)

    @property
    def step(self) -> np.ndarray:
        return self._rows["step"].astype("int64")

    @property
    def norm(self) -> np.ndarray:
        return self._rows["norm"]

    @property
    def global_norm(self) -> np.ndarray:
        return self._rows["global_norm"]

    @property
    def rms(self) -> np.ndarray:
        """(rows, groups) root mean square per gradient element."""
        return self.norm / np.sqrt(self.group_sizes)

    @property
    def finite(self) -> np.ndarray:
        """(rows, groups) whether every element of the group's gradient is finite."""
        return np.isfinite(self.norm)

    @property
    def detail(self) -> dict[str, np.ndarray]:
        """Costlier columns, measured every `detail_every` steps.

        Keys: `fit`, `epoch`, `step`, `norm`, `weight_norm`, `ratio` (gradient norm
        to the norm of the updated weights) and `zero_share` (share of exactly zero
        gradient elements).
        """
        detail = {key: self._details[key] for key in self._details.shapes}
        with np.errstate(divide="ignore", invalid="ignore"):
            detail["ratio"] = detail["norm"] / detail["weight_norm"]
        for key in ("fit", "epoch", "step"):
            detail[key] = detail[key].astype("int64")
        return detail

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
        table, outputs, start = self._rows["taps"], {}, 0
        for layer, _, statistics in self.taps:
            outputs[layer] = {
                statistic: table[:, start + i] for i, statistic in enumerate(statistics)
            }
            start += len(statistics)
        return outputs

    def __len__(self) -> int:
        return len(self._rows)

    # Filling, called by the recorder.

    def add(self, rows: Rows, fit: int, epoch: int) -> None:
        """Append rows of one epoch."""
        self.lost += rows.lost
        norm = self._grouped(rows.norms)
        values = {
            "fit": np.full(len(norm), fit),
            "epoch": np.full(len(norm), epoch),
            "step": rows.iteration,
            "norm": norm,
            "global_norm": np.sqrt(np.sum(np.square(rows.norms), axis=1)),
        }
        self._summarise(values, fit, epoch)
        kept = rows.iteration % self.kept_every == 0
        self._rows.append(kept, taps=rows.taps, **values)
        if len(self._rows) > self.max_rows:
            self.kept_every *= 2
            self._rows.keep(self._rows["step"] % self.kept_every == 0)
        # Measured rows are told by their weight norms: NaN is "not measured" only
        # where the whole row is.
        measured = ~np.all(np.isnan(rows.zero_shares), axis=1)
        sizes = np.asarray(self.sizes, dtype="float64")
        zeros = (rows.zero_shares * sizes) @ self._incidence
        values.pop("global_norm")
        self._details.append(
            measured,
            weight_norm=self._grouped(rows.weight_norms),
            zero_share=zeros / self.group_sizes,
            **values,
        )
        if len(self._details) > self.max_rows:
            self._details.keep(np.arange(len(self._details)) % 2 == 0)

    def close_epoch(self) -> dict | None:
        """Finish the running epoch's summary and return it."""
        running, self._running = self._running, None
        if running is None:
            return None
        steps = running["steps"]
        summary = {
            "fit": running["fit"],
            "epoch": running["epoch"],
            "steps": steps,
            "mean": running["sum"] / steps,
            "smallest": running["smallest"],
            "largest": running["largest"],
            "nonfinite": running["nonfinite"],
            "global_mean": running["global_sum"] / steps,
        }
        self._epochs.append(
            np.array([True]), **{k: np.asarray(v)[None] for k, v in summary.items()}
        )
        return summary

    def _grouped(self, norms):
        # A matrix product would carry NaN into every group (0 x NaN): non-finite
        # members are set aside and put back into the groups that hold them.
        finite = np.isfinite(norms)
        grouped = np.sqrt(np.square(np.where(finite, norms, 0.0)) @ self._incidence)
        for value, hit in ((np.inf, np.isinf(norms)), (np.nan, np.isnan(norms))):
            grouped[(hit @ self._incidence) > 0] = value
        return grouped

    def _summarise(self, values, fit, epoch):
        running = self._running
        if running is not None and (running["fit"], running["epoch"]) != (fit, epoch):
            self.close_epoch()
            running = None
        norm = values["norm"]
        if running is None:
            groups = len(self.groups)
            running = self._running = {
                "fit": fit,
                "epoch": epoch,
                "steps": 0,
                "sum": np.zeros(groups),
                "smallest": np.full(groups, np.inf),
                "largest": np.full(groups, -np.inf),
                "nonfinite": np.zeros(groups),
                "global_sum": 0.0,
            }
        running["steps"] += len(norm)
        running["sum"] += norm.sum(axis=0)
        running["smallest"] = np.minimum(running["smallest"], norm.min(axis=0))
        running["largest"] = np.maximum(running["largest"], norm.max(axis=0))
        running["nonfinite"] += (~np.isfinite(norm)).sum(axis=0)
        running["global_sum"] += float(values["global_norm"].sum())

    # Reading.

    def to_dict(self) -> dict:
        """Everything recorded, as plain lists and numbers (JSON-ready but for NaN)."""
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
                    group: {
                        key: detail[key][:, i].tolist()
                        for key in ("weight_norm", "ratio", "zero_share")
                    }
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

    def to_dataframe(self, what: str = "groups"):
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
        import pandas as pd

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
                "group": np.tile(np.asarray(self.groups, dtype=object), rows),
                "norm": self.norm.ravel(),
                "rms": self.rms.ravel(),
                "finite": self.finite.ravel(),
            }
        )
        detail = self.detail
        measured = pd.DataFrame(
            {
                "fit": np.repeat(detail["fit"], groups),
                "step": np.repeat(detail["step"], groups),
                "group": np.tile(
                    np.asarray(self.groups, dtype=object), len(detail["step"])
                ),
                **{
                    key: detail[key].ravel()
                    for key in ("weight_norm", "ratio", "zero_share")
                },
            }
        )
        return frame.merge(measured, on=["fit", "step", "group"], how="left")

    def _epoch_lines(self):
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

    def _layer_lines(self):
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
        """What was seen, in words and one table. Also printable at any time."""
        return _report.training_report(self)

    def plot(self, path: str | os.PathLike | None = None, kind: str = "heatmap"):
        """Picture of the norms (needs matplotlib).

        Args:
            path: Where to save the picture, or `None`.
            kind: `"heatmap"` (depth by step, log colour) or `"lines"`.

        Returns:
            The `matplotlib.figure.Figure`.
        """
        return plots.plot_training(self, path, kind=kind)

    def save(self, path: str | os.PathLike) -> None:
        """Write one portable `.npz` file (no pickle inside)."""
        arrays = {
            f"{table}/{key}": getattr(self, f"_{table}")[key]
            for table in ("rows", "details", "epochs")
            for key in getattr(self, f"_{table}").shapes
        }
        metadata = {
            "format": _FORMAT,
            "names": self.grouping.names,
            "paths": self.grouping.paths,
            "members": self.grouping.members,
            "sizes": self.sizes,
            "taps": self.taps,
            "kept_every": self.kept_every,
            "max_rows": self.max_rows,
            "name": self.name,
            "backend": self.backend,
            "lost": self.lost,
            "without_gradient": self.without_gradient,
        }
        with open(path, "wb") as file:
            np.savez_compressed(file, metadata=np.array(json.dumps(metadata)), **arrays)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "GradientRecord":
        """Read what `save` wrote.

        Raises:
            ValueError: If the file is not a record of gradient norms.
        """
        with np.load(path, allow_pickle=False) as file:
            if "metadata" not in file.files or "rows/norm" not in file.files:
                raise ValueError(
                    "The file holds no record of gradient norms. "
                    f"Received: path={os.fspath(path)!r}"
                )
            metadata = json.loads(str(file["metadata"]))
            record = cls(
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
            )
            record.lost = metadata["lost"]
            record.without_gradient = tuple(metadata["without_gradient"])
            for table in ("rows", "details", "epochs"):
                target = getattr(record, f"_{table}")
                target.chunks = [{key: file[f"{table}/{key}"] for key in target.shapes}]
        return record


class _Table:
    """Columns of equal length that grow by chunks."""

    def __init__(self, **shapes):
        self.shapes: Mapping[str, tuple[int, ...]] = shapes
        self.chunks: list[dict[str, np.ndarray]] = []

    def append(self, mask, **columns):
        if not np.any(mask):
            return
        self.chunks.append(
            {key: np.asarray(columns[key], "float64")[mask] for key in self.shapes}
        )

    def keep(self, mask):
        self.chunks = [{key: self[key][mask] for key in self.shapes}]

    def __getitem__(self, key):
        if len(self.chunks) > 1:
            self.chunks = [
                {
                    name: np.concatenate([chunk[name] for chunk in self.chunks])
                    for name in self.shapes
                }
            ]
        if not self.chunks:
            return np.zeros((0, *self.shapes[key]))
        return self.chunks[0][key]

    def __len__(self):
        return sum(len(next(iter(chunk.values()))) for chunk in self.chunks)
