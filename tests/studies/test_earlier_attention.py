"""Earlier runs, summed up by group and weights."""

import json

import pytest

from studies import earlier_attention

pytestmark = pytest.mark.any_backend


ATTENTION, FIXED = (
    earlier_attention.GROUPS["5,000 images, residual start"][weights]
    for weights in ("attention", "fixed")
)


def write_run(folder, name, seed, loss, frozen):
    epochs = range(6)
    content = {
        "configuration": {"seed": seed},
        "history": {
            "loss": [loss + 1 / (1 + epoch) for epoch in epochs],
            "steps": [40 * (1 + epoch) for epoch in epochs],
        },
        "gradients": {
            "training": {
                # Two windows an epoch.
                "step": [20 * (1 + window) for window in range(12)],
                "rms": {"stem": [seed * window / 1000 for window in range(12)]},
            }
        },
        "metrics": {"top1": 0.8 + seed / 100},
        "pathways": {"frozen_top1": frozen} if frozen else {},
    }
    path = folder / name / f"seed{seed}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def test_means_over_the_seeds_that_are_there(tmp_path):
    write_run(tmp_path, ATTENTION, 1, 1.0, 0.7)
    write_run(tmp_path, ATTENTION, 2, 2.0, 0.6)
    write_run(tmp_path, FIXED, 1, 1.0, None)
    fixed, attention = earlier_attention.summarize(tmp_path)
    assert (fixed["weights"], fixed["frozen_top1"]) == ("fixed", None)
    assert attention["seeds"] == [1, 2]
    expected = {
        "loss_epoch_1": 2.5,
        "loss_epoch_5": 1.7,
        "stem_gradient_epoch_5": 0.0135,
        "test_top1": 0.815,
        "frozen_top1": 0.65,
    }
    assert {k: attention[k] for k in expected} == pytest.approx(expected)


def test_the_section_is_made_from_the_summary(tmp_path):
    assert earlier_attention.earlier_section(tmp_path) == ""
    write_run(tmp_path, ATTENTION, 1, 1.0, 0.7)
    output = tmp_path / earlier_attention.NAME
    earlier_attention.main(["--results", str(tmp_path), "--output", str(output)])
    section = earlier_attention.earlier_section(tmp_path)
    assert (
        "| 5,000 images, residual start: attention (1) "
        "| 2.000 | 1.200 | 1.167 | 9.00 | 81.00 | 70.00 |"
    ) in section.splitlines()


def test_seeds_are_compared_with_themselves(tmp_path):
    for seed, loss in ((1, 1.1), (2, 0.9)):
        write_run(tmp_path, ATTENTION, seed, loss, 0.7)
    for seed in (1, 2, 42):
        write_run(tmp_path, FIXED, seed, 1.0, None)
    output = tmp_path / earlier_attention.NAME
    earlier_attention.main(["--results", str(tmp_path), "--output", str(output)])
    told = "is higher than with fixed weights in 1 of 2 seeds."
    assert told in earlier_attention.earlier_section(tmp_path)
