"""The tables say what a JSON made by hand says, and two programs run."""

import json

import pytest

from keras_gradattn.diagnosis import confidence
from studies.diagnosis import calibration, killed, table
from studies.diagnosis.programs import HEALTHY
from studies.diagnosis.results import Results
from studies.diagnosis.run import run

pytestmark = pytest.mark.any_backend


def entry(**values):
    made = {
        "family": "tables",
        "kind": None,
        "base": values["name"],
        "least": 0.8,
        "metric": 0.9,
        "raised": None,
        "findings": [],
        "autotrainer": [],
        "deepdiagnosis": [],
    }
    return made | values


def fault(base, kind, metric, *findings, **values):
    name = f"{kind} | {base}"
    return entry(
        name=name,
        base=base,
        kind=kind,
        metric=metric,
        findings=[[finding, "warning", 0.9, 1] for finding in findings],
        **values,
    )


@pytest.fixture
def entries():
    return [
        entry(name="a"),
        entry(name="b", findings=[["overfitting", "note", 0.5, 9]]),
        entry(name="c", findings=[["plateau", "warning", 0.5, 9]], deepdiagnosis=["x"]),
        entry(name="weak", metric=0.5, findings=[["plateau", "fault", 0.5, 9]]),
        # Right in the second place, and AUTOTRAINER too.
        fault(
            "a", "dead ReLU", 0.3, "plateau", "dead_units", autotrainer=["dying ReLU"]
        ),
        # Right only in the third place.
        fault("b", "dead ReLU", 0.3, "plateau", "underfitting", "dead_units"),
        # Does no damage.
        fault("c", "dead ReLU", 0.89, "dead_units"),
        # Of a program that is not healthy.
        fault("weak", "dead ReLU", 0.1, "dead_units"),
        # Wrong by its structure, whatever its metric; said wrongly by the other.
        fault("c", "an input times zero", 0.9, deepdiagnosis=["dead node"]),
    ]


def test_a_fault_counts_if_it_is_killed(entries):
    counted = {e["name"] for e in table.faulty(entries, {})}
    assert counted == {"dead ReLU | a", "dead ReLU | b", "an input times zero | c"}


def test_a_further_seed_can_clear_a_mutant(entries):
    others = {"dead ReLU | a": {"1": 0.91}, "a": {"1": 0.9}}
    assert "dead ReLU | a" not in {e["name"] for e in table.faulty(entries, others)}
    worse = {"dead ReLU | a": {"1": 0.3}, "a": {"1": 0.9}}
    assert "dead ReLU | a" in {e["name"] for e in table.faulty(entries, worse)}


def test_a_training_that_cannot_run_is_killed(entries):
    programs = {e["name"]: e for e in entries}
    broken = fault("a", "NaN in inputs", None)
    assert killed.is_killed(broken, programs, {})


def test_a_right_name_must_be_among_the_first_two(entries):
    by_name = {e["name"]: e for e in entries}
    assert table.is_right(by_name["dead ReLU | a"], "ours")
    assert table.is_right(by_name["dead ReLU | a"], "autotrainer")
    assert not table.is_right(by_name["dead ReLU | b"], "ours")
    assert not table.is_right(by_name["an input times zero | c"], "deepdiagnosis")


def test_notes_are_no_alarms(entries):
    assert [bool(table.alarms(e)) for e in entries[:3]] == [False, False, True]


def test_totals(entries):
    written = table.totals(entries, {})
    assert "named right, of 3 faults" in written
    assert "warned about, of 3 healthy" in written
    assert "| ours | 33 % (1) | 67 % (2) | 33 % (1) |" in written
    assert "| AUTOTRAINER | 33 % (1) | 33 % (1) | 0 % (0) |" in written
    assert "| DeepDiagnosis | 0 % (0) | 33 % (1) | 33 % (1) |" in written


def test_kinds_and_families(entries):
    kinds = table.by_kind(entries, {})
    assert "| dead ReLU | 2 | 1 | 2 | 1, 1 | 0, 0 |" in kinds
    assert "| **all** | 3 | 1 | 2 | 1, 1 | 0, 1 |" in kinds
    assert "| tables | 3 | 1 | 0 | 1 |" in table.by_family(entries, {})


def test_misses_and_what_is_left_out(entries):
    misses = table.misses(entries, {})
    assert "* missed: dead ReLU | b (said: plateau, underfitting, dead_units)" in misses
    assert "* missed: an input times zero | c (said: nothing)" in misses
    assert "* false alarm: c (plateau)" in misses
    assert misses.count("*") == 3
    left_out = table.left_out(entries, {})
    assert "* not healthy enough: weak (0.5 of 0.8)" in left_out
    assert "* does no clear damage: dead ReLU | c (0.89)" in left_out


def test_inserting_fills_markers_and_keeps_the_rest(entries, tmp_path):
    programs = {e["name"]: {k: v for k, v in e.items() if k != "name"} for e in entries}
    (tmp_path / "tuning-torch.json").write_text(json.dumps({"programs": programs}))
    text = "before\n<!-- diagnosis: totals {} -->\nold\n<!-- / -->\nafter\n"
    written = table.inserted(text.format("tuning"), tmp_path)
    assert written.startswith("before\n")
    assert written.endswith("<!-- / -->\nafter\n")
    assert "of 3 faults" in written
    assert "old" not in written
    assert table.inserted(written, tmp_path) == written
    assert "Not run yet." in table.inserted(text.format("release"), tmp_path)
    with pytest.raises(ValueError, match="Received: nothing"):
        table.inserted("<!-- diagnosis: nothing x -->\n<!-- / -->", tmp_path)


def test_backends_side_by_side(entries, tmp_path):
    def write(backend, of):
        programs = {e["name"]: {k: v for k, v in e.items() if k != "name"} for e in of}
        text = json.dumps({"programs": programs})
        (tmp_path / f"release-{backend}.json").write_text(text)

    write("torch", entries)
    assert table.backends(entries, {}, "release", tmp_path) == ""
    # Here "c" gets no warning, and the fault of "b" is named.
    quiet = [e | {"findings": []} if e["name"] == "c" else e for e in entries[:6]]
    quiet[5] = fault("b", "dead ReLU", 0.3, "dead_units")
    write("jax", quiet)
    written = table.backends(entries, {}, "release", tmp_path)
    assert "| PyTorch | 9 | 33 % (1) of 3 | 33 % (1) of 3 | 6 of 6 |" in written
    assert "| JAX | 6 | 100 % (2) of 2 | 0 % (0) of 3 | 3 of 5 |" in written


def test_the_page_says_what_the_results_say():
    text = table.README.read_text("utf-8")
    assert table.inserted(text) == text


def test_two_programs_run_and_are_kept(tmp_path):
    kept = Results("tuning", "any", tmp_path)
    for index, program in enumerate(HEALTHY[:2]):
        program = program.changed("training", epochs=2).changed("data", rows=64)
        result = run(program)
        assert result["raised"] is None
        assert 0 <= result["metric"] <= 1
        assert {"findings", "autotrainer", "deepdiagnosis"} <= set(result)
        kept.add(program, result)
        again = Results("tuning", "any", tmp_path)
        assert len(again.programs) == index + 1
        assert program.name in again
        assert again.programs[program.name]["metric"] == result["metric"]
    kept.forget([HEALTHY[0].name])
    assert len(kept.programs) == 1


def test_findings_are_counted_by_whether_they_name_the_fault(entries, monkeypatch):
    above, notes = calibration.counts(entries, {})
    # Of "a" and "b": what does no damage, or is not of a healthy program, is left out.
    assert above["dead_units"] == (2, 2)
    # Once on a healthy program, twice on faults of another name.
    assert above["plateau"] == (0, 3)
    assert notes == {"overfitting": (0, 1)}
    monkeypatch.setattr(calibration, "confidence", lambda name, severity: 0.1)
    least, most = calibration.wilson(2, 7)
    assert (
        f"| 0.00 to 0.25 | 7 | 0.10 | 0.29 ({least:.2f} to {most:.2f}) |"
        in calibration.reliability(entries, {})
    )


def test_intervals_are_wilsons():
    from scipy import stats

    for right, said in ((0, 3), (7, 9), (20, 20)):
        known = stats.binomtest(right, said).proportion_ci(method="wilson")
        assert calibration.wilson(right, said) == pytest.approx(known)


def test_the_package_says_what_was_counted():
    above, notes = calibration.counts(table.load("tuning"), killed.other_seeds())
    assert above == confidence.ABOVE_NOTE
    assert notes == confidence.NOTES


def test_confidence_is_what_the_tuning_half_counted():
    found = calibration.counts(table.load("tuning"), killed.other_seeds())
    assert found == (confidence.ABOVE_NOTE, confidence.NOTES)
