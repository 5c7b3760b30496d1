"""The programs are what their tables say, and each fault can be put in."""

import dataclasses

import keras
import numpy as np
import pytest

from studies.diagnosis.mutations import BY_KIND, MUTANTS, MUTATIONS
from studies.diagnosis.programs import HEALTHY
from studies.diagnosis.programs.data import FAULTS, SOURCES, load
from studies.diagnosis.programs.networks import KINDS
from studies.diagnosis.programs.program import Data
from studies.diagnosis.programs.running import metric, prepare
from studies.diagnosis.real_programs import REAL, REAL_PROGRAMS
from studies.diagnosis.split import half_of

pytestmark = pytest.mark.any_backend


def test_there_are_as_many_programs_as_promised():
    assert len(HEALTHY) >= 120
    assert len(MUTANTS) >= 120
    assert len(REAL_PROGRAMS) >= 15


def test_names_are_unique():
    programs = (*HEALTHY, *MUTANTS, *REAL_PROGRAMS)
    assert len({program.name for program in programs}) == len(programs)


def test_every_kind_of_fault_and_network_occurs():
    assert {mutant.kind for mutant in MUTANTS} == set(BY_KIND)
    assert {program.network.kind for program in HEALTHY} == set(KINDS)


def test_expected_names_are_symptoms():
    from keras_gradattn.diagnosis.symptoms import SYMPTOMS

    for judged in (*MUTATIONS, *REAL):
        assert set(judged.expected) <= set(SYMPTOMS), judged


def test_real_programs_name_their_source():
    assert all(real.url.startswith("https://") for real in REAL)
    assert len({real.url for real in REAL}) == len(REAL)


def test_a_mutant_differs_from_its_healthy_program_in_its_tables():
    healthy = {program.name: program for program in HEALTHY}
    for mutant in MUTANTS:
        base = healthy[mutant.base]
        names = {"name": base.name, "kind": base.kind}
        assert dataclasses.replace(mutant, **names) != base


def test_the_split_is_stable():
    # By hand: the first byte of each name's SHA-256 is even or odd.
    import hashlib

    for name in ("blobs", "plane", "iris,epochs=40,rows=75,width=8"):
        first = hashlib.sha256(name.encode()).digest()[0]
        program = dataclasses.replace(HEALTHY[0], name=name, base=name)
        assert half_of(program) == ("release" if first % 2 else "tuning")
    assert half_of(dataclasses.replace(HEALTHY[0], base="blobs")) == "tuning"


def test_a_mutant_is_in_the_half_of_its_healthy_program():
    healthy = {program.name: program for program in HEALTHY}
    assert all(half_of(m) == half_of(healthy[m.base]) for m in MUTANTS)


@pytest.mark.parametrize("source", sorted(SOURCES))
def test_data_are_standardised_and_come_from_the_seed(source):
    data = Data(source, rows=40)
    rows, again, other = load(data), load(data), load(data, seed=1)
    parts = rows.x if isinstance(rows.x, tuple) else (rows.x,)
    same = again.x if isinstance(again.x, tuple) else (again.x,)
    for part, part_again in zip(parts, same, strict=True):
        np.testing.assert_array_equal(part, part_again)
        if not SOURCES[source].tokens:
            assert abs(part.mean()) < 0.2
            assert 0.5 < part.std() < 1.5
    assert len(rows.y) == len(rows.validation_y) == 40
    assert not np.array_equal(rows.y, other.y)
    if rows.source.task != "number":
        assert rows.y.max() < max(2, rows.source.classes)


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_a_data_fault_changes_the_rows(fault):
    numbers = fault in ("large_targets", "targets_1000", "nan_targets")
    numbers = numbers or fault == "inputs_100_targets_1e8"
    source = "plane" if numbers else "blobs"
    sound = load(Data(source, rows=60))
    broken = load(Data(source, rows=60, faults=(fault,)))
    arrays = ("x", "y", "validation_x", "validation_y")
    assert any(
        not np.array_equal(getattr(sound, name), getattr(broken, name))
        for name in arrays
    )


def test_data_faults_are_what_they_say():
    def broken(*faults, source="blobs"):
        return load(Data(source, rows=80, faults=faults))

    assert np.isnan(broken("nan_inputs").x).any()
    assert not np.isnan(broken("nan_inputs").validation_x).any()
    assert (np.diff(broken("sorted").y) >= 0).all()
    assert set(broken("class_missing").y) == {0, 1, 2}
    assert set(broken("class_missing").validation_y) == {0, 1, 2, 3}
    assert broken("labels_outside").y.max() == 4
    assert (broken("constant_columns").x.std(axis=0) == 0).sum() == 6
    leaking = broken("leaking")
    assert {row.tobytes() for row in leaking.validation_x} <= {
        row.tobytes() for row in leaking.x
    }
    sound, permuted = load(Data("blobs", rows=80)), broken("permuted")
    np.testing.assert_array_equal(np.sort(sound.y), np.sort(permuted.y))


def test_metric_is_accuracy_or_r_squared():
    y = np.array([0, 1, 1, 0])
    assert metric("binary", np.array([[0.2], [0.9], [0.1], [0.4]]), y) == 0.75
    rows = np.eye(3)[[0, 1, 2, 2]]
    assert metric("classes", rows, np.array([0, 1, 2, 1])) == 0.75
    numbers = np.array([1.0, 2.0, 3.0])
    assert metric("number", numbers[:, None], numbers) == 1
    assert metric("number", np.full((3, 1), 2.0), numbers) == pytest.approx(0)
    assert metric("number", np.full((3, 1), np.nan), numbers) == -1
    assert metric("binary", np.full((4, 1), np.nan), y) == 0


@pytest.mark.parametrize("kind", sorted(BY_KIND))
def test_every_mutation_builds(kind):
    mutant = next(m for m in MUTANTS if m.kind == kind)
    mutant = mutant.changed("data", rows=40)
    case = prepare(mutant)
    assert case.model.optimizer is not None
    x, y = case.rows.x, case.rows.y
    assert len(y) > 0
    inputs = [part[:4] for part in x] if isinstance(x, tuple) else x[:4]
    outputs = keras.ops.convert_to_numpy(case.model(inputs))
    assert outputs.shape[0] == 4


def test_wiring_faults_are_in_the_network():
    def outputs(kind, x):
        mutant = next(m for m in MUTANTS if m.kind == kind).changed("data", rows=40)
        model = prepare(mutant).model
        return keras.ops.convert_to_numpy(model(x))

    random = np.random.default_rng(0)
    first, second = random.normal(size=(2, 6, 4)).astype("float32")
    np.testing.assert_array_equal(
        outputs("an input that nothing uses", [first, second]),
        outputs("an input that nothing uses", [first, second + 1]),
    )
    mutant = next(m for m in MUTANTS if m.kind == "softmax over the batch")
    case = prepare(mutant.changed("data", rows=40))
    together = keras.ops.convert_to_numpy(case.model(case.rows.x[:6]))
    np.testing.assert_allclose(together.sum(axis=0), 1, rtol=1e-5)
