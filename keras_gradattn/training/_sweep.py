"""Many runs: seeds, models and options, on this machine or on a Ray cluster."""

import concurrent.futures
import dataclasses
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_gradattn._whole_files import replace_file
from keras_gradattn.training._data import RunData
from keras_gradattn.training._plan import plan_run
from keras_gradattn.training.recipe import RECIPES, Recipe, look_up
from keras_gradattn.training.results import what_is_missing

_ENGINES = ("local", "ray")
_LINES_OF_A_FAILURE = 20
# What the command line calls the arguments of a run.
_FLAGS = {
    "changes": "--set",
    "data_dir": "--data-dir",
    "data_options": "--data-option",
    "devices": "--devices",
    "download": "--download",
    "limit": "--limit",
    "max_epochs": "--epochs",
    "max_steps": "--steps",
    "model_options": "--model-option",
    "pictures": "--no-pictures",
    "save_model": "--save-model",
}
# Else the first run on a GPU would take all of its memory.
_SHARED_GPU = {
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
}
# They do not say which run it is. What `run` does where they are not given.
_AFTERWARDS = {"pictures": True, "save_model": False}


@dataclasses.dataclass(frozen=True)
class Trial:
    """One run of a sweep.

    Args:
        name: Path of its result below the results folder, without an ending.
        status: `"finished"`, `"found"` (finished before) or `"failed"`.
        message: Last words of one that failed; what one that was found lacks.

    Example:

    ```python
    failed = [t.name for t in training.sweep("digits") if t.status == "failed"]
    ```
    """

    name: str
    status: str
    message: str = ""


@dataclasses.dataclass(frozen=True)
class _Command:
    name: str
    arguments: tuple[str, ...]


def sweep(
    data: str,
    models: Sequence[str] = ("gradattn_v2",),
    recipe: str = "modern",
    seeds: Sequence[int] = (42,),
    *,
    vary: Mapping[str, Sequence[Any]] | None = None,
    vary_model: Mapping[str, Sequence[Any]] | None = None,
    engine: str = "local",
    workers: int = 1,
    gpus_per_run: float = 0,
    results: str | os.PathLike[str] = "results",
    recipes: Mapping[str, Recipe] | None = None,
    told: Callable[[Trial], None] | None = None,
    **options: Any,
) -> list[Trial]:
    """Run every combination, each in a process of its own.

    Results are those of `run`. If you sweep again, what is finished is not run again,
    and what was interrupted goes on. A run that crashes leaves the others alone. What
    it said lies in a file ending in `.log`, in the place of its result.

    Args:
        data: As `run` takes it, but not a `DatasetSplits`.
        models: Names of the models, as `run` takes them. Defaults to `gradattn_v2`.
        recipe: Name of a recipe. Defaults to `"modern"`.
        seeds: The seeds to try. Defaults to 42 alone.
        vary: Values to try, by field of the recipe. Defaults to none.
        vary_model: Values to try, by argument of the model. Defaults to none.
        engine: `"local"` (the default) for processes on this machine, or `"ray"` for
            tasks of the Ray cluster that `RAY_ADDRESS` names. Without `RAY_ADDRESS` Ray
            starts on this machine. All machines must see the results folder, the data
            and the code at the same paths.
        workers: How many runs at a time on this machine. Defaults to 1. Ray counts by
            itself.
        gpus_per_run: Share of a GPU that a task of Ray takes. Ray may hide all GPUs
            from a task that takes none. Defaults to 0.
        results: Folder of the results. Defaults to `"results"`.
        recipes: The recipes that `recipe` is a name of. Default: `RECIPES`.
        told: A function that is called with each trial when it is over.
        **options: Further arguments of `run`, the same for all: `data_dir`,
            `data_options`, `download`, `max_epochs`, `max_steps`, `limit`, `devices`,
            `model_options`, `save_model`, `pictures`; and `changes`, fields of the
            recipe.

    Returns:
        A `Trial` for each run, in order. What is asked for twice is one run.

    Raises:
        ImportError: If Ray is asked for and not installed.
        ValueError: If a name or value is unknown, before anything is run.

    Example:

    ```python
    trials = training.sweep(
        "digits", ["resnet18", "gradattn_v2"], seeds=[1, 2, 3],
        vary={"learning_rate": [1e-3, 3e-4]}, max_epochs=2,
    )
    ```
    """
    if engine not in _ENGINES:
        raise ValueError(
            f"`engine` should be 'local' or 'ray'. Received: engine={engine!r}"
        )
    if not isinstance(data, str | os.PathLike):
        raise ValueError(
            "Each run of a sweep reads the data by itself: give a name, a folder or a "
            f"table. Received: data of type {type(data).__name__}"
        )
    if gpus_per_run < 0:
        raise ValueError(
            f"`gpus_per_run` should be 0 or more. Received: {gpus_per_run}"
        )
    for name in options:
        look_up(name, _FLAGS, "argument of sweep")
    named = look_up(recipe, recipes or RECIPES, "recipe")
    changes = dict(options.pop("changes", {}))
    own = dict(options.pop("model_options", {}))
    of_a_run = {k: v for k, v in options.items() if k not in _AFTERWARDS}
    commands: list[_Command] = []
    seen: dict[str, RunData] = {}
    for varied, varied_model, model, seed in itertools.product(
        _grid(vary), _grid(vary_model), models, seeds
    ):
        fields, arguments = changes | varied, own | varied_model
        # Every combination is looked at before the first one is run.
        plan = plan_run(
            data,
            model,
            named.with_changes(**fields),
            seed,
            model_options=arguments,
            seen=seen,
            **of_a_run,
        )
        words = ["run", "--dataset", os.fspath(data), "--model", model]
        words += ["--recipe", recipe, "--seed", str(seed)]
        words += ["--results", os.fspath(results)]
        asked = {**options, "changes": fields, "model_options": arguments}
        for name, value in asked.items():
            words += _words(_FLAGS[name], value)
        commands.append(_Command(plan.name, tuple(words)))
    # A run that is asked for twice would meet itself.
    commands = list({command.name: command for command in commands}.values())
    root = Path(results)
    waiting: list[_Command] = []
    trials: dict[str, Trial] = {}
    wanted = {
        name: bool(options.get(name, default)) for name, default in _AFTERWARDS.items()
    }
    for command in commands:
        path = root / f"{command.name}.json"
        if not path.exists():
            waiting.append(command)
            continue
        trial = Trial(command.name, "found", what_is_missing(path, **wanted))
        trials[command.name] = trial
        if told:
            told(trial)
    start = _local if engine == "local" else _on_ray
    for command, code, words_said in start(waiting, workers, gpus_per_run):
        trial = _ended(root, command, code, words_said)
        trials[command.name] = trial
        if told:
            told(trial)
    return [trials[command.name] for command in commands]


def _grid(vary: Mapping[str, Sequence[Any]] | None) -> list[dict[str, Any]]:
    """All combinations, as dictionaries."""
    names = list(vary or {})
    for name in names:
        values = (vary or {})[name]
        if not isinstance(values, list | tuple) or not values:
            raise ValueError(
                f"What is varied should have a list of values. Received: "
                f"{name}={values!r}"
            )
    rows = itertools.product(*((vary or {})[name] for name in names))
    return [dict(zip(names, row, strict=True)) for row in rows]


def _words(flag: str, value: Any) -> list[str]:
    """An argument of `run` as the command line has it."""
    if isinstance(value, Mapping):
        pairs = [f"{name}={json.dumps(each)}" for name, each in value.items()]
        return [word for pair in pairs for word in (flag, pair)]
    if isinstance(value, bool):
        # Pictures are drawn unless they are not wanted.
        return [flag] if value is not flag.startswith("--no-") else []
    return [] if value is None else [flag, str(value)]


def run_command(
    arguments: Sequence[str], environment: Mapping[str, str], folder: str | None = None
) -> tuple[int, str]:
    """One run in a process of its own; its exit code and what it said.

    Args:
        arguments: Of `python -m keras_gradattn`.
        environment: Its environment, but for the devices that it sees: they are those
            of this process, to which Ray gives some of its machine's.
        folder: Where it runs. Default: where this process does.
    """
    devices = {k: v for k, v in os.environ.items() if k.endswith("VISIBLE_DEVICES")}
    ended = subprocess.run(
        [sys.executable, "-m", "keras_gradattn", *arguments],
        env={**environment, **devices},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    return ended.returncode, ended.stdout


_Outcome = tuple[_Command, int, str]


def _local(commands: list[_Command], workers: int, gpus: float) -> Iterator[_Outcome]:
    with concurrent.futures.ThreadPoolExecutor(max_workers=workers) as threads:
        running = {
            threads.submit(run_command, c.arguments, _environment()): c
            for c in commands
        }
        try:
            for done in concurrent.futures.as_completed(running):
                yield running[done], *done.result()
        except BaseException:
            # Those that run have got the interrupt as well and end by themselves.
            threads.shutdown(wait=False, cancel_futures=True)
            raise


def _on_ray(commands: list[_Command], workers: int, gpus: float) -> Iterator[_Outcome]:
    try:
        import ray
    except ImportError:
        raise ImportError(
            "Sweeps on Ray need it: pip install 'keras-gradattn[sweep]'. "
            "Received: engine='ray'"
        ) from None
    if not ray.is_initialized():
        ray.init(log_to_driver=False)
    # As it stands here: the process that starts a run need not import all of this.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    # Not tried again by Ray: the same sweep goes on where this one ended.
    task = ray.remote(max_retries=0, num_gpus=gpus)(run_command)
    shares = _SHARED_GPU if 0 < gpus < 1 else {}
    # A worker of Ray has a folder of its own, where relative paths lead nowhere.
    settings = shares | _environment(), os.getcwd()
    running = {task.remote(c.arguments, *settings): c for c in commands}
    while running:
        (done,), _ = ray.wait(list(running), num_returns=1)
        command = running.pop(done)
        try:
            code, words = ray.get(done)
        except ray.exceptions.RayError as error:
            # The machine or the worker process is gone.
            code, words = 1, str(error)
        yield command, code, words


def _environment() -> dict[str, str]:
    # What this process imports, the others import.
    paths = os.pathsep.join(os.path.abspath(path) for path in sys.path)
    return dict(os.environ) | {"PYTHONPATH": paths}


def _ended(root: Path, command: _Command, code: int, words: str) -> Trial:
    log = root / f"{command.name}.log"
    if code == 0 and (root / f"{command.name}.json").exists():
        log.unlink(missing_ok=True)
        return Trial(command.name, "finished")
    log.parent.mkdir(parents=True, exist_ok=True)
    replace_file(log, lambda file: file.write(words.encode()))
    lines = [line for line in words.strip().splitlines() if line.strip()]
    last = "\n".join(lines[-_LINES_OF_A_FAILURE:]) or "it said nothing"
    return Trial(command.name, "failed", f"{last}\n(exit code {code}, all in {log})")
