"""Pictures of one experiment, drawn from its JSON content alone."""

from pathlib import Path
from typing import Any

from keras_gradattn.training._files import replace_file


def draw_history(content: dict[str, Any], path: Path) -> None:
    """Loss and accuracy over epochs, and the epoch whose weights were tested."""
    from matplotlib.figure import Figure

    configuration, history = content["configuration"], content["history"]
    epochs = history["epoch"]
    # A Figure of its own: pyplot would keep it and might need a display.
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, name, factor in ((left, "loss", 1), (right, "accuracy", 100)):
        for prefix, label in (("", "training"), ("val_", "validation")):
            values = [factor * value for value in history[prefix + name]]
            axes.plot(epochs, values, marker=".", label=label)
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
    for group in groups:
        below.stairs(training["dead"][group], edges, label=group)
    below.set_ylabel("dead kernels")
    below.set_xlabel("training step")
    below.legend(ncols=min(6, len(groups)), fontsize="small")
    figure.suptitle(
        f"Gradients of {configuration['model']} on {configuration['dataset']}, "
        f"{configuration['recipe']['name']}, seed {configuration['seed']}"
    )
    save_picture(figure, path)


def save_picture(figure: Any, path: Path) -> None:
    """Write a PNG, whole or not at all."""
    replace_file(path, lambda file: figure.savefig(file, format="png", dpi=120))
