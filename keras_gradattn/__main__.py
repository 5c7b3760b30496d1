"""`python -m keras_gradattn`: run experiments, compare them, use what came out."""

import argparse
import errno
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_gradattn._arguments import assignments, count, seed
from keras_gradattn.datasets._parser import MISUSE, Parser
from keras_gradattn.datasets.file_check import some

_PACKAGE = Path(__file__).parent
_DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; what was asked wrongly gets a sentence, a fault a traceback."""
    options, unknown = _parser().parse_known_args(arguments)
    options.parser.refuse_unknown(unknown)
    # Informational lines of TensorFlow's start would bury the progress.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        return int(options.command(options) or 0)
    except KeyboardInterrupt:
        print(f"\nInterrupted.{_going_on(options)}", file=sys.stderr)
        return 130
    except Exception as error:
        if options.traceback or not _is_for_the_user(error):
            raise
        print(f"{error}{_afterwards(error, options)}", file=sys.stderr)
        return MISUSE


def _going_on(options: argparse.Namespace) -> str:
    """What the same command does after it was stopped, if it trains."""
    if not options.trains:
        return ""
    return " The same command goes on from the last finished epoch."


def _afterwards(error: Exception, options: argparse.Namespace) -> str:
    """What is true after an error that came in the middle."""
    if isinstance(error, OSError) and error.errno in _DISK_IS_FULL:
        return (
            ". What was finished is kept, and nothing is half-written. Make room."
            f"{_going_on(options)}"
        )
    return ""


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


def _parser() -> Parser:
    parser = Parser(
        prog="python -m keras_gradattn",
        description="Run and compare experiments. KERAS_BACKEND chooses the "
        "backend: jax, tensorflow or torch.",
    )
    parser.add_argument(
        "--traceback", action="store_true", help="show where an error comes from"
    )
    parser.set_defaults(trains=False)
    commands = parser.add_subparsers(
        required=True, metavar="COMMAND", parser_class=Parser
    )

    run = commands.add_parser(
        "run",
        help="train, evaluate and write one JSON; resumes, and skips what is finished",
    )
    run.set_defaults(command=_run, parser=run)
    _add_training(run)
    run.add_argument(
        "--engine",
        default="auto",
        choices=("auto", "tf.data", "pydataset", "device"),
        help="input pipeline; device keeps the images on the accelerator",
    )
    run.add_argument("--model", default="gradattn_v2", help=_MODEL)
    run.add_argument("--seed", type=seed, nargs="+", default=[42])
    run.add_argument("--verbose", type=int, choices=(0, 1, 2), default=None)

    sweep = commands.add_parser(
        "sweep",
        help="run all combinations of models, seeds and options, each by itself",
    )
    sweep.set_defaults(command=_sweep, parser=sweep)
    _add_training(sweep)
    sweep.add_argument("--model", nargs="+", default=["gradattn_v2"], help=_MODEL)
    sweep.add_argument("--seed", type=seed, nargs="+", default=[42])
    sweep.add_argument(
        "--vary",
        action="append",
        default=[],
        metavar="FIELD=VALUES",
        help="values of a field of the recipe, e.g. --vary learning_rate=[1e-3,3e-4]",
    )
    sweep.add_argument(
        "--vary-model",
        action="append",
        default=[],
        metavar="NAME=VALUES",
        help="values of an argument of the model, e.g. --vary-model num_layers=[1,2]",
    )
    sweep.add_argument("--engine", default="local", choices=("local", "ray"))
    sweep.add_argument(
        "--workers", type=count, default=1, help="runs at a time on this machine"
    )
    sweep.add_argument(
        "--gpus-per-run", type=float, default=0, help="share of a GPU, for Ray"
    )

    predict = commands.add_parser(
        "predict", help="classes of a folder of images, by a saved model"
    )
    predict.set_defaults(command=_predict, parser=predict)
    predict.add_argument("model", help="a .keras file, from run --save-model")
    predict.add_argument("folder", help="a folder of images, or one image")
    predict.add_argument("--output", default="labels.csv", help="the table to write")
    predict.add_argument("--batch-size", type=count, default=32)
    predict.add_argument(
        "--on-bad", default="skip", choices=("skip", "stop"), help="files without image"
    )

    compare = commands.add_parser(
        "compare", help="mean and deviation over seeds, against the published figures"
    )
    compare.set_defaults(command=_compare, parser=compare)
    compare.add_argument("--results", default="results")
    compare.add_argument(
        "--style", default="text", choices=("text", "markdown", "csv", "html")
    )

    names = commands.add_parser(
        "datasets", help="list data sets, models and recipes, and how to get the data"
    )
    names.set_defaults(command=_datasets, parser=names)
    return parser


_MODEL = "a name, package.module:function, keras.applications:NAME or keras_hub:PRESET"


def _add_training(parser: Parser) -> None:
    """Arguments of everything that trains."""
    parser.set_defaults(trains=True)
    parser.add_argument(
        "--dataset", required=True, help="a name, a folder of images or a table (.csv)"
    )
    parser.add_argument(
        "--data-option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="how to read a folder, a table or TFDS, e.g. --data-option size=64",
    )
    parser.add_argument("--recipe", default="modern")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="change a field of the recipe, e.g. --set learning_rate=3e-4",
    )
    parser.add_argument("--data-dir")
    parser.add_argument("--download", action="store_true")
    parser.add_argument("--results", default="results")
    parser.add_argument("--epochs", type=count, help="train at most so many epochs")
    parser.add_argument(
        "--steps", type=count, help="train at most so many optimiser steps"
    )
    parser.add_argument("--limit", type=count, help="use so many images of each split")
    parser.add_argument(
        "--devices", type=count, default=1, help="share each batch between so many"
    )
    parser.add_argument(
        "--model-option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="argument of the model, e.g. --model-option stage_filters=[8,16,32,64]",
    )
    parser.add_argument(
        "--save-model",
        action="store_true",
        help="keep the tested model as .keras, for predict",
    )
    parser.add_argument("--no-pictures", action="store_true")


def _run(options: argparse.Namespace) -> None:
    from keras_gradattn import config, training
    from keras_gradattn.datasets.prepare import hide_progress_in_logs

    config.tune_jax_for_cpu()
    recipe = training.look_up(options.recipe, _recipes(), "recipe")
    arguments = _arguments_of_run(options)
    recipe = recipe.with_changes(**arguments.pop("changes"))
    if options.download:
        hide_progress_in_logs()
    for number in options.seed:
        training.run(
            options.dataset,
            options.model,
            recipe,
            number,
            **arguments,
            engine=options.engine,
            results=options.results,
            save_model=options.save_model,
            pictures=not options.no_pictures,
            verbose="auto" if options.verbose is None else options.verbose,
        )


def _arguments_of_run(options: argparse.Namespace) -> dict[str, Any]:
    """What says which run it is, but data, model, recipe and seed."""
    return {
        "changes": assignments(options.set),
        "data_dir": options.data_dir,
        "data_options": assignments(options.data_option),
        "max_epochs": options.epochs,
        "max_steps": options.steps,
        "limit": options.limit,
        "download": options.download,
        "devices": options.devices,
        "model_options": assignments(options.model_option),
    }


def _sweep(options: argparse.Namespace) -> int:
    from keras_gradattn import config, training

    config.tune_jax_for_cpu()
    trials = training.sweep(
        options.dataset,
        options.model,
        options.recipe,
        options.seed,
        vary=assignments(options.vary),
        vary_model=assignments(options.vary_model),
        engine=options.engine,
        workers=options.workers,
        gpus_per_run=options.gpus_per_run,
        results=options.results,
        recipes=_recipes(),
        told=_tell,
        **_arguments_of_run(options),
        save_model=options.save_model,
        pictures=not options.no_pictures,
    )
    failed = sum(trial.status == "failed" for trial in trials)
    if failed:
        print(
            f"{failed} of {len(trials)} runs failed. "
            "The same command tries them again.",
            file=sys.stderr,
        )
    return int(failed > 0)


def _tell(trial: Any) -> None:
    words = {"found": "finished before, not run again"}
    print(f"{trial.name}: {words.get(trial.status, trial.status)}", flush=True)
    if trial.message:
        print(trial.message, file=sys.stderr, flush=True)


def _recipes() -> dict[str, Any]:
    from keras_gradattn import paper, training

    return {**training.RECIPES, **paper.RECIPES}


def _predict(options: argparse.Namespace) -> None:
    from keras_gradattn import training
    from keras_gradattn.training._files import check_takes_files

    table = Path(options.output).absolute()
    if table.is_dir() or not table.parent.is_dir():
        what = "The table is a file" if table.is_dir() else "There is no such folder"
        raise FileNotFoundError(f"{what}. Received: --output {options.output}")
    try:
        check_takes_files(table.parent)
    except OSError as error:
        raise OSError(
            f"The table cannot be written ({error.strerror}). Nothing was predicted. "
            f"Received: --output {options.output}"
        ) from error
    found = training.predict(
        options.model,
        options.folder,
        batch_size=options.batch_size,
        on_bad=options.on_bad,
    )
    found.write_csv(options.output)
    print(f"{options.output}: {len(found.files):,} images")
    if found.bad_files:
        print(f"left out: {some(found.bad_files)}", file=sys.stderr)


def _compare(options: argparse.Namespace) -> None:
    from keras_gradattn import paper, training

    print(training.compare(options.results, options.style, published=paper.published))


def _datasets(options: argparse.Namespace) -> None:
    from keras_gradattn import datasets
    from keras_gradattn.training import MODELS
    from keras_gradattn.training.tables import table

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


if __name__ == "__main__":
    sys.exit(main())
