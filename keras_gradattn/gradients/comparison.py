"""Several networks or runs side by side."""

import dataclasses
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from keras_gradattn._extras import optional
from keras_gradattn.gradients import plots
from keras_gradattn.gradients.gradient_flow import GradientFlow
from keras_gradattn.gradients.gradient_norms import GradientNorms
from keras_gradattn.gradients.gradient_record import GradientRecord
from keras_gradattn.gradients.report import table

Run = GradientNorms | GradientRecord | GradientFlow


@dataclasses.dataclass(frozen=True)
class GradientComparison:
    """Gradient by depth of several runs.

    Attributes:
        lines: One dictionary for each run and depth, with `run` (its name), `depth` (0
            at the input to 1 at the output), `where` (name of the group, or of the
            layer of a flow), `first` and `last`. Of a training these are the means of
            the first and of the last epoch. Of a flow they are equal.
        measure: What `first` and `last` measure, in words.

    Example:

    ```python
    comparison = compare_gradients({"plain": norms_plain, "residual": norms_residual})
    print(comparison.report())
    comparison.input_to_output()  # by run
    ```
    """

    lines: tuple[dict[str, Any], ...]
    measure: str

    def to_dataframe(self) -> Any:
        """The lines as a `pandas.DataFrame`."""
        pd = optional("pandas", "A DataFrame")

        return pd.DataFrame(list(self.lines))

    def input_to_output(self) -> dict[str, float]:
        """By run: the measure nearest the input, divided by that nearest the output."""
        ratios = {}
        for run in dict.fromkeys(line["run"] for line in self.lines):
            own = [line["last"] for line in self.lines if line["run"] == run]
            ratios[run] = own[0] / own[-1] if own[-1] else float("nan")
        return ratios

    def report(self) -> str:
        """A table of all runs, and how much of the gradient arrives at the input."""
        rows = [
            [line["run"], line["where"], f"{line['first']:.3g}", f"{line['last']:.3g}"]
            for line in self.lines
        ]
        ratios = [
            f"{run!r}: input over output {ratio:.3g}"
            for run, ratio in self.input_to_output().items()
        ]
        return "\n".join(
            [
                f"Gradient by depth: {self.measure}",
                "",
                *table(["run", "where", "first epoch", "last epoch"], rows),
                "",
                *ratios,
            ]
        )

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Draw all runs (needs matplotlib): dotted the first epoch, solid the last.

        Args:
            path: Where to save the picture, or `None`.

        Returns:
            The `matplotlib.figure.Figure`.
        """
        return plots.plot_comparison(self, path)


def compare_gradients(runs: Mapping[str, Run]) -> GradientComparison:
    """Put several records, or several gradient flows, side by side.

    Args:
        runs: By name, what is to be compared: either `GradientNorms` callbacks and
            loaded records, or gradient flows.

    Returns:
        A `GradientComparison`. Of trainings it has the RMS of the gradient's elements
        by group. Of flows it has the product |a||g| of each layer.

    Raises:
        ValueError: If there is no run, an empty run, or runs of both kinds.

    Example:

    ```python
    compare_gradients({"plain": norms_plain, "residual": norms_residual}).plot("a.png")
    ```
    """
    records: dict[str, Any] = {
        name: run.record if isinstance(run, GradientNorms) else run
        for name, run in runs.items()
    }
    kinds = {type(run) for run in records.values()}
    if kinds == {GradientRecord}:
        lines, measure = _training_lines(records), "RMS per element of the gradient"
    elif kinds == {GradientFlow}:
        lines, measure = _flow_lines(records), "|a||g| per sample at layer outputs"
    else:
        raise ValueError(
            "`compare_gradients` takes at least one run, and either training records "
            f"or gradient flows. Received: {sorted(kind.__name__ for kind in kinds)}"
        )
    return GradientComparison(tuple(lines), measure)


def _training_lines(runs: Any) -> Iterator[Any]:
    for name, record in runs.items():
        if not len(record.epochs["epoch"]):
            raise ValueError(f"Run {name!r} holds no finished epoch.")
        first, last = (_rms_of_epoch(record, place) for place in (0, -1))
        for i, group in enumerate(record.groups):
            yield {
                "run": name,
                "depth": i / max(len(record.groups) - 1, 1),
                "where": group,
                "first": float(first[i]),
                "last": float(last[i]),
            }


def _rms_of_epoch(record: Any, place: int) -> Any:
    """(groups,) mean norm of the first or last epoch, by its trained elements."""
    fit, epoch, mean = (record.epochs[key][place] for key in ("fit", "epoch", "mean"))
    # A summary ends with its phase.
    rows = np.flatnonzero((record.fit == fit) & (record.epoch == epoch))
    if len(rows):
        phase = record.phase[rows[place]]
    else:  # thinned out
        phase = max(one.number for one in record.phases if one.fit <= fit)
    with np.errstate(divide="ignore", invalid="ignore"):
        return mean / np.sqrt(record._sizes_by_phase()[phase])


def _flow_lines(runs: Any) -> Iterator[Any]:
    for name, flow in runs.items():
        product = flow.mean("product")
        for i, layer in enumerate(flow.layers):
            yield {
                "run": name,
                "depth": i / max(len(flow.layers) - 1, 1),
                "where": layer,
                "first": float(product[i]),
                "last": float(product[i]),
            }
