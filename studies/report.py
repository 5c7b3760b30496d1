"""`results/README.md` and its figures, from the JSONs of the runs and nothing else."""

import dataclasses
import json
import math
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from keras_gradattn import datasets
from keras_gradattn.training._files import replace_file
from keras_gradattn.training.comparison import (
    group_by_seed,
    published,
    read_results,
    remarks,
    table,
)
from keras_gradattn.training.experiment import MODELS
from keras_gradattn.training.recipe import RECIPES, RELEASED_INITIALIZATION_MODELS
from studies.reading import (
    MODEL_TITLES,
    RECIPE_TITLES,
    Experiment,
    best_validation,
    dead_share,
    difference,
    is_standard,
    is_standard_or_control,
    network_title,
    of,
    over_seeds,
    recipe_name,
    recipe_title,
    top1,
)
from studies.report_equal_length import equal_length_section
from studies.report_pathways import pathways_section
from studies.report_trainability import trainability_section
from studies.report_variants import variants_section

_LEAST_NORM_SHOWN = 1e-3
_CAUSE_TITLES = {
    "fixed_steps_coupled": "coupled L2",
    "fixed_steps_decoupled": "decoupled decay",
    "fixed_steps_no_decay": "no decay",
}
# Accuracy of networks that others trained, with whom to ask.
_REFERENCES = {
    "cifar10": "95.28, ResNet-18 with a 3x3 stem (uoguelph-mlrg/Cutout, five runs)",
    "tiny_imagenet": "61.68, ResNet-18 with a 3x3 stem, 400 epochs "
    "(Westlake-AI/openmixup)",
    "fashion_mnist": "94.9, ResNet-18 (zalandoresearch/fashion-mnist, user-submitted)",
    "svhn": "96.64 on the official test set, ResNet-18 "
    "(Lopa07/pytorch-cifar10-resnet18)",
    "bloodmnist": "97.06, ResNet-18 with ImageNet weights "
    "(sdoerrich97/rethinking-model-prototyping-MedMNISTPlus)",
    "tissuemnist": "67.36, ResNet-18 with ImageNet weights "
    "(sdoerrich97/rethinking-model-prototyping-MedMNISTPlus)",
    "pcam": "89.8, a G-DenseNet (basveeling/pcam)",
    "pad_ufes_20": ".651 balanced, ResNet-50 with ImageNet weights (Pacheco and "
    "Krohling, quoted second hand)",
}
_PUBLISHED_TITLES = tuple(MODEL_TITLES.values())
_FIGURES = "figures"
_BOOTSTRAPS = 2000


def write_report(results: str | Path = "results") -> Path:
    """Write `README.md` and its figures into a folder of results.

    Args:
        results: Folder that `run` wrote to.

    Returns:
        Path of the `README.md`.

    Raises:
        ValueError: If the folder has no finished experiment.

    Example:

    ```python
    keras_gradattn.training.write_report("results")
    ```
    """
    folder = Path(results)
    experiments = read_results(folder)
    (folder / _FIGURES).mkdir(exist_ok=True)
    sections = [
        _introduction(experiments),
        *(_accuracy(experiments, name) for name in _datasets_of(experiments)),
        equal_length_section(experiments),
        _defects(experiments, folder),
        _gradients(experiments, folder),
        _cause(experiments, folder),
        _attention(experiments, folder),
        pathways_section(experiments, folder / _FIGURES / "pathways.png"),
        trainability_section(experiments, folder / _FIGURES / "depth.png"),
        variants_section(experiments),
        _not_run(experiments),
        _every_run(experiments),
    ]
    text = "\n\n".join(section for section in sections if section) + "\n"
    path = folder / "README.md"
    replace_file(path, lambda file: file.write(text.encode()))
    return path


def rank_correlation(
    x: Sequence[float], y: Sequence[float], seed: int = 0
) -> tuple[float, float, float]:
    """Spearman's rank correlation with a 95 % bootstrap interval.

    Args:
        x: First measure, one value a run.
        y: Second measure, one value a run.
        seed: Seed of the bootstrap.

    Returns:
        Correlation, lower and upper end of the interval (percentiles over 2,000
        resamplings of the runs; resamplings in which a measure is constant are left
        out). NaN where a measure is constant.
    """
    import numpy as np

    # scikit-learn's dependency; its spearmanr warns on constant input.
    from scipy.stats import rankdata

    def spearman(a: Any, b: Any) -> float:
        a, b = rankdata(a), rankdata(b)
        if np.ptp(a) == 0 or np.ptp(b) == 0:
            return math.nan
        return float(np.corrcoef(a, b)[0, 1])

    x, y = np.asarray(x, float), np.asarray(y, float)
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, len(x), (_BOOTSTRAPS, len(x)))
    drawn = np.array([spearman(x[row], y[row]) for row in rows])
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return math.nan, math.nan, math.nan
    low, high = np.percentile(drawn, [2.5, 97.5])
    return spearman(x, y), float(low), float(high)


# === Sections ===


def _introduction(experiments: list[Experiment]) -> str:
    backends = sorted({e["backend"] for e in experiments})
    hardware = sorted(
        {
            e["hardware"]["accelerator"] or f"{e['hardware']['cpu_cores']} CPU cores"
            for e in experiments
        }
    )
    short = sum(e["short"] for e in experiments)
    return "\n".join(
        [
            "# Results",
            "",
            "Written by `python -m keras_gradattn report` from the JSON files in this "
            "folder and from nothing else.",
            "",
            f"{len(experiments)} runs, {short} of them short (cut before their recipe "
            "would have ended them), on "
            f"{', '.join(backends)} ({', '.join(hardware)}). Accuracies are test top-1 "
            "in percent: mean over seeds and their sample standard deviation; a "
            "figure without a deviation is one seed, and a difference between single "
            "seeds says nothing about which network is better. "
            '"Published" are the figures of Ghoshal and Buckchash (2026), one seed.',
        ]
    )


def _accuracy(experiments: list[Experiment], dataset: str) -> str:
    chosen = [
        e
        for e in experiments
        if of(e, "dataset") == dataset
        and is_standard_or_control(e)
        and not _is_cause(e)
    ]
    recipes, networks = _recipes_of(chosen), _networks_of(chosen)
    if not recipes:
        return ""
    rows = []
    for network, model in networks.items():
        # A control was not published.
        reference = published(dataset, model) if network in _PUBLISHED_TITLES else None
        rows.append(
            (
                network,
                f"{reference['test_top1']:.2f}" if reference else "",
                *(_cell(chosen, network, recipe) for recipe in recipes),
            )
        )
    lines = [
        f"## {datasets.spec(dataset).title}",
        "",
        table(("", "published", *recipes), rows, "markdown"),
    ]
    if reference := _REFERENCES.get(dataset):
        lines += ["", f"Reference: {reference}."]
    lines += ["", *_differences(chosen, networks, recipes)]
    return "\n".join(lines).rstrip()


def _recipes_of(experiments: list[Experiment]) -> list[str]:
    """Titles of their recipes: ours in their order, then one's own."""
    known = list(RECIPE_TITLES.values())

    def place(title: str) -> tuple[int, str]:
        base = title.split(",")[0]
        return (known.index(base) if base in known else len(known), title)

    return sorted({recipe_title(e) for e in experiments}, key=place)


def _networks_of(experiments: list[Experiment]) -> dict[str, str]:
    """Titles of their networks to models, controls behind what they are controls of."""
    found = {(of(e, "model"), network_title(e)) for e in experiments}
    order = list(MODELS)
    ordered = sorted(found, key=lambda pair: (order.index(pair[0]), pair[1]))
    return {title: model for model, title in ordered}


def _differences(
    chosen: list[Experiment], networks: Iterable[str], recipes: Iterable[str]
) -> list[str]:
    """Each network against ResNet-18, only where seeds allow a statement."""
    lines = []
    for recipe in recipes:
        plain = top1(_seeds(chosen, "ResNet-18", recipe))
        for network in networks:
            other = top1(_seeds(chosen, network, recipe))
            if network == "ResNet-18" or len(plain) < 2 or len(other) < 2:
                continue
            between, low, high = difference(other, plain)
            verdict = "a difference" if low * high > 0 else "no difference is shown"
            lines.append(
                f"* {network} minus ResNet-18, {recipe}: {between:+.2f} (95 % interval "
                f"{low:+.2f} to {high:+.2f}; {len(other)} and {len(plain)} seeds): "
                f"{verdict}."
            )
    return lines


def _defects(experiments: list[Experiment], folder: Path) -> str:
    columns = list(RECIPE_TITLES)[:5]
    rows, accuracies = [], {}
    for dataset in _datasets_of(experiments):
        chosen = [e for e in experiments if of(e, "dataset") == dataset]
        for model in MODELS:
            runs = [_repaired(chosen, dataset, model, recipe) for recipe in columns]
            # A row says something only where a repair can be compared.
            if not runs[0] or not any(runs[1:4]):
                continue
            title = datasets.spec(dataset).title
            reference = published(dataset, model)
            rows.append(
                (
                    title,
                    MODEL_TITLES[model],
                    f"{reference['test_top1']:.2f}" if reference else "",
                    *(_repaired_cell(found) for found in runs),
                )
            )
            accuracies[f"{MODEL_TITLES[model]}, {title}"] = [
                reference["test_top1"] if reference else None,
                *(statistics.fmean(t for _, t in found) if found else None
                  for found in runs),
            ]  # fmt: skip
    if not rows:
        return ""
    titles = [RECIPE_TITLES[column] for column in columns]
    figure = f"{_FIGURES}/defects.png"
    _draw_defects(["published", *titles], accuracies, folder / figure)
    return "\n".join(
        [
            "## One defect at a time",
            "",
            "The released training with single defects repaired: its training pixels, "
            "and testing the best epoch's weights rather than the last one's. A star: "
            "tested in the run of another column, whose training is the same (every "
            "run tests both weights; its other differences are in networks that the "
            "row is not about).",
            "",
            table(("", "", "published", *titles), rows, "markdown"),
            "",
            f"![Test accuracy by repaired defect]({figure})",
        ]
    )


def _repaired(
    chosen: list[Experiment], dataset: str, model: str, name: str
) -> list[tuple[bool, float]]:
    """Accuracy of one network under one recipe, by whichever run trained it so.

    One entry a seed: whether it was borrowed from the run of another recipe, and the
    test accuracy in percent.
    """
    recipe = RECIPES[name].for_dataset(dataset)
    training = _training(dataclasses.asdict(recipe), model)
    by_seed: dict[int, tuple[bool, float]] = {}
    for e in filter(is_standard, chosen):
        found = e["configuration"]["recipe"]
        if e["short"] or of(e, "model") != model or _training(found, model) != training:
            continue
        if found["restore_best_weights"] == recipe.restore_best_weights:
            metrics = e["metrics"]
        elif "other_weights" in e:
            metrics = e["other_weights"]["metrics"]
        else:
            continue
        # The recipe's own run before any other of that seed.
        entry = (recipe_name(e) != name, 100 * metrics["top1"])
        by_seed[of(e, "seed")] = min(by_seed.get(of(e, "seed"), entry), entry)
    return list(by_seed.values())


def _repaired_cell(found: list[tuple[bool, float]]) -> str:
    if not found:
        return ""
    return over_seeds([accuracy for _, accuracy in found]) + (
        "*" if any(borrowed for borrowed, _ in found) else ""
    )


def _training(recipe: dict[str, Any], model: str) -> str:
    """What of a recipe acts on the training of one network."""
    acting = dict(recipe)
    # Both decide what is reported, not what is trained.
    del acting["name"], acting["restore_best_weights"]
    acting["released_v1_head"] &= model == "gradattn_v1"
    acting["released_initialization"] &= model in RELEASED_INITIALIZATION_MODELS
    # As JSON: a recipe in a file has lists where ours has tuples.
    return json.dumps(acting, sort_keys=True)


def _gradients(experiments: list[Experiment], folder: Path) -> str:
    chosen = [e for e in filter(is_standard, experiments) if e["gradients"].get("test")]
    if not chosen:
        return ""
    rows = [
        (
            datasets.spec(of(e, "dataset")).title,
            MODEL_TITLES[of(e, "model")],
            recipe_name(e),
            str(of(e, "seed")),
            f"{e['gradients']['test']['published']['health_percent']:.1f}",
            f"{e['gradients']['test']['health_percent']:.1f}",
            f"{100 * dead_share(e):.1f}",
            f"{best_validation(e):.2f}",
            "short" if e["short"] else "",
        )
        for e in chosen
    ]
    lines = [
        "## Gradient health and accuracy",
        "",
        "Health as published (share of registered layers whose mean whole-batch "
        "gradient norm lies between 1e-6 and 10; at most 91.43 % for V1 and V2 and "
        "92.68 % for V3, whatever the network does), corrected (only layers that can "
        "receive a gradient), and the share of kernels whose gradient was exactly "
        "zero in every step of the last recorded window.",
        "",
        table(
            ("", "", "recipe", "seed", "health, published %", "health, corrected %",
             "dead kernels %", "best validation %", ""),
            rows,
            "markdown",
        ),
    ]  # fmt: skip
    for dataset in _datasets_of(chosen):
        runs = [e for e in chosen if of(e, "dataset") == dataset and not _is_cause(e)]
        if len(runs) < 4:
            continue
        lines += _correlations("", dataset, runs)
        # Damaged pixels cost accuracy whatever the gradients do.
        intact = [e for e in runs if not of(e, "recipe")["released_pixels"]]
        if 4 <= len(intact) < len(runs):
            lines += _correlations(", correct pixels alone", dataset, intact)
        figure = f"{_FIGURES}/gradients_{dataset}.png"
        accuracies = [best_validation(e) for e in runs]
        _draw_gradients(runs, _health(runs), accuracies, folder / figure)
        lines += ["", f"![Gradient health and validation accuracy]({figure})"]
    return "\n".join(lines)


def _health(runs: list[Experiment]) -> dict[str, list[float]]:
    """Each measure's name, and its percentage in every run."""
    test = [e["gradients"]["test"] for e in runs]
    return {
        "published health": [t["published"]["health_percent"] for t in test],
        "corrected health": [t["health_percent"] for t in test],
        "share of dead kernels": [100 * dead_share(e) for e in runs],
    }


def _correlations(which: str, dataset: str, runs: list[Experiment]) -> list[str]:
    accuracies = [best_validation(e) for e in runs]
    title = datasets.spec(dataset).title
    lines = ["", f"Rank correlation with validation accuracy, {title}, "
             f"{len(runs)} runs{which}:", ""]  # fmt: skip
    for name, values in _health(runs).items():
        rho, low, high = rank_correlation(values, accuracies)
        lines.append(
            f"* {name}: {rho:+.2f} (95 % bootstrap interval {low:+.2f} to {high:+.2f})"
            if math.isfinite(rho)
            else f"* {name}: the same in every run, no correlation exists"
        )
    return lines


def _cause(experiments: list[Experiment], folder: Path) -> str:
    chosen = [e for e in filter(is_standard, experiments) if _is_cause(e)]
    if not chosen:
        return ""
    rows = []
    for e in sorted(chosen, key=lambda e: (of(e, "model"), recipe_name(e))):
        norms = e["weight_norms"]["norms"]
        dead = e["gradients"]["training"]["windows"][-1]["dead"]
        kernels = e["gradients"]["training"]["kernels"]
        rows.append(
            (
                MODEL_TITLES[of(e, "model")],
                _CAUSE_TITLES[recipe_name(e)],
                str(of(e, "seed")),
                f"{e['steps']:,}",
                *(f"{n[0]:.1f} → {n[-1]:.2f}, {dead[g]}/{kernels[g]}"
                  for g, n in norms.items()),
                f"{best_validation(e):.2f}",
                "short" if e["short"] else "",
            )
        )  # fmt: skip
    groups = list(chosen[0]["weight_norms"]["norms"])
    figure = f"{_FIGURES}/decay.png"
    _draw_cause(chosen, folder / figure)
    return "\n".join(
        [
            "## Does coupled L2 starve layers?",
            "",
            "Fixed numbers of steps at one learning rate, only the decay differs. Per "
            "depth: norm of all kernels at the start → at the end, and kernels that "
            "were dead in the last window (gradient exactly zero in every step).",
            "",
            table(
                ("", "decay", "seed", "steps", *groups, "best validation %", ""),
                rows,
                "markdown",
            ),
            "",
            f"![Weight norms and dead kernels over steps]({figure})",
        ]
    )


def _attention(experiments: list[Experiment], folder: Path) -> str:
    chosen = [
        e for e in experiments if e.get("attention") and is_standard_or_control(e)
    ]
    if not chosen:
        return ""
    chosen.sort(key=lambda e: (of(e, "dataset"), network_title(e), recipe_name(e)))
    rows = []
    for e in chosen:
        attention = e["attention"]
        movement = [sum(heads) / len(heads) for heads in attention["movement"]]
        shares = zip(
            attention["depth_share"][-1],
            attention["depth_share_deviation"][-1],
            strict=True,
        )
        rows.append(
            (
                datasets.spec(of(e, "dataset")).title,
                network_title(e),
                recipe_title(e),
                str(of(e, "seed")),
                " / ".join(f"{100 * value:.1f}" for value in movement),
                *(f"{100 * mean:.1f} ± {100 * std:.1f}" for mean, std in shares),
                f"{100 * e['metrics']['top1']:.2f}",
                "short" if e["short"] else "",
            )
        )
    figure = f"{_FIGURES}/attention.png"
    _draw_attention(chosen, folder / figure)
    header = (
        "data set", "", "recipe", "seed", "moves, % by block",
        *(f"{stage}, %" for stage in chosen[0]["attention"]["stages"]),
        "test accuracy %", "",
    )  # fmt: skip
    return "\n".join(
        [
            "## What attention over depth does",
            "",
            "How far an image's attention map lies from the mean map (half the sum of "
            "absolute differences of a row, averaged over heads: 0 is a fixed "
            "weighing, 100 a wholly different one), block by block; and what each "
            "depth gives in the last block, mean and standard deviation over test "
            "images. *Static* weighs by learned numbers that no image changes, *equal* "
            "by a plain mean.",
            "",
            table(header, rows, "markdown"),
            "",
            f"![Mean attention over depth by network and block]({figure})",
        ]
    )


def _not_run(experiments: list[Experiment]) -> str:
    ran = set(_datasets_of(experiments))
    rows = []
    for name, spec in datasets.SPECS.items():
        figures = {m: published(name, m) for m in MODELS}
        figures = {m: f["test_top1"] for m, f in figures.items() if f}
        if name in ran or not figures:
            continue
        best = max((m for m in figures if m.startswith("gradattn")), key=figures.get)
        rows.append(
            (
                spec.title,
                f"{figures['resnet18']:.2f}",
                f"{figures[best]:.2f} ({MODEL_TITLES[best]})",
                _REFERENCES.get(name, ""),
                f"`python -m keras_gradattn run --dataset {name} --model {best} "
                "--recipe as_described --data-dir DIR`",
            )
        )
    if not rows:
        return ""
    return "\n".join(
        [
            "## Not run here",
            "",
            table(
                ("data set", "published ResNet-18", "published, best GradAttn",
                 "trained by others", "command"),
                rows,
                "markdown",
            ),
        ]
    )  # fmt: skip


def _every_run(experiments: list[Experiment]) -> str:
    rows = [
        (
            f"[{e['file']}]({e['file']})",
            f"{100 * e['metrics']['top1']:.2f}",
            f"{100 * e['metrics']['expected_calibration_error']:.2f}",
            str(e["epochs_run"]),
            str(e["best_epoch"]),
            f"{e['training_seconds'] / 60:.0f}",
            f"{e['backend']}, "
            + (e["hardware"]["accelerator"] or f"{e['hardware']['cpu_cores']} cores"),
            ", ".join(filter(None, [_changes(e), remarks([e])])),
        )
        for e in experiments
    ]
    header = (
        "run", "test accuracy %", "calibration error %", "epochs", "best epoch",
        "minutes", "on", "remarks",
    )  # fmt: skip
    return "## Every run\n\n" + table(header, rows, "markdown")


def _changes(experiment: Experiment) -> str:
    """Fields of the recipe that were set otherwise."""
    return ", ".join(recipe_title(experiment).split(", ")[1:])


# === Figures ===


def _draw_defects(
    titles: Sequence[str], accuracies: dict[str, list[float | None]], path: Path
) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(accuracies)
    for index, (name, values) in enumerate(accuracies.items()):
        shift = (index - (len(accuracies) - 1) / 2) * width
        present = [(i + shift, v) for i, v in enumerate(values) if v is not None]
        bars = axes.bar(*zip(*present, strict=True), width, label=name)
        axes.bar_label(bars, fmt="%.1f", fontsize=7)
    axes.set_xticks(range(len(titles)), titles, fontsize="small")
    axes.set_ylabel("test accuracy, %")
    axes.set_ylim(0, 100)
    figure.legend(loc="outside upper center", ncols=2, fontsize="small")
    figure.savefig(path, dpi=120)


def _draw_gradients(
    runs: list[Experiment],
    measures: dict[str, list[float]],
    accuracies: list[float],
    path: Path,
) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.6), layout="constrained")
    panels = figure.subplots(1, len(measures), sharey=True)
    names = dict.fromkeys(of(e, "model") for e in runs)
    for axes, (name, values) in zip(panels, measures.items(), strict=True):
        for model in names:
            mine = [i for i, e in enumerate(runs) if of(e, "model") == model]
            axes.plot(
                [values[i] for i in mine],
                [accuracies[i] for i in mine],
                "o",
                label=MODEL_TITLES[model],
            )
        axes.set_xlabel(f"{name}, %")
    panels[0].set_ylabel("best validation accuracy, %")
    panels[-1].legend(fontsize="small")
    figure.savefig(path, dpi=120)


def _draw_cause(runs: list[Experiment], path: Path) -> None:
    from matplotlib.figure import Figure

    models = list(dict.fromkeys(of(e, "model") for e in runs))
    figure = Figure(
        figsize=(4 * len(_CAUSE_TITLES), 5 * len(models)), layout="constrained"
    )
    panels = figure.subplots(
        2 * len(models), len(_CAUSE_TITLES), sharey="row", squeeze=False
    )
    for row, model in enumerate(models):
        for column, (recipe, title) in enumerate(_CAUSE_TITLES.items()):
            above, below = panels[2 * row][column], panels[2 * row + 1][column]
            above.set_title(f"{MODEL_TITLES[model]}, {title}")
            above.set_yscale("log")
            for e in runs:
                if (of(e, "model"), recipe_name(e)) != (model, recipe):
                    continue
                windows = e["gradients"]["training"]["windows"]
                steps = [window["step"] for window in windows]
                for index, (group, norms) in enumerate(
                    e["weight_norms"]["norms"].items()
                ):
                    color = f"C{index}"
                    above.plot(e["weight_norms"]["steps"], norms, color, label=group)
                    below.plot(steps, [w["dead"][group] for w in windows], color)
            below.set_xlabel("step")
        above, below = panels[2 * row][0], panels[2 * row + 1][0]
        above.set_ylabel("norm of kernels")
        # Starved kernels shrink without end, and would press the others into a line.
        above.set_ylim(bottom=max(above.get_ylim()[0], _LEAST_NORM_SHOWN))
        below.set_ylabel("dead kernels")
        # Where none is dead the axis would show hundredths of a kernel.
        below.set_ylim(-0.2, max(below.get_ylim()[1], 1.2))
    # A study under way has panels without a run.
    drawn = [axes for axes in panels[0] if axes.lines]
    drawn[-1].legend(loc="lower right", fontsize="small")
    figure.savefig(path, dpi=120)


def _draw_attention(runs: list[Experiment], path: Path) -> None:
    import numpy as np
    from matplotlib.figure import Figure

    # Over heads: (block, query, key) of each run.
    maps = [np.mean(e["attention"]["mean"], axis=1) for e in runs]
    blocks = max(map(len, maps))
    rows = math.ceil(len(runs) / 2)
    figure = Figure(figsize=(4.4 * blocks + 1, 2.5 * rows), layout="constrained")
    panels = figure.subplots(rows, 2 * blocks, squeeze=False)
    for axes in panels.flat:
        axes.axis("off")
    largest = max(map(np.max, maps))
    for index, (e, mean) in enumerate(zip(runs, maps, strict=True)):
        stages = e["attention"]["stages"]
        for block, values in enumerate(mean):
            axes = panels[index % rows][index // rows * blocks + block]
            axes.axis("on")
            picture = axes.imshow(values, vmin=0, vmax=largest, cmap="viridis")
            axes.set_xticks(range(len(stages)), stages, rotation=45, fontsize=7)
            axes.set_yticks(range(len(stages)), stages, fontsize=7)
            axes.set_title(
                f"{network_title(e)}, {datasets.spec(of(e, 'dataset')).title}\n"
                f"{recipe_title(e)}, block {block + 1}",
                fontsize=7,
            )
    figure.colorbar(
        picture,
        ax=panels,
        label="attention, mean over heads and images",
        location="bottom",
        shrink=0.4,
        aspect=40,
    )
    figure.savefig(path, dpi=120)


# === Runs that belong together ===


def _is_cause(experiment: Experiment) -> bool:
    return recipe_name(experiment) in _CAUSE_TITLES


def _datasets_of(experiments: list[Experiment]) -> list[str]:
    found = {of(e, "dataset") for e in experiments}
    return [name for name in datasets.SPECS if name in found]


def _seeds(
    experiments: list[Experiment], network: str, recipe: str
) -> list[Experiment]:
    """Runs of one full-size network that differ in nothing but their seed."""
    groups = group_by_seed(
        [
            e
            for e in filter(is_standard_or_control, experiments)
            if (network_title(e), recipe_title(e)) == (network, recipe)
        ]
    )
    # Of several lengths the full one, then the one with most seeds.
    return max(
        groups, key=lambda g: (not any(e["short"] for e in g), len(g)), default=[]
    )


def _cell(experiments: list[Experiment], network: str, recipe: str) -> str:
    runs = _seeds(experiments, network, recipe)
    if not runs:
        return ""
    short = any(e["short"] for e in runs)
    return over_seeds(top1(runs)) + (", short" if short else "")
