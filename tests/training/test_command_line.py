"""Everything that was asked wrongly gets one sentence, and ends with 2."""

import errno
import os
import subprocess
import sys

import pytest

from keras_gradattn import __main__
from keras_gradattn.training import experiment

pytestmark = pytest.mark.any_backend


@pytest.fixture
def refused(capsys, monkeypatch, tmp_path):
    """What a command says before it ends with 2; nothing may be trained."""
    monkeypatch.setattr(experiment, "_run", lambda *a, **k: pytest.fail("trained"))
    monkeypatch.chdir(tmp_path)

    def command(*arguments):
        try:
            code = __main__.main(list(arguments))
        except SystemExit as end:
            code = end.code
        said = capsys.readouterr()
        assert code == 2
        assert said.err.count("\n") == 1, said.err
        # Not even an empty folder.
        assert list(tmp_path.iterdir()) == []
        return said.err

    return command


DIGITS = ("run", "--dataset", "digits")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("rnu",), r"Did you mean 'run'? Received: 'rnu'"),
        ((), "needs COMMAND. Received: "),
        (("run",), "needs --dataset"),
        ((*DIGITS, "--modle", "x"), "Did you mean '--model'? "),
        ((*DIGITS, "--epoch", "2"), "Did you mean '--epochs'? "),
        ((*DIGITS, "extra"), "Received: 'extra'"),
        ((*DIGITS, "--epochs", "many"), "--epochs should be a positive whole number."),
        ((*DIGITS, "--epochs", "0"), "positive whole number. Received: '0'"),
        ((*DIGITS, "--steps", "-1"), "positive whole number. Received: '-1'"),
        ((*DIGITS, "--limit", "2.5"), "positive whole number. Received: '2.5'"),
        ((*DIGITS, "--devices", "0"), "positive whole number. Received: '0'"),
        ((*DIGITS, "--seed", "-1"), "0 or more and at most 4294967295."),
        ((*DIGITS, "--seed", "4294967296"), "Received: '4294967296'"),
        ((*DIGITS, "--model", "keras.applications:ResNet5"), "Did you mean"),
        ((*DIGITS, "--seed"), "--seed needs at least one value."),
        ((*DIGITS, "--engine", "tfdata"), "Did you mean 'tf.data'?"),
        ((*DIGITS, "--verbose", "7"), "should be one of 0, 1, 2."),
        ((*DIGITS, "--model", "gradatn_v2"), "Did you mean 'gradattn_v2'?"),
        ((*DIGITS, "--model-option", "widht=8"), "Did you mean 'width'?"),
        ((*DIGITS, "--model-option", "width=-1"), "must be a positive integer."),
        ((*DIGITS, "--model-option", "num_heads=7"), "be divisible by `num_heads`."),
        ((*DIGITS, "--set", 'phases=[{"train": ["haed"]}]'), "Did you mean 'head'?"),
        ((*DIGITS, "--model-option", "8"), "Expected NAME=VALUE. Received: '8'"),
        ((*DIGITS, "--set", "max_epoch=1"), "Did you mean 'max_epochs'?"),
        ((*DIGITS, "--set", "learning_rate=fast"), "must be a number."),
        ((*DIGITS, "--set", "max_epochs=2.5"), "must be a whole number."),
        ((*DIGITS, "--set", "restore_best_weights=1"), "must be true or false."),
        ((*DIGITS, "--set", "optimizer=sgd"), "must be one of ('coupled_adam'"),
        ((*DIGITS, "--set", 'phases=[{"trian": ["head"]}]'), "Did you mean 'train'?"),
        ((*DIGITS, "--set", 'phases=[{"train": "head"}]'), "a list of patterns"),
        ((*DIGITS, "--set", "phases=head"), "must be a list such as"),
        ((*DIGITS, "--set", "augmentation=flip"), "must be a list such as"),
        ((*DIGITS, "--set", "overrides=3"), "Unknown recipe field."),
        (("run", "--dataset", "photos/"), "no such folder or table."),
        (("compare", "--style", "latex"), "Received: 'latex'"),
        (("compare", "--results", "nowhere"), "Received: results=nowhere"),
        (("predict", "model.keras", "."), "There is no image to predict."),
        (("predict", "m", ".", "--output", "no/where.csv"), "There is no such folder."),
        (("predict", "m", ".", "--output", "."), "The table is a file."),
        (("predict", "m", ".", "--output", "/proc/x.csv"), "Nothing was predicted."),
        (("sweep", "--dataset", "digits", "--vary", "mixup=1"), "a list of values"),
        (("sweep", "--dataset", "digits", "--epochs", "x"), "positive whole number"),
        (("sweep", "--dataset", "digits", "--gpus-per-run", "-1"), "0 or more."),
    ],
)
def test_one_sentence(refused, arguments, message):
    assert message in refused(*arguments)


@pytest.mark.parametrize(
    ("name", "message"),
    [("torhc", "Did you mean 'torch'? Received: KERAS_BACKEND='torhc'"), ("mxnet", "")],
)
def test_an_unknown_backend(name, message):
    ended = subprocess.run(
        [sys.executable, "-m", "keras_gradattn", "datasets"],
        env=os.environ | {"KERAS_BACKEND": name},
        cwd=__main__._PACKAGE.parent,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert message in ended.stderr
    assert "KERAS_BACKEND should be jax, tensorflow or torch." in ended.stderr


def test_a_program_gets_the_error_of_keras_itself():
    """What can be caught is not turned into the end of the process."""
    program = "try:\n import keras_gradattn\nexcept ValueError as e: print('caught', e)"
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"KERAS_BACKEND": "mxnet"},
        cwd=__main__._PACKAGE.parent,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0
    assert ended.stdout.startswith("caught")


def test_a_full_disk_loses_nothing(tmp_path, monkeypatch, capsys):
    """The disk fills up while the result is written."""
    monkeypatch.setattr(
        experiment, "_run", lambda *a, **k: {"metrics": {"top1": 1.0}, "format": 3}
    )
    written = []

    def full(handle):
        written.append(handle)
        if len(written) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    command = [*DIGITS, "--limit", "8", "--no-pictures", "--results", str(tmp_path)]
    assert __main__.main(command) == 2
    error = capsys.readouterr().err
    assert error.startswith("[Errno 28] No space left on device.")
    assert "goes on from the last finished epoch" in error
    # Neither the result nor half of it, and nothing beside.
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []
    assert __main__.main(command) == 0
    assert len(list(tmp_path.rglob("seed42.json"))) == 1


@pytest.mark.parametrize(
    ("arguments", "goes_on"),
    [
        (DIGITS, True),
        (("sweep", "--dataset", "digits"), True),
        (("predict", "m.keras", "."), False),
        (("compare",), False),
        (("datasets",), False),
    ],
)
def test_after_an_interrupt_only_what_is_so(arguments, goes_on, monkeypatch, capsys):
    for error, code, beginning in (
        (KeyboardInterrupt(), 130, "\nInterrupted."),
        (
            OSError(errno.ENOSPC, "full"),
            2,
            "[Errno 28] full. What was finished is kept",
        ),
    ):

        def stopped(options, error=error):
            raise error

        monkeypatch.setattr(__main__, f"_{arguments[0]}", stopped)
        assert __main__.main(arguments) == code
        said = capsys.readouterr().err
        assert said.startswith(beginning)
        assert ("goes on from the last finished epoch" in said) == goes_on
