"""Every table once at tiny size, in this process; steps are the steps of `fit`."""

import json
from dataclasses import asdict

import keras
import numpy as np
import pytest
import torch

import keras_gradattn
from benchmarks import folder_input, pathways, recorder, steps, tricks
from benchmarks.harness import command
from benchmarks.harness.session import Session
from benchmarks.works.keras_steps import KerasSteps
from benchmarks.works.networks import NETWORKS
from benchmarks.works.peers import PEERS
from benchmarks.works.task import Task
from keras_gradattn import config
from keras_gradattn.paper.pytorch_checkpoints import released_tensors
from tests.backend_gradients import inference, loss_and_gradients
from tests.narrow import HEAD, ONE_BLOCK, SHORT, TRUNK, random_images

NARROW = TRUNK | ONE_BLOCK
TINY = "--size 16 --batch 4 --rounds 2 --steps 1"


class Here(Session):
    """A worker without a process of its own, whatever its backend was to be."""

    def __init__(self, make, arguments, backend):
        super().__init__(make, arguments)

    def close(self):
        """Nothing to end."""


@pytest.fixture(autouse=True)
def switches_of_before(monkeypatch):
    """Works turn the switches that the process has."""
    jax_compat = keras_gradattn._compat.jax
    monkeypatch.setattr(
        jax_compat, "return_compiler_memory", jax_compat.return_compiler_memory
    )
    yield
    config.convolution("auto")
    config.capture_torch_inference(False)
    for name in config.KERNELS:
        config.kernel(name, True)


def results(benchmark, tmp_path, words, network=NARROW):
    file = tmp_path / "table.json"
    arguments = [*words.split(), "--output", str(file)]
    if network is not None:
        arguments += ["--arguments", json.dumps(network)]
    command.main(benchmark, arguments, Here)
    report = json.loads(file.read_text())
    assert report["machine"]["versions"]["keras"] == keras.__version__
    assert report["machine"]["processor"]
    assert all(result["not_measured"] == {} for result in report["results"])
    return [result["contenders"] for result in report["results"]]


@pytest.mark.slow
@pytest.mark.any_backend
@pytest.mark.parametrize("mode", ["training", "inference"])
def test_steps(mode, backend, tmp_path, capsys):
    words = f"{backend} --sizes 16 --batch 4 --rounds 2 --steps 2 --mode {mode}"

    (figures,) = results(steps, tmp_path, words, NARROW | HEAD)

    names = [f"keras {backend}", "pytorch eager", "pytorch eager channels-last"]
    assert list(figures) == names
    assert len({values["parameters"] for values in figures.values()}) == 1
    printed = capsys.readouterr().out
    for name, values in figures.items():
        assert f"| {name} " in printed
        assert len(values["seconds_per_step"]) == 2
        assert min(values["cpu_seconds_per_step"]) > 0


@pytest.mark.any_backend
def test_pathways(backend, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(KerasSteps, "build", _remembered(KerasSteps.build, made))
    monkeypatch.setattr(KerasSteps, "compile", lambda work: None)
    monkeypatch.setattr(KerasSteps, "run", lambda work, count, part: count)

    (figures,) = results(pathways, tmp_path, f"{backend} {TINY}")

    assert list(figures) == list(pathways.NETWORKS)
    for model, (network, arguments) in zip(
        made, pathways.NETWORKS.values(), strict=True
    ):
        assert type(model).__name__ == network
        assert arguments.items() <= model.get_config().items()


def _remembered(build, made):
    def run(work):
        build(work)
        made.append(work.model)

    return run


@pytest.mark.slow
@pytest.mark.any_backend
def test_recorder(backend, tmp_path):
    words = f"{backend} {TINY} --starts 2 --fits 1 --epochs 2 --batches 1"

    step, fit, start = results(recorder, tmp_path, words, SHORT | HEAD)

    assert list(step)[:2] == ["plain", "recorded"]
    assert ("hooks" in step) == (backend == "torch")
    assert list(fit) == ["plain", "diagnosed"]
    assert list(start) == ["plain", "recorded", "diagnosed"]
    assert len(start["diagnosed"]["compile_and_first_step_seconds"]) == 2


@pytest.mark.any_backend
def test_recorded_steps_alone_are_recorded(backend):
    from benchmarks.works.recorded import RecordedSteps

    task = Task("GradAttnV2", size=16, batch=2, arguments=SHORT | HEAD)
    work = RecordedSteps(asdict(task), ("plain", "recorded"))
    work.build()
    work.compile()

    def rows():
        work.norms.on_epoch_end(0, {})
        return len(work.norms.record.step)

    # Nothing recorded at all would be warned of.
    work.run(1, "recorded")
    before = rows()
    work.run(2, "plain")
    plain = rows()
    work.run(3, "recorded")

    assert (plain - before, rows() - plain) == (0, 3)
    assert int(work.model.optimizer.iterations) == 7


@pytest.mark.any_backend
@pytest.mark.parametrize("network", NETWORKS)
def test_everyday_networks_take_a_recorded_step(network):
    task = Task(network, size=8, batch=4)
    work = KerasSteps(asdict(task))
    work.build()
    work.compile()
    norms = keras_gradattn.GradientNorms()

    loss = work.model.fit(*work.arrays, 4, verbose=0, callbacks=[norms])

    assert np.isfinite(loss.history["loss"]).all()
    assert len(norms.record.groups) > 1
    layers = {"dense200": 201, "convolutions50": 101, "embedding1m": 2}
    weighted = [layer for layer in work.model.layers if layer.weights]
    assert len(weighted) == layers[network]


@pytest.mark.slow
@pytest.mark.any_backend
def test_tricks(backend, tmp_path):
    tables = results(tricks, tmp_path, f"{backend} {TINY}", SHORT | HEAD)

    names = [f"without {name}" for name in tricks.SWITCHES[backend]]
    assert list(tables[0]) == ["everything", *names]
    assert len(tables) == (2 if backend == "torch" else 1)


@pytest.mark.any_backend
def test_switches_that_are_missed_are_off():
    KerasSteps(asdict(Task()), without=["adam", "convolution"])

    assert config.convolution_form() == "backend"
    assert not config.uses_kernel("adam")
    assert config.uses_kernel("memory_layout")


@pytest.mark.any_backend
def test_folder_input(tmp_path):
    words = "--images 12 --file-size 24 20 --size 16 --batch 5 --workers 0 --rounds 2"
    names = ["ours", "pytorch DataLoader"]
    file = tmp_path / "table.json"

    command.main(
        folder_input,
        [*words.split(), "--contenders", *names, "--output", str(file)],
        Here,
    )

    (result,) = json.loads(file.read_text())["results"]
    assert list(result["contenders"]) == names
    assert all(values["images"] == 1000 for values in result["contenders"].values())


@pytest.mark.any_backend
@pytest.mark.parametrize("how", ["ours", "tf.data", "pytorch DataLoader"])
def test_every_way_delivers_the_same_folder(how, tmp_path):
    from benchmarks.works.folder_batches import FolderBatches, write_photographs

    write_photographs(tmp_path, 12, (16, 16))
    work = FolderBatches(how, str(tmp_path), 16, 5, 1 if how == "tf.data" else 0)
    work.build()

    assert work.run(2, "") == pytest.approx(0.024)
    batches = work.data
    if hasattr(batches, "num_batches"):
        batches = [batches[number] for number in range(batches.num_batches)]
    images = np.concatenate([np.asarray(images) for images, _ in batches])
    # Each library has its own decoder, and its own order.
    assert images.mean() == pytest.approx(0.23, abs=0.05)
    assert images.std() == pytest.approx(1.1, abs=0.2)


def test_three_steps_leave_the_weights_that_fit_leaves(backend):
    arguments = SHORT | HEAD | {"dropout": 0.0}
    task = asdict(Task(size=16, batch=4, num_classes=3, arguments=arguments))
    measured, by_fit = (KerasSteps(task) for _ in range(2))
    for either in (measured, by_fit):
        either.build()
        either.compile()
        # The gradient of a key's bias is rounding alone, which a smaller epsilon makes
        # steps of the learning rate's size, in either direction.
        either.model.optimizer.epsilon = 1e-5

    assert measured.run(1, "") + measured.run(2, "") == 3
    images, labels = (np.concatenate([a] * 3) for a in by_fit.arrays)
    by_fit.model.fit(images, labels, batch_size=4, shuffle=False, verbose=0)

    assert int(measured.model.optimizer.iterations) == 3
    for ours, fits in zip(
        measured.model.get_weights(), by_fit.model.get_weights(), strict=True
    ):
        np.testing.assert_allclose(ours, fits, rtol=1e-4, atol=1e-5)


def test_inference_leaves_the_weights(backend):
    task = Task(size=16, batch=4, mode="inference", arguments=NARROW | HEAD)
    measured = KerasSteps(asdict(task))
    measured.build()
    measured.compile()
    before = measured.model.get_weights()

    assert measured.run(2, "") == 2

    for old, new in zip(before, measured.model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("network", "parameters"), [("GradAttnV1", 12_849_994), ("ResNet18", 11_181_642)]
)
def test_peers_have_as_many_parameters_as_published(network, parameters):
    with torch.device("meta"):
        module = PEERS[network](10, 3)

    assert sum(p.numel() for p in module.parameters()) == parameters


@pytest.mark.any_backend
@pytest.mark.parametrize("network", list(PEERS))
def test_peers_outputs_loss_and_gradients_are_ours(network):
    head = HEAD | {"dropout": 0.0} if network == "GradAttnV1" else {}
    sizes = NARROW | head
    torch.manual_seed(0)
    module = PEERS[network](3, 2, **sizes)
    model = getattr(keras_gradattn, network)(
        3, (None, None, 2), classifier_activation=None, **sizes
    )
    keras_gradattn.load_pytorch_weights(model, module.state_dict())
    images, labels = random_images(6, 28, 28, 2), np.arange(6) % 3
    nchw = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())

    with torch.no_grad():
        expected = module.eval()(nchw).numpy()
    np.testing.assert_allclose(inference(model, images), expected, atol=2e-5)

    logits = module.train()(nchw)
    expected_loss = torch.nn.CrossEntropyLoss()(logits, torch.from_numpy(labels))
    expected_loss.backward()
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    loss, _, gradients = loss_and_gradients(model, images, labels, cross_entropy)

    assert loss == pytest.approx(float(expected_loss.detach()), rel=1e-5)
    variables = map(id, model.trainable_variables)
    by_variable = dict(zip(variables, gradients, strict=True))
    slots = released_tensors(model)
    parameters = dict(module.named_parameters())
    assert set(parameters) <= set(slots)
    for name, parameter in parameters.items():
        slot = slots[name]
        ours = slot.to_pytorch(
            np.concatenate([by_variable[id(v)] for v in slot.variables], axis=-1)
        )
        scale = max(float(parameter.grad.abs().max()), 1e-3)
        np.testing.assert_allclose(
            ours, parameter.grad.numpy(), atol=1e-4 * scale, err_msg=name
        )
