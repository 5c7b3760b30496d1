"""`python -m keras_gradattn`: run experiments, compare them, report them."""

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from typing import Any


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; errors in what was asked for are one line, not a traceback."""
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
    except (ValueError, OSError, RuntimeError, LookupError, ImportError) as error:
        if options.traceback:
            raise
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m keras_gradattn",
        description="Run, compare and report experiments. KERAS_BACKEND chooses the "
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
    run.add_argument("--recipe", default="as_described")
    run.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="change a field of the recipe, e.g. --set learning_rate=3e-4; needs --tag",
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
    run.add_argument("--tag", default="", help="appended to the result's file name")
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

    report = commands.add_parser(
        "report", help="write results/README.md and its figures from the JSONs"
    )
    report.set_defaults(command=_report)
    report.add_argument("--results", default="results")

    names = commands.add_parser(
        "datasets", help="list data sets, models and recipes, and how to get the data"
    )
    names.set_defaults(command=_datasets)
    return parser


def _run(options: argparse.Namespace) -> None:
    from keras_gradattn.datasets.prepare import hide_progress_in_logs
    from keras_gradattn.training import RECIPES, experiment
    from keras_gradattn.training.recipe import look_up

    recipe = look_up(options.recipe, RECIPES, "recipe")
    if options.set:
        if not options.tag:
            raise ValueError(
                "`--set` makes another recipe: give the result a name of its own with "
                f"`--tag`. Received: {' '.join(options.set)}"
            )
        changes = _assignments(options.set)
        known = {field.name for field in dataclasses.fields(recipe)}
        for name in changes:
            look_up(name, dict.fromkeys(known), "recipe field")
        # A field set by hand must win over the recipe's table of data sets.
        overrides = {
            dataset: {k: v for k, v in fields.items() if k not in changes}
            for dataset, fields in recipe.overrides.items()
        }
        # Another protocol, another name: tables must not mix the two.
        name = f"{recipe.name}-{options.tag}"
        recipe = dataclasses.replace(
            recipe, overrides=overrides, **({"name": name} | changes)
        )
        options.tag = ""
    if options.download:
        hide_progress_in_logs()
    for seed in options.seed:
        experiment.run(
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
            tag=options.tag,
            save_model=options.save_model,
            pictures=not options.no_pictures,
            verbose="auto" if options.verbose is None else options.verbose,
        )


def _compare(options: argparse.Namespace) -> None:
    from keras_gradattn.training.comparison import compare

    print(compare(options.results, options.style))


def _report(options: argparse.Namespace) -> None:
    from studies.report import write_report

    print(write_report(options.results))


def _datasets(options: argparse.Namespace) -> None:
    from keras_gradattn import datasets
    from keras_gradattn.training import MODELS, RECIPES
    from keras_gradattn.training.comparison import table

    rows = [
        (spec.name, spec.title, str(spec.num_classes), sizes, spec.how_to_get)
        for spec in datasets.SPECS.values()
        for sizes in ["/".join(f"{n:,}" for n in spec.split_sizes.values())]
    ]
    header = ("data set", "title", "classes", "train/validation/test", "get it with")
    print(table(header, rows, "text"))
    print(f"\nmodels: {', '.join(MODELS)}")
    print(f"recipes: {', '.join(RECIPES)}")
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
