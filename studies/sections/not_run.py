"""Published results that were not run, and how to run them."""

from collections.abc import Sequence

from keras_gradattn import datasets, paper
from keras_gradattn.training import MODELS
from studies import table
from studies.reading import MODEL_TITLES, Experiment, datasets_of
from studies.sections.references import REFERENCES

_HEADER = ("data set", "published ResNet-18", "published, best GradAttn",
           "trained by others", "command")  # fmt: skip


def text(experiments: Sequence[Experiment]) -> str:
    """Data sets without a run, with what is known of them."""
    ran = set(datasets_of(experiments))
    rows = []
    for name, spec in datasets.SPECS.items():
        found = {model: paper.published(name, model) for model in MODELS}
        figures = {m: entry["test_top1"] for m, entry in found.items() if entry}
        if name in ran or not figures:
            continue
        best = max(
            (m for m in figures if m.startswith("gradattn")), key=lambda m: figures[m]
        )
        rows.append(
            [
                spec.title,
                f"{figures['resnet18']:.2f}",
                f"{figures[best]:.2f} ({MODEL_TITLES[best]})",
                REFERENCES.get(name, ""),
                f"`python -m keras_gradattn run --dataset {name} --model {best} "
                "--recipe as_described --data-dir DIR`",
            ]
        )
    if not rows:
        return ""
    return table.section(
        "Not run here",
        "The paper has figures for these data sets too. The last column says how to "
        "run the network that did best there.",
        table.markdown(_HEADER, rows),
    )
