"""Steps that are measured are the steps that `fit` takes; the command works."""

import json

import keras
import numpy as np
import pytest

from benchmarks import steps
from benchmarks.speed.contenders import Task, keras_hub, ours
from benchmarks.speed.keras_steps import Steps
from tests.narrow import HEAD, TRUNK

NARROW = TRUNK | HEAD


def narrow_steps(backend, mode, **options):
    task = Task(
        size=16, batch=4, num_classes=3, mode=mode, arguments=NARROW | {"dropout": 0.0}
    )
    narrow = Steps(ours(backend, **options), task)
    narrow.compile()
    return narrow


def test_three_steps_leave_the_weights_that_fit_leaves(backend):
    measured, by_fit = (narrow_steps(backend, "training") for _ in range(2))
    for either in (measured, by_fit):
        # The gradient of a key's bias is rounding alone, which a smaller epsilon makes
        # steps of the learning rate's size, in either direction.
        either.model.optimizer.epsilon = 1e-5

    assert measured.run(1) + measured.run(2) == 3
    images, labels = (np.concatenate([a] * 3) for a in by_fit.arrays)
    by_fit.model.fit(images, labels, batch_size=4, shuffle=False, verbose=0)

    assert int(measured.model.optimizer.iterations) == 3
    for ours_, fits in zip(
        measured.model.get_weights(), by_fit.model.get_weights(), strict=True
    ):
        np.testing.assert_allclose(ours_, fits, rtol=1e-4, atol=1e-5)


def test_steps_per_execution_are_counted(backend):
    if backend == "torch":
        with pytest.raises(ValueError, match="steps_per_execution"):
            narrow_steps(backend, "training", steps_per_execution=2)
        return
    measured = narrow_steps(backend, "training", steps_per_execution=2)

    assert measured.run(3) == 4
    assert int(measured.model.optimizer.iterations) == 4


def test_keras_hub_network_is_resnet18(backend):
    task = Task(network="ResNet18", size=32, channels=3, batch=2)

    theirs, ours_ = (Steps(contender(backend), task) for contender in (keras_hub, ours))

    assert theirs.parameters == ours_.parameters == 11_181_642


def test_inference_leaves_the_weights(backend):
    measured = narrow_steps(backend, "inference")
    before = measured.model.get_weights()

    assert measured.run(2) == 2
    assert len(measured.fit(2)) == 3

    for old, new in zip(before, measured.model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert measured.parameters == measured.model.count_params() - sum(
        int(np.prod(v.shape)) for v in measured.model.non_trainable_variables
    )


def test_command_measures_all_contenders_and_writes_json(backend, tmp_path, capsys):
    file = tmp_path / "steps.json"

    command = f"--backends {backend} --sizes 16 --batch 4 --alongside eager"
    command += " --rounds 2 --steps-per-round 2 --fit-steps 2"
    steps.main(
        [*command.split(), "--arguments", json.dumps(NARROW), "--output", str(file)]
    )

    printed = capsys.readouterr().out
    report = json.loads(file.read_text())
    (result,) = report["results"]
    assert result["not_measured"] == {}
    figures = result["contenders"]
    assert set(figures) == {
        *(f"keras {backend}", "pytorch eager", "pytorch eager channels-last")
    }
    assert result["reference"] in ("pytorch eager", "pytorch eager channels-last")
    assert len({values["parameters"] for values in figures.values()}) == 1
    for name, values in figures.items():
        assert f"| {name} " in printed
        assert len(values["seconds_per_step"]) == 2
        assert values["median_step_ms"] == pytest.approx(
            1e3 * np.mean(values["seconds_per_step"])
        )
        assert values["idle_cpu_share"] < 0.5
    assert figures[f"keras {backend}"]["versions"]["keras"] == keras.__version__
    assert len(figures[f"keras {backend}"]["seconds_per_step_of_fit"]) == 3
    assert report["machine"]["cores"] >= 1

    steps.main(["--show", str(file)])

    shown = capsys.readouterr().out.splitlines()
    assert len(shown) > 5
    assert set(shown) <= set(printed.splitlines())
