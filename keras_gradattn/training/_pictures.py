"""Pictures of one experiment, drawn from its JSON content alone."""

from pathlib import Path
from typing import Any

from keras_gradattn._whole_files import replace_file
from keras_gradattn.gradients.plots import COLOURS, line_look

# Cells with a number in them, points of text that can still be read, and errors that
# are named beside a confusion matrix.
_MOST_WITH_NUMBERS, _SMALLEST_TEXT, _LISTED = 20, 4.5, 20
_LONGEST_NAME = 24


def draw_history(content: dict[str, Any], path: Path) -> None:
    """Loss and accuracy over epochs, and the epoch whose weights were tested."""
    from matplotlib.figure import Figure

    configuration, history = content["configuration"], content["history"]
    epochs = history["epoch"]
    # A Figure of its own: pyplot would keep it and might need a display.
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, name, factor in ((left, "loss", 1), (right, "accuracy", 100)):
        lines = (("", "training"), ("val_", "validation"))
        for i, (prefix, label) in enumerate(lines):
            values = [factor * value for value in history[prefix + name]]
            axes.plot(epochs, values, marker=".", label=label, **line_look(i))
        axes.set_xlabel("epoch")
    tested = content["best_epoch"]
    if not configuration["recipe"]["restore_best_weights"]:
        tested = content["epochs_run"]
    right.axvline(tested, color="grey", linestyle=":")
    right.plot(
        tested, 100 * content["metrics"]["top1"], "k*", markersize=10, label="test"
    )
    left.set_ylabel("loss")
    right.set_ylabel("accuracy, %")
    right.legend()
    short = " (short)" if content["short"] else ""
    figure.suptitle(
        f"{configuration['model']} on {configuration['dataset']}, "
        f"{configuration['recipe']['name']}, seed {configuration['seed']}{short}"
    )
    save_picture(figure, path)


def draw_gradients(content: dict[str, Any], path: Path) -> None:
    """Gradient RMS by depth over the steps, and how many kernels were dead."""
    import numpy as np
    from matplotlib.figure import Figure

    configuration, gradients = content["configuration"], content["gradients"]
    training = gradients["training"]
    groups, steps = list(training["kernels"]), training["step"]
    rms = np.array([[v or np.nan for v in training["rms"][g]] for g in groups], float)
    edges = [0, *steps]
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    image = above.pcolormesh(edges, np.arange(len(groups) + 1), np.log10(rms))
    above.set_yticks(np.arange(len(groups)) + 0.5, groups)
    above.invert_yaxis()
    figure.colorbar(image, ax=above, label="log10 of gradient RMS")
    for i, group in enumerate(groups):
        below.stairs(training["dead"][group], edges, label=group, **line_look(i))
    below.set_ylabel("dead kernels")
    below.set_xlabel("training step")
    below.legend(ncols=min(6, len(groups)), fontsize="small")
    figure.suptitle(
        f"Gradients of {configuration['model']} on {configuration['dataset']}, "
        f"{configuration['recipe']['name']}, seed {configuration['seed']}"
    )
    save_picture(figure, path)


def draw_confusion(content: dict[str, Any], path: Path) -> None:
    """Shares of each class's images by what was predicted, and the commonest errors.

    At many classes single cells are small: the list beside them has names and numbers.
    """
    import numpy as np
    from matplotlib.figure import Figure

    metrics = content["metrics"]
    names = [_short(name) for name in metrics["class_names"]]
    counts = np.array(metrics["confusion_matrix"], float)
    present = counts.sum(axis=1, keepdims=True)
    shares = 100 * counts / np.maximum(present, 1)
    classes = len(names)
    side = min(14.0, max(4.0, 0.35 * classes))
    figure = Figure(figsize=(side + 4.5, max(side, 4.2)), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(side, 4))
    image = left.imshow(shares, vmin=0, vmax=100, cmap="Blues")
    size = min(9.0, 60 * side / max(classes, 1))
    # Names that could not be read are left out evenly.
    step = max(1, round(_SMALLEST_TEXT / size))
    shown = range(0, classes, step)
    size = max(size, _SMALLEST_TEXT)
    left.set_xticks(shown, [names[i] for i in shown], rotation=90, fontsize=size)
    left.set_yticks(shown, [names[i] for i in shown], fontsize=size)
    left.set_xlabel("predicted")
    left.set_ylabel("true")
    if classes <= _MOST_WITH_NUMBERS:
        for row, column in np.ndindex(classes, classes):
            value = shares[row, column]
            if counts[row, column]:
                colour = "white" if value > 50 else "black"
                left.text(
                    column, row, f"{value:.0f}", ha="center", va="center",
                    color=colour, fontsize=8,
                )  # fmt: skip
    figure.colorbar(image, ax=left, label="% of the true class", shrink=0.6)
    right.axis("off")
    right.set_title("commonest errors", loc="left", fontsize=10)
    right.text(
        0, 1, "\n".join(_commonest(counts, names)), va="top", fontsize=9,
        transform=right.transAxes,
    )  # fmt: skip
    figure.suptitle(f"Test images of {_title(content)}")
    save_picture(figure, path)


def _commonest(counts: Any, names: list[str]) -> list[str]:
    import numpy as np

    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:_LISTED]
    rows, columns = np.unravel_index(order, wrong.shape)
    return [
        f"{names[row]} as {names[column]}: {wrong[row, column]:.0f} "
        f"({100 * wrong[row, column] / counts[row].sum():.0f} %)"
        for row, column in zip(rows, columns, strict=True)
        if wrong[row, column]
    ] or ["none"]


def draw_calibration(content: dict[str, Any], path: Path) -> None:
    """How often predictions of each confidence are right: a reliability diagram."""
    import numpy as np
    from matplotlib.figure import Figure

    metrics = content["metrics"]
    bins = metrics["reliability"]
    edges = np.linspace(0, 100, len(bins["count"]) + 1)
    figure = Figure(figsize=(4.6, 5.4), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    accuracy = [np.nan if v is None else 100 * v for v in bins["accuracy"]]
    confidence = [np.nan if v is None else 100 * v for v in bins["confidence"]]
    above.bar(
        edges[:-1], accuracy, width=np.diff(edges), align="edge", color=COLOURS[0],
        edgecolor="white",
    )  # fmt: skip
    above.plot(confidence, accuracy, "k.", label="mean confidence")
    above.plot([0, 100], [0, 100], color="grey", linestyle=":", label="calibrated")
    above.set_ylabel("accuracy, %")
    above.legend(fontsize="small")
    below.bar(
        edges[:-1], bins["count"], width=np.diff(edges), align="edge", color="grey",
        edgecolor="white",
    )  # fmt: skip
    below.set_ylabel("images")
    below.set_xlabel("confidence, %")
    error = f"calibration error {100 * metrics['expected_calibration_error']:.1f} %"
    if (calibrated := metrics["calibrated_calibration_error"]) is not None:
        error += f", {100 * calibrated:.1f} % after temperature scaling"
    figure.suptitle(f"{_title(content)}\n{error}", fontsize=10)
    save_picture(figure, path)


def draw_errors(content: dict[str, Any], images: Any, path: Path) -> None:
    """The wrong predictions that the network is surest of, as images."""
    import numpy as np
    from matplotlib.figure import Figure

    errors = content["worst_errors"]
    names = [_short(name) for name in content["metrics"]["class_names"]]
    columns = min(6, len(errors))
    rows = -(-len(errors) // columns)
    figure = Figure(figsize=(1.8 * columns, 2.3 * rows), layout="constrained")
    places = figure.subplots(rows, columns, squeeze=False).ravel()
    pixels = np.asarray(images[[error["position"] for error in errors]])
    for axes in places:
        axes.axis("off")
    for axes, error, image in zip(places, errors, pixels, strict=False):
        levels = image / 255 if image.dtype != np.uint8 else image
        if levels.shape[-1] == 2 or levels.shape[-1] > 4:
            levels = levels[..., :1]
        grey = levels.shape[-1] == 1
        axes.imshow(levels[..., 0] if grey else levels, cmap="gray" if grey else None)
        axes.set_title(
            f"{names[error['label']]}\nas {names[error['predicted']]} "
            f"({100 * error['probability']:.0f} %)",
            fontsize=8,
        )
    figure.suptitle(f"Worst errors of {_title(content)}", fontsize=10)
    save_picture(figure, path)


def _title(content: dict[str, Any]) -> str:
    configuration = content["configuration"]
    return (
        f"{configuration['model']} on {configuration['dataset']}, "
        f"{configuration['recipe']['name']}, seed {configuration['seed']}"
    )


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def save_picture(figure: Any, path: Path) -> None:
    """Write a PNG, whole or not at all."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        # A dollar in the name of a class or layer begins no formula.
        text.set_parse_math(False)
    replace_file(path, lambda file: figure.savefig(file, format="png", dpi=120))


# By the end of their files' names.
OF_A_RESULT = {
    "history": draw_history,
    "gradients": draw_gradients,
    "confusion": draw_confusion,
    "calibration": draw_calibration,
}
