"""`python -m keras_gradattn`: run experiments and compare them."""

import argparse
import json
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).parent
# What a shell expects of a command that was called wrongly.
_MISUSE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; what was asked wrongly gets a sentence, a fault a traceback."""
    options = _parser().parse_args(arguments)
    # Informational lines of TensorFlow's start would bury the progress.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        options.command(options)
    except KeyboardInterrupt:
        print(
            "\nInterrupted. The same command goes on from the last finished epoch.",
            file=sys.stderr,
        )
        return 130
    except Exception as error:
        if options.traceback or not _is_for_the_user(error):
            raise
        print(error, file=sys.stderr)
        return _MISUSE
    return 0


def _is_for_the_user(error: Exception) -> bool:
    """Whether this says what was asked wrongly; anything else is a fault of ours.

    Messages of this package end with what was received. What the system refuses (a
    full disk, a folder that cannot be written to) is for the user as well.
    """
    if isinstance(error, OSError):
        return True
    frames = traceback.extract_tb(error.__traceback__)
    ours = bool(frames) and Path(frames[-1].filename).is_relative_to(_PACKAGE)
    if isinstance(error, ImportError):
        return ours
    return ours and "Received: " in str(error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m keras_gradattn",
        description="Run and compare experiments. KERAS_BACKEND chooses the "
        "backend: jax, tensorflow or torch.",
    )
    parser.add_argument(
        "--traceback", action="store_true", help="show where an error comes from"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser(
        "run",
        help="train, evaluate and write one JSON; resumes, and skips what is finished",
    )
    run.set_defaults(command=_run)
    run.add_argument("--dataset", required=True)
    run.add_argument("--model", default="gradattn_v2")
    run.add_argument("--recipe", default="modern")
    run.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="change a field of the recipe, e.g. --set learning_rate=3e-4",
    )
    run.add_argument("--seed", type=int, nargs="+", default=[42])
    run.add_argument("--data-dir")
    run.add_argument("--download", action="store_true")
    run.add_argument("--results", default="results")
    run.add_argument("--epochs", type=int, help="train at most so many epochs")
    run.add_argument("--steps", type=int, help="train at most so many optimiser steps")
    run.add_argument("--limit", type=int, help="use so many images of each split")
    run.add_argument(
        "--engine",
        default="auto",
        choices=("auto", "tf.data", "pydataset", "device"),
        help="input pipeline; device keeps the images on the accelerator",
    )
    run.add_argument(
        "--devices", type=int, default=1, help="share each batch between so many"
    )
    run.add_argument(
        "--model-option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="argument of the model, e.g. --model-option stage_filters=[8,16,32,64]",
    )
    run.add_argument(
        "--save-model", action="store_true", help="keep the tested model as .keras"
    )
    run.add_argument("--no-pictures", action="store_true")
    run.add_argument("--verbose", type=int, choices=(0, 1, 2), default=None)

    compare = commands.add_parser(
        "compare", help="mean and deviation over seeds, against the published figures"
    )
    compare.set_defaults(command=_compare)
    compare.add_argument("--results", default="results")
    compare.add_argument("--style", default="text", choices=("text", "markdown"))

    names = commands.add_parser(
        "datasets", help="list data sets, models and recipes, and how to get the data"
    )
    names.set_defaults(command=_datasets)
    return parser


def _run(options: argparse.Namespace) -> None:
    from keras_gradattn import config, training
    from keras_gradattn.datasets.prepare import hide_progress_in_logs

    config.tune_jax_for_cpu()
    recipe = training.look_up(options.recipe, _recipes(), "recipe")
    recipe = recipe.with_changes(**_assignments(options.set))
    if options.download:
        hide_progress_in_logs()
    for seed in options.seed:
        training.run(
            options.dataset,
            options.model,
            recipe,
            seed,
            data_dir=options.data_dir,
            results=options.results,
            max_epochs=options.epochs,
            max_steps=options.steps,
            limit=options.limit,
            download=options.download,
            engine=options.engine,
            devices=options.devices,
            model_options=_assignments(options.model_option),
            save_model=options.save_model,
            pictures=not options.no_pictures,
            verbose="auto" if options.verbose is None else options.verbose,
        )


def _recipes() -> dict[str, Any]:
    from keras_gradattn import paper, training

    return {**training.RECIPES, **paper.RECIPES}


def _compare(options: argparse.Namespace) -> None:
    from keras_gradattn import paper, training

    print(training.compare(options.results, options.style, published=paper.published))


def _datasets(options: argparse.Namespace) -> None:
    from keras_gradattn import datasets
    from keras_gradattn.training import MODELS
    from keras_gradattn.training.comparison import table

    rows = [
        (spec.name, spec.title, str(spec.num_classes), sizes, spec.how_to_get)
        for spec in datasets.SPECS.values()
        for sizes in ["/".join(f"{n:,}" for n in spec.split_sizes.values())]
    ]
    header = ("data set", "title", "classes", "train/validation/test", "get it with")
    print(table(header, rows, "text"))
    print(f"\nmodels: {', '.join(MODELS)}")
    print(f"recipes: {', '.join(_recipes())}")
    print("\ntry: python -m keras_gradattn run --dataset digits --epochs 2")


def _assignments(texts: Sequence[str]) -> dict[str, Any]:
    """`["a=1", "b=x"]` as `{"a": 1, "b": "x"}`; values are JSON where they can be."""
    values: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"Expected NAME=VALUE. Received: {text!r}")
        try:
            values[name] = json.loads(value)
        except ValueError:
            values[name] = {"True": True, "False": False, "None": None}.get(
                value, value
            )
    return values


if __name__ == "__main__":
    sys.exit(main())
