"""The comparison of networks measures the networks that it names."""

import json

import pytest

from benchmarks import pathways
from benchmarks.speed.contenders import Task
from benchmarks.speed.keras_steps import Steps
from tests.narrow import TRUNK


@pytest.mark.parametrize("name", pathways.NETWORKS)
def test_contenders_are_the_networks_they_are_called(name, backend):
    options = pathways.parse(["--backend", backend])
    contender = next(c for c in pathways.contenders(options) if c.name == name)
    task = Task(network="ResNet18", size=16, batch=2, arguments=TRUNK)
    model = Steps(contender, task).model
    network, arguments = pathways.NETWORKS[name]
    assert type(model).__name__ == network
    assert arguments.items() <= model.get_config().items()


@pytest.mark.any_backend
def test_command_compares_with_resnet18(tmp_path, capsys):
    output = tmp_path / "jax.json"
    pathways.main(
        [
            *("--networks", "ResNet18", "pathways, static", "--size", "16"),
            *("--batch", "2", "--rounds", "2", "--steps-per-round", "1"),
            *("--arguments", json.dumps(TRUNK), "--output", str(output)),
        ]
    )
    told = capsys.readouterr().out
    assert "| ResNet18 | " in told
    assert "1.00 (1.00-1.00)" in told
    networks = json.loads(output.read_text())["networks"]
    assert (
        networks["pathways, static"]["parameters"]
        > (networks["ResNet18"]["parameters"])
    )
    ratio = networks["pathways, static"]["times_the_time"]
    assert ratio["low"] <= ratio["median"] <= ratio["high"]


@pytest.mark.any_backend
def test_reference_cannot_be_left_out(capsys):
    with pytest.raises(SystemExit):
        pathways.parse(["--networks", "GradAttnV2"])
    assert "ResNet18" in capsys.readouterr().err
