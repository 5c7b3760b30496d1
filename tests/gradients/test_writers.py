"""What the writers wrote, read back with the libraries that people read it with."""

import copy
import csv
import importlib
import itertools
import math
import os
import struct
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import hypothesis
import keras
import numpy as np
import pytest
from hypothesis import strategies

from keras_gradattn.gradients import GradientNorms
from keras_gradattn.gradients.writers import (
    CSVWriter,
    MLflowWriter,
    TensorBoardWriter,
    WandbWriter,
    Writer,
    as_writer,
)
from keras_gradattn.gradients.writers.writer import Row, StepWriter
from tests.gradients.records import make_record

pytestmark = pytest.mark.any_backend

GROUPS = ("stem", "body/block_1", "head, $ last#2")


def needed(name, extra):
    try:
        return importlib.import_module(name)
    except ImportError:
        pytest.fail(
            f"This test needs {name}: pip install 'keras-gradattn[{extra}]', or leave "
            "the tests out that need more than the tests extra: -m 'not outside'"
        )


@pytest.fixture
def record():
    return make_record(np.ones((2, 3)), groups=GROUPS, name="widths")


def rows(start, count, *, fit=0, epoch=0, seed=0):
    """`count` steps with a NaN, an infinity, a zero, and a measure now and then."""
    random = np.random.default_rng(seed + start)
    norm = random.lognormal(size=(count, 3))
    norm[0, 1], norm[-1, 2], norm[-1, 0] = np.nan, np.inf, 0.0
    ratio = np.ma.array(random.lognormal(size=(count, 3)), mask=True)
    ratio.mask[0] = False
    return np.arange(start, start + count), {
        "fit": np.full(count, fit),
        "epoch": np.full(count, epoch),
        "global_norm": random.lognormal(size=count),
        "norm": norm,
        "ratio": ratio,
    }


def expected(steps, values, prefix="gradients"):
    """Name to `{step: number}`, written out the plain way."""
    curves = {}
    for i, step in enumerate(steps):
        for j, group in enumerate(GROUPS):
            curves.setdefault(f"{prefix}/norm/{group}", {})[int(step)] = values["norm"][
                i, j
            ]
        curves.setdefault(f"{prefix}/global_norm", {})[int(step)] = values[
            "global_norm"
        ][i]
    for j, group in enumerate(GROUPS):
        curves[f"{prefix}/ratio/{group}"] = {int(steps[0]): values["ratio"].data[0, j]}
    return curves


def assert_same(read, wanted, relative=0.0):
    assert set(read) == set(wanted)
    for name, numbers in wanted.items():
        assert list(read[name]) == list(numbers), name
        np.testing.assert_allclose(
            list(read[name].values()), list(numbers.values()), rtol=relative
        )


# What all share.


class Remembering(StepWriter):
    """Keeps its rows."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.rows: list[Row] = []

    def _copy(self, number):
        return Remembering(prefix=f"{self.prefix}-{number}", every=self.every)

    def _start(self, record):
        self.opened = record

    def _put(self, rows):
        self.rows += rows

    def _stop(self):
        self.opened = None


@hypothesis.given(
    strategies.lists(strategies.lists(strategies.integers(0, 50), min_size=1))
)
def test_running_step_never_goes_back(chunks):
    writer = Remembering()
    writer.open(SimpleNamespace(groups=()))
    for chunk in chunks:
        writer.write(np.array(chunk), {})
    given = [step for chunk in chunks for step in chunk]
    running = [row.running_step for row in writer.rows]
    assert [row.step for row in writer.rows] == given
    assert all(a < b for a, b in itertools.pairwise(running))
    if all(a < b for a, b in itertools.pairwise(given)):
        assert running == given


@hypothesis.given(strategies.integers(1, 7))
def test_every_leaves_steps_out(every):
    writer = Remembering(every=every)
    writer.open(SimpleNamespace(groups=()))
    writer.write(np.arange(20), {"loss": np.arange(20.0)})
    kept = [step for step in range(20) if step % every == 0]
    assert [row.values["gradients/loss"] for row in writer.rows] == kept


def test_what_was_not_measured_is_left_out(record):
    writer = Remembering(prefix="g")
    writer.open(record)
    steps, values = rows(0, 3)
    writer.write(steps, values)
    first, second, _ = writer.rows
    assert first.values["g/ratio/stem"] == values["ratio"].data[0, 0]
    assert not [name for name in second.values if "ratio" in name]
    assert math.isnan(first.values["g/norm/body/block_1"])


def test_histograms_that_were_not_measured_are_left_out():
    writer = Remembering(prefix="g")
    edges = np.array([0.0, 1.0, np.inf])
    writer.open(SimpleNamespace(groups=("a", "b"), histogram_edges=edges))
    counts = np.ma.array(np.arange(12.0).reshape(3, 2, 2), mask=True)
    counts.mask[0] = counts.mask[1, 1] = False
    writer.write(np.arange(3), {"histogram": counts})
    found = [
        {name: histogram.counts.tolist() for name, histogram in row.histograms.items()}
        for row in writer.rows
    ]
    assert found == [
        {"g/histogram/a": [0.0, 1.0], "g/histogram/b": [2.0, 3.0]},
        {"g/histogram/b": [6.0, 7.0]},
        {},
    ]


def test_write_before_open_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must be opened"):
        CSVWriter(tmp_path / "a.csv").write(np.arange(2), {})


def test_rows_of_another_number_are_refused(record):
    writer = Remembering()
    writer.open(record)
    with pytest.raises(ValueError, match="2 of 'norm' for 3 steps"):
        writer.write(np.arange(3), {"norm": np.ones((2, 3))})


@pytest.mark.parametrize("every", [0, -1, True, 1.5])
def test_every_must_be_a_positive_whole_number(every):
    with pytest.raises(ValueError, match="Received: every="):
        CSVWriter("a.csv", every=every)


def test_writers_by_name():
    kinds = [CSVWriter, MLflowWriter, TensorBoardWriter, WandbWriter]
    for name, kind in zip(
        ("csv", "mlflow", "tensorboard", "wandb"), kinds, strict=True
    ):
        assert type(as_writer(name)) is kind
        assert isinstance(as_writer(name), Writer)
    writer = Remembering()
    assert as_writer(writer) is writer
    with pytest.raises(ValueError, match="Received: 'excel'"):
        as_writer("excel")


@pytest.mark.parametrize(
    ("writer", "module", "extra"),
    [
        (TensorBoardWriter("logs"), "tensorboard", "tensorboard"),
        (WandbWriter(), "wandb", "wandb"),
        (MLflowWriter(), "mlflow", "mlflow"),
    ],
)
def test_missing_library_is_told_with_its_extra(
    writer, module, extra, record, monkeypatch
):
    for name in [n for n in sys.modules if n.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"keras-gradattn\[{extra}\]"):
        writer.open(record)


def test_copies_write_elsewhere(tmp_path, record):
    original = CSVWriter(tmp_path / "trial.csv")
    for _ in range(2):
        trial = copy.deepcopy(original)
        trial.open(record)
        trial.write(*rows(0, 2))
        trial.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["trial-1.csv", "trial-2.csv"]
    boards = TensorBoardWriter("logs/gradients/")
    assert copy.deepcopy(boards).log_dir == "logs/gradients-1"
    assert copy.deepcopy(boards).log_dir == "logs/gradients-2"


# CSV.


def read_csv(path):
    with open(path, newline="", encoding="utf-8") as file:
        header, *lines = csv.reader(file)
    assert all(len(line) == len(header) for line in lines)
    return header, [dict(zip(header, line, strict=True)) for line in lines]


def csv_curves(path):
    header, lines = read_csv(path)
    return {
        name: {int(line["step"]): float(line[name]) for line in lines if line[name]}
        for name in header[3:]
    }


def test_csv_holds_every_step_exactly(tmp_path, record):
    writer = CSVWriter(tmp_path / "new" / "gradients.csv")
    steps, values = rows(5, 40)
    writer.open(record)
    for part in (slice(0, 7), slice(7, 40)):
        writer.write(steps[part], {key: value[part] for key, value in values.items()})
    writer.close()
    assert_same(csv_curves(writer.path), expected(steps, values))


def test_csv_continues_over_fits(tmp_path, record):
    writer = CSVWriter(tmp_path / "gradients.csv")
    for fit in range(2):
        writer.open(record)
        writer.open(record)
        writer.write(*rows(0, 3, fit=fit))
        writer.close()
        writer.close()
    _, lines = read_csv(writer.path)
    assert [(line["fit"], line["step"]) for line in lines] == [
        ("0", "0"), ("0", "1"), ("0", "2"), ("1", "0"), ("1", "1"), ("1", "2"),
    ]  # fmt: skip


def test_csv_replaces_an_old_file_unless_told_to_append(tmp_path, record):
    path = tmp_path / "gradients.csv"
    for start, append in ((0, False), (3, True), (6, False)):
        writer = CSVWriter(path, append=append)
        writer.open(record)
        writer.write(*rows(start, 3))
        writer.close()
        _, lines = read_csv(path)
        steps = [int(line["step"]) for line in lines]
        assert steps == list(range(start - 3 if append else start, start + 3))


def test_csv_appends_by_name_not_by_place(tmp_path):
    path = tmp_path / "gradients.csv"
    before = make_record(np.ones((1, 2)), groups=("a", "b"))
    after = make_record(np.ones((1, 3)), groups=("new", "b", "a"))
    for record, norm in ((before, [[1.0, 2.0]]), (after, [[30.0, 20.0, 10.0]])):
        writer = CSVWriter(path, append=True)
        writer.open(record)
        writer.write(np.array([0]), {"norm": np.array(norm)})
        writer.close()
    _, (first, second) = read_csv(path)
    names = [f"gradients/norm/{group}" for group in ("a", "b", "new")]
    assert [first[name] for name in names] == ["1.0", "2.0", ""]
    assert [second[name] for name in names] == ["10.0", "20.0", "30.0"]


def test_csv_appends_behind_a_line_cut_short(tmp_path, record):
    path = tmp_path / "gradients.csv"
    for start in (0, 3):
        writer = CSVWriter(path, append=True)
        writer.open(record)
        writer.write(*rows(start, 3))
        writer.close()
        if start == 0:
            whole = path.read_bytes()
            path.write_bytes(whole[:-4])
    _, lines = read_csv(path)
    assert [int(line["step"]) for line in lines] == [0, 1, 3, 4, 5]


def test_csv_refuses_to_append_to_a_foreign_file(tmp_path, record):
    path = tmp_path / "log.csv"
    path.write_text("epoch,loss\n0,1.5\n", encoding="utf-8")
    with pytest.raises(ValueError, match="fit, epoch, step"):
        CSVWriter(path, append=True).open(record)
    assert path.read_text(encoding="utf-8") == "epoch,loss\n0,1.5\n"


def test_csv_keeps_the_old_file_when_rewriting_fails(tmp_path, record, monkeypatch):
    writer = CSVWriter(tmp_path / "gradients.csv")
    writer.open(record)
    writer.write(*rows(0, 3))
    before = writer.path.read_bytes()

    def full_disk(*paths):
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(OSError, match="No space"):
        writer.write(np.array([3]), {"loss": np.array([1.0])})
    assert writer.path.read_bytes() == before


def test_csv_of_a_training_is_its_record(tmp_path):
    random = np.random.default_rng(0)
    x, y = random.normal(size=(20, 4)), random.normal(size=(20, 1))
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3, name="a"), keras.layers.Dense(1)]
    )
    path = tmp_path / "gradients.csv"
    norms = GradientNorms(writers=[CSVWriter(path)], detail_every=2)
    for _ in range(2):
        model.compile(keras.optimizers.SGD(0.01), "mse")
        model.fit(x, y, batch_size=4, epochs=2, verbose=0, callbacks=[norms])
    record = norms.record
    _, lines = read_csv(path)
    assert len(lines) == len(record) == 20
    for place in ("fit", "epoch", "step"):
        read = [int(line[place]) for line in lines]
        np.testing.assert_array_equal(read, getattr(record, place))
    for i, group in enumerate(record.groups):
        read = [float(line[f"gradients/norm/{group}"]) for line in lines]
        np.testing.assert_array_equal(read, record.norm[:, i])
        name = f"gradients/update_to_weight/{group}"
        read = [float(line[name]) for line in lines if line[name]]
        np.testing.assert_array_equal(read, record.detail["update_to_weight"][:, i])


def fit(norms, *, steps=20, fits=1):
    """Train a model of two layers, for so many steps each time."""
    random = np.random.default_rng(0)
    x, y = random.normal(size=(steps, 4)), random.normal(size=(steps, 1))
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3, name="a"), keras.layers.Dense(1)]
    )
    model.compile(keras.optimizers.SGD(0.01), "mse")
    for _ in range(fits):
        model.fit(x, y, batch_size=1, verbose=0, callbacks=[norms])
    return norms.record


@pytest.mark.parametrize("every", [1, 3])
def test_thinning_takes_no_row_from_writers(tmp_path, every):
    path = tmp_path / "gradients.csv"
    norms = GradientNorms(
        every=every, writers=[CSVWriter(path)], max_rows=10, check_every=10
    )
    record = fit(norms, steps=60)
    assert len(record) <= 10
    curve = csv_curves(path)["gradients/norm/a"]
    _, lines = read_csv(path)
    assert [int(line["step"]) for line in lines] == list(range(0, 60, every))
    column = record.groups.index("a")
    kept = [curve[step] for step in record.step.tolist()]
    np.testing.assert_array_equal(kept, record.norm[:, column])
    if every == 1:
        mean = np.mean(list(curve.values()))
        np.testing.assert_allclose(mean, record.epochs["mean"][0, column])


def test_copies_of_a_recorder_write_elsewhere(tmp_path):
    original = GradientNorms(writers=[CSVWriter(tmp_path / "trial.csv")])
    copies = [copy.deepcopy(original), copy.deepcopy(original), copy.copy(original)]
    assert original.copies == copies
    assert original.record is None
    for number, (norms, steps) in enumerate(zip(copies, (3, 5, 2), strict=True), 1):
        record = fit(norms, steps=steps)
        curve = csv_curves(tmp_path / f"trial-{number}.csv")["gradients/norm/a"]
        assert list(curve) == list(range(steps))
        column = record.norm[:, record.groups.index("a")]
        np.testing.assert_array_equal(list(curve.values()), column)
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.outside
def test_trials_of_a_tuner_write_elsewhere(tmp_path):
    tuners = needed("keras_tuner", "tuner")
    random = np.random.default_rng(0)
    x, y = random.normal(size=(20, 4)), random.normal(size=(20, 1))

    def build(choice):
        units = choice.Int("units", 2, 9)
        layers = [keras.layers.Dense(units, name="a"), keras.layers.Dense(1)]
        model = keras.Sequential([keras.Input((4,)), *layers])
        model.compile(keras.optimizers.SGD(0.01), "mse")
        return model

    norms = GradientNorms(writers=[CSVWriter(tmp_path / "trial.csv")])
    goal = tuners.Objective("loss", "min")
    search = tuners.RandomSearch(
        build, goal, max_trials=2, seed=0, directory=tmp_path / "search"
    )
    search.search(x, y, batch_size=4, epochs=2, callbacks=[norms], verbose=0)
    assert len(norms.copies) == 2
    assert len(list(tmp_path.glob("*.csv"))) == 2
    for number, trial in enumerate(norms.copies, 1):
        curve = csv_curves(tmp_path / f"trial-{number}.csv")["gradients/norm/a"]
        assert list(curve) == list(range(10))
        column = trial.record.norm[:, trial.record.groups.index("a")]
        np.testing.assert_array_equal(list(curve.values()), column)


class Failing(Remembering):
    """On a disk that is full when it is opened first."""

    openings = 0

    def _start(self, record):
        super()._start(record)
        self.openings += 1

    def _put(self, rows):
        if self.openings == 1:
            raise OSError("No space left on device")
        super()._put(rows)

    def _stop(self):
        super()._stop()
        if self.openings == 1:
            raise OSError("Stale file handle")


def test_a_writer_that_failed_is_opened_anew_by_the_next_fit():
    failing, other = Failing(), Remembering()
    norms = GradientNorms(writers=[failing, other], check_every=4)
    with pytest.warns(RuntimeWarning, match="No space left") as told:
        fit(norms, steps=8, fits=2)
    about = [one for one in told if issubclass(one.category, RuntimeWarning)]
    assert len(about) == 1
    assert failing.openings == 2
    assert [(row.fit, row.step) for row in failing.rows] == [
        (1, step) for step in range(8, 16)
    ]
    assert [row.step for row in other.rows] == list(range(16))
    assert failing.opened is None
    assert other.opened is None


def test_a_writer_that_cannot_be_closed_ends_no_training():
    class Stuck(Remembering):
        def _stop(self):
            raise OSError("Stale file handle")

    other = Remembering()
    norms = GradientNorms(writers=[Stuck(), other])
    with pytest.warns(RuntimeWarning, match="Stuck could not be closed"):
        fit(norms, steps=2)
    assert other.opened is None


def test_writers_are_closed_where_one_cannot_be_opened():
    class Missing(Remembering):
        def _start(self, record):
            raise ImportError("no such library")

    first = Remembering()
    with pytest.raises(ImportError, match="no such library"):
        fit(GradientNorms(writers=[first, Missing()]), steps=2)
    assert first.opened is None


# TensorBoard.


@pytest.fixture
def events():
    """Read every scalar and histogram of a folder back with TensorBoard's reader."""
    reader = needed(
        "tensorboard.backend.event_processing.plugin_event_accumulator", "tensorboard"
    )

    def read(folder):
        accumulator = reader.EventAccumulator(
            str(folder), size_guidance={reader.TENSORS: 0}
        )
        accumulator.Reload()
        return accumulator

    return read


def tensorboard_curves(accumulator):
    from tensorboard.util import tensor_util

    return {
        tag: {
            event.step: tensor_util.make_ndarray(event.tensor_proto).item()
            for event in accumulator.Tensors(tag)
        }
        for tag in accumulator.Tags()["tensors"]
    }


@pytest.mark.outside
def test_tensorboard_holds_every_step(tmp_path, record, events):
    writer = TensorBoardWriter(tmp_path)
    steps, values = rows(3, 200)
    writer.open(record)
    writer.write(steps, values)
    writer.close()
    # Event files hold float32.
    curves = tensorboard_curves(events(tmp_path))
    assert_same(curves, expected(steps, values), relative=1e-6)


@pytest.mark.outside
def test_tensorboard_is_readable_while_training_runs(tmp_path, record, events):
    writer = TensorBoardWriter(tmp_path)
    writer.open(record)
    steps, values = rows(0, 4)
    writer.write(steps, values)
    curves = tensorboard_curves(events(tmp_path))
    writer.close()
    assert_same(curves, expected(steps, values), relative=1e-6)


@pytest.mark.outside
def test_tensorboard_counts_on_over_optimizers(tmp_path, record, events):
    writer = TensorBoardWriter(tmp_path)
    for fit in range(2):
        writer.open(record)
        writer.write(*rows(0, 4, fit=fit))
        writer.close()
    curves = tensorboard_curves(events(tmp_path))
    assert list(curves["gradients/global_norm"]) == list(range(8))


@pytest.mark.outside
def test_tensorboard_holds_histograms(tmp_path, events):
    from tensorboard.util import tensor_util

    record = SimpleNamespace(groups=GROUPS)
    record.histogram_edges = np.array([0.0, 0.5, 1.0, 2.0, np.inf])
    counts = np.arange(24.0).reshape(2, 3, 4)
    writer = TensorBoardWriter(tmp_path)
    writer.open(record)
    writer.write(np.arange(2), {"histogram": counts})
    writer.close()
    read = events(tmp_path).Tensors("gradients/histogram/stem")
    for row, event in zip(counts[:, 0], read, strict=True):
        buckets = tensor_util.make_ndarray(event.tensor_proto)
        assert buckets[:, 2].sum() == row.sum()
        last = buckets[buckets[:, 2] > 0][-1]
        assert last.tolist() == [2.0, 4.0, row[-1]]


@pytest.mark.outside
def test_tensorboard_holds_the_histograms_of_a_training(tmp_path, events):
    from tensorboard.util import tensor_util

    writer = TensorBoardWriter(tmp_path)
    record = fit(GradientNorms(histograms=True, detail_every=8, writers=writer))
    accumulator = events(tmp_path)
    for column, group in enumerate(record.groups):
        read = accumulator.Tensors(f"gradients/histogram/{group}")
        assert [event.step for event in read] == [0, 8, 16]
        for row, event in zip(record.histograms[:, column], read, strict=True):
            buckets = tensor_util.make_ndarray(event.tensor_proto)
            assert buckets[:, 2].sum() == row.sum() == record.group_sizes[column]
            for low, high, count in buckets[buckets[:, 2] > 0]:
                assert row[np.searchsorted(record.histogram_edges, low)] == count
                assert high in record.histogram_edges


# Weights & Biases.


def wandb_history(folder):
    """Rows of an offline run: records of a LevelDB log, each a protobuf message."""
    import json

    import wandb
    from wandb.proto.wandb_internal_pb2 import Record

    # A finished run reaches the disk with the end of wandb's own process at the latest.
    wandb.teardown()
    (path,) = folder.rglob("run-*.wandb")
    content, position, whole, history = path.read_bytes(), 7, b"", []
    assert content[:4] == b":W&B"
    while position + 7 <= len(content):
        if (left := 32768 - position % 32768) < 7:
            position += left
            continue
        _, length, kind = struct.unpack("<IHB", content[position : position + 7])
        if kind == 0:
            break
        whole += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):
            message, whole = Record.FromString(whole), b""
            if message.WhichOneof("record_type") == "history":
                history.append(
                    {
                        item.key or "/".join(item.nested_key): json.loads(
                            item.value_json
                        )
                        for item in message.history.item
                    }
                )
    return history


def wandb_curves(history, prefix="gradients"):
    curves = {}
    for row in history:
        for name, number in row.items():
            if name.startswith(f"{prefix}/"):
                curves.setdefault(name, {})[row[f"{prefix}/step"]] = float(number)
    return {
        name: numbers
        for name, numbers in curves.items()
        if name.rpartition("/")[2] not in ("step", "fit", "epoch")
    }


@pytest.fixture
def quiet_wandb(monkeypatch, tmp_path):
    wandb = needed("wandb", "wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_CONSOLE", "off")
    monkeypatch.setenv("WANDB_MODE", "offline")
    for folder in ("CONFIG", "CACHE", "DATA"):
        monkeypatch.setenv(f"WANDB_{folder}_DIR", str(tmp_path / folder))
    yield wandb
    wandb.teardown()


@pytest.mark.outside
def test_wandb_holds_every_step_of_two_fits(tmp_path, record, quiet_wandb):
    writer = WandbWriter(project="test", directory=tmp_path / "runs")
    (tmp_path / "runs").mkdir()
    first, second = rows(0, 30), rows(30, 5, fit=1)
    for steps, values in (first, second):
        writer.open(record)
        writer.write(steps, values)
        writer.close()
    writer.finish()
    wanted = expected(*first)
    for name, numbers in expected(*second).items():
        wanted[name] |= numbers
    assert_same(wandb_curves(wandb_history(tmp_path / "runs")), wanted)


@pytest.mark.outside
def test_wandb_uses_the_active_run_and_leaves_it_open(tmp_path, record, quiet_wandb):
    run = quiet_wandb.init(project="test", dir=tmp_path)
    run.log({"mine": 1.0})
    writer = WandbWriter()
    writer.open(record)
    steps, values = rows(0, 3)
    writer.write(steps, values)
    writer.finish()
    run.log({"mine": 2.0})
    run.finish()
    history = wandb_history(tmp_path)
    assert [row["mine"] for row in history if "mine" in row] == [1.0, 2.0]
    assert_same(wandb_curves(history), expected(steps, values))


@pytest.mark.outside
def test_wandb_run_is_saved_where_nobody_finishes_it(tmp_path, quiet_wandb):
    script = """
import numpy as np
from types import SimpleNamespace
from keras_gradattn.gradients.writers import WandbWriter
writer = WandbWriter(project="test", directory=".")
writer.open(SimpleNamespace(groups=("a",), name="run"))
writer.write(np.arange(3), {"norm": np.arange(3.0)[:, None]})
writer.close()
"""
    path = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
    environment = os.environ | {"PYTHONPATH": path}
    command = [sys.executable, "-c", script]
    subprocess.run(command, cwd=tmp_path, check=True, env=environment)
    curves = wandb_curves(wandb_history(tmp_path))
    assert curves == {"gradients/norm/a": {0: 0.0, 1: 1.0, 2: 2.0}}


# MLflow.


@pytest.fixture
def mlflow(monkeypatch, tmp_path):
    # The file store is asked for by name since MLflow 3.
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow = needed("mlflow", "mlflow")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri((tmp_path / "runs").as_uri())
    yield mlflow
    mlflow.set_tracking_uri(before)


def mlflow_curves(mlflow, run_id):
    client = mlflow.MlflowClient()
    return {
        name: {
            metric.step: metric.value
            for metric in sorted(
                client.get_metric_history(run_id, name), key=lambda m: m.step
            )
        }
        for name in client.get_run(run_id).data.metrics
    }


def mlflow_names(curves):
    renamed = {"body/block_1": "body.block_1", "head, $ last#2": "head_ _ last_2"}
    return {
        next(
            (name.replace(a, b) for a, b in renamed.items() if a in name), name
        ): numbers
        for name, numbers in curves.items()
    }


@pytest.mark.outside
def test_mlflow_holds_every_step_of_two_fits(record, mlflow):
    writer = MLflowWriter()
    first, second = rows(0, 20), rows(20, 5, fit=1)
    for steps, values in (first, second):
        writer.open(record)
        assert mlflow.get_run(writer.run_id).info.status == "RUNNING"
        writer.write(steps, values)
        writer.close()
        assert mlflow.get_run(writer.run_id).info.status == "FINISHED"
    wanted = expected(*first)
    for name, numbers in expected(*second).items():
        wanted[name] |= numbers
    assert_same(mlflow_curves(mlflow, writer.run_id), mlflow_names(wanted))


@pytest.mark.outside
def test_mlflow_uses_the_active_run_and_leaves_it_open(record, mlflow):
    with mlflow.start_run() as run:
        writer = MLflowWriter()
        writer.open(record)
        steps, values = rows(0, 3)
        writer.write(steps, values)
        writer.close()
        assert mlflow.get_run(run.info.run_id).info.status == "RUNNING"
    curves = mlflow_curves(mlflow, run.info.run_id)
    assert_same(curves, mlflow_names(expected(steps, values)))


@pytest.mark.outside
def test_mlflow_keeps_alike_names_apart(mlflow):
    groups = ("a#1", "a$1", "a/1", "a.1", "a", "a/1/kernel")
    record = make_record(np.ones((1, 6)), groups=groups)
    writer = MLflowWriter()
    writer.open(record)
    writer.write(np.array([0]), {"norm": np.arange(6.0)[None]})
    writer.close()
    curves = mlflow_curves(mlflow, writer.run_id)
    assert sorted(numbers[0] for numbers in curves.values()) == list(range(6))
