"""The report: only what the JSONs say, and nothing that noise could say."""

import json
import math
import re

import numpy as np
import pytest
from scipy.stats import spearmanr

from keras_gradattn.training import RECIPES
from studies.report import rank_correlation, write_report
from tests.studies.made_up_results import write_result

pytestmark = pytest.mark.any_backend


@pytest.fixture
def study(tmp_path):
    """A small study: defects, three seeds, the cause test."""
    for seed in range(3):
        write_result(tmp_path, seed=seed, accuracy=0.900 + 0.002 * seed)
        write_result(
            tmp_path, model="gradattn_v2", seed=seed, accuracy=0.901 + 0.002 * seed
        )
        write_result(
            tmp_path,
            model="gradattn_v3",
            seed=seed,
            accuracy=0.940 + 0.001 * seed,
            dead=seed,
            health=92,
        )
    for recipe in RECIPES:
        if recipe.startswith("as_released"):
            write_result(tmp_path, recipe=recipe, accuracy=0.641)
        if recipe.startswith("fixed_steps"):
            write_result(tmp_path, recipe=recipe, dead=4)
    write_result(tmp_path, model="cbam_resnet18", accuracy=0.89, short=True)
    return tmp_path


def section(text, title):
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", text, re.M | re.S).group(1)


def test_every_section_is_there_and_every_figure_exists(study):
    text = write_report(study).read_text()
    assert re.findall(r"^## (.*)$", text, re.M) == [
        "Fashion-MNIST",
        "At equal length",
        "One defect at a time",
        "Gradient health and accuracy",
        "Does coupled L2 starve layers?",
        "What attention over depth does",
        "Not run here",
        "Every run",
    ]
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert len(links) == len(list(study.glob("*.json"))) + 4
    for link in links:
        assert (study / link).exists()


def test_accuracy_table(study):
    body = section(write_report(study).read_text(), "Fashion-MNIST")
    assert re.search(r"\| ResNet-18 +\| 64.11 .*\| 90.20 ± 0.20 \(n=3\)", body)
    assert re.search(r"\| CBAM-ResNet-18 .*89.00, short", body)
    assert "94.9, ResNet-18" in body


def test_no_winner_inside_the_noise(study):
    body = section(write_report(study).read_text(), "Fashion-MNIST")
    lines = [line for line in body.splitlines() if line.startswith("*")]
    assert len(lines) == 2
    v2, v3 = lines
    # 0.10 apart with a deviation of 0.20 each.
    assert "GradAttn V2 minus ResNet-18" in v2
    # Welch, by hand: 4 degrees of freedom, 2.776 standard errors of 0.163.
    assert "+0.10 (95 % interval -0.35 to +0.55; 3 and 3 seeds)" in v2
    assert v2.endswith(": no difference is shown.")
    # 2.94 degrees of freedom, 3.22 standard errors of 0.129.
    assert "+3.90 (95 % interval +3.48 to +4.32; 3 and 3 seeds)" in v3
    assert v3.endswith(": a difference.")


def test_networks_at_the_length_of_the_shortest(tmp_path):
    write_result(tmp_path, model="resnet18", validation=[0.5, 0.625, 0.75, 0.875])
    write_result(tmp_path, model="gradattn_v1", validation=[0.25, 0.375, 0.75])
    options = {"mixing": "equal"}
    for seed, second in enumerate((0.5, 0.52)):
        write_result(tmp_path, seed=seed, model="gradattn_v2", options=options,
                     validation=[0.375, second], tag="-equal")  # fmt: skip
    body = section(write_report(tmp_path).read_text(), "At equal length")
    rows = [cells(line)[2:] for line in body.splitlines() if line.startswith("| F")]
    assert rows == [
        ["ResNet-18", "2", "62.50"],
        ["GradAttn V1", "2", "37.50"],
        ["GradAttn V2, equal", "2", "51.00 ± 1.41 (n=2)"],
    ]


@pytest.mark.parametrize("recipe", ["modern", "fixed_steps_coupled", "as_described"])
def test_no_common_length_for_schedules_that_know_theirs_or_two_networks(
    tmp_path, recipe
):
    models = ["resnet18", "gradattn_v1", "gradattn_v2"]
    for model in models[: 2 if recipe == "as_described" else 3]:
        write_result(tmp_path, model=model, recipe=recipe)
    assert "## At equal length" not in write_report(tmp_path).read_text()


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def defects_row(folder, title):
    body = section(write_report(folder).read_text(), "One defect at a time")
    row = next(line for line in body.splitlines() if f"| {title} " in line)
    return cells(row)[2:]


def test_a_run_fills_the_column_of_the_weights_it_left(tmp_path):
    write_result(tmp_path, recipe="as_released", accuracy=0.65, other_accuracy=0.66)
    write_result(tmp_path, recipe="as_described", accuracy=0.93, other_accuracy=0.92)
    # Released, pixels, best weights, both repaired, as described.
    assert defects_row(tmp_path, "ResNet-18") == [
        "64.11", "65.00", "92.00*", "66.00*", "93.00*", "93.00",
    ]  # fmt: skip


def test_a_column_prefers_its_own_run(tmp_path):
    write_result(tmp_path, recipe="as_released", accuracy=0.65)
    write_result(tmp_path, recipe="as_described", accuracy=0.93, other_accuracy=0.92)
    write_result(tmp_path, recipe="as_released_pixels_repaired", accuracy=0.94)
    assert defects_row(tmp_path, "ResNet-18")[2] == "94.00"


def test_another_initialization_is_another_training(tmp_path):
    se = {"model": "se_resnet18"}
    write_result(
        tmp_path, **se, recipe="as_released", accuracy=0.65, other_accuracy=0.66
    )
    write_result(
        tmp_path, **se, recipe="as_described", accuracy=0.93, other_accuracy=0.92
    )
    assert defects_row(tmp_path, "SE-ResNet-18")[1:] == [
        "65.00", "", "66.00*", "", "93.00",
    ]  # fmt: skip


def test_single_seeds_are_not_compared(tmp_path):
    write_result(tmp_path, accuracy=0.5)
    write_result(tmp_path, model="gradattn_v1", accuracy=0.9)
    assert "minus ResNet-18" not in write_report(tmp_path).read_text()


def test_subsets_and_narrow_networks_stay_out_of_the_tables(tmp_path):
    write_result(tmp_path, accuracy=0.5, limit=100)
    write_result(tmp_path, seed=1, accuracy=0.6, options={"stage_filters": [8]})
    text = write_report(tmp_path).read_text()
    assert "## Fashion-MNIST" not in text
    assert text.count(".json)") == 2


def test_data_sets_that_were_not_run_say_how(study):
    body = section(write_report(study).read_text(), "Not run here")
    assert "python -m keras_gradattn run --dataset cifar10" in body
    assert "95.28" in body
    assert "fashion_mnist" not in body
    assert body.count("python -m") == 7


def test_correlation_is_told_without_damaged_pixels_as_well(study):
    body = section(write_report(study).read_text(), "Gradient health and accuracy")
    counts = re.findall(r"Fashion-MNIST, (\d+) runs(.*):", body)
    assert len(counts) == 2
    (every, nothing), (intact, said) = counts
    assert nothing == ""
    assert said == ", correct pixels alone"
    assert int(every) - int(intact) == sum(
        RECIPES[name].released_pixels for name in RECIPES
    )


def test_cause_test_tells_norms_and_dead_kernels(study):
    body = section(write_report(study).read_text(), r"Does coupled L2 starve layers\?")
    for title in ("coupled L2", "decoupled decay", "no decay"):
        assert title in body
    assert "10.0 → 2.50, 4/5" in body


def test_attention_table_tells_movement_and_shares(study):
    write_result(study, model="gradattn_v1", options={"mixing": "equal"}, seed=7)
    write_result(study, model="gradattn_v1", options={"width": 32}, seed=8)
    told = section(write_report(study).read_text(), "What attention over depth does")
    row = next(line for line in told.splitlines() if "GradAttn V1" in line)
    # 0.125 of every map moves; each of five depths gives a fifth.
    told_cells = cells(row)
    assert told_cells[1:5] == [
        "GradAttn V1, equal",
        "as described",
        "7",
        "12.5 / 12.5 / 12.5",
    ]
    assert told_cells[5:10] == ["20.0 ± 3.0"] * 5
    # Another width is another network.
    assert told.count("GradAttn V1") == 1


def test_controls_are_rows_of_their_own(tmp_path):
    write_result(tmp_path, accuracy=0.9)
    for kind, accuracy in (("static", 0.91), ("equal", 0.92)):
        write_result(
            tmp_path,
            model="gradattn_pathways",
            accuracy=accuracy,
            options={"weights": kind},
            tag=kind,
        )
    write_result(tmp_path, model="gradattn_pathways", accuracy=0.93)
    body = section(write_report(tmp_path).read_text(), "Fashion-MNIST")
    rows = [cells(line) for line in body.splitlines() if line.startswith("|")][2:]
    assert rows == [
        ["ResNet-18", "64.11", "90.00"],
        ["GradAttnPathways", "", "93.00"],
        ["GradAttnPathways, equal", "", "92.00"],
        ["GradAttnPathways, static", "", "91.00"],
    ]


def test_a_result_of_earlier_defaults_is_another_network(tmp_path):
    older = {"older_weight": 1, "query": "learned"}
    for tag, format, accuracy, options in (
        ("earlier", 1, 0.92, {}),
        ("today", 2, 0.93, {}),
        ("older", 1, 0.91, older),
        ("equal", 1, 0.90, {"weights": "equal"}),
    ):
        write_result(
            tmp_path,
            model="gradattn_pathways",
            accuracy=accuracy,
            format=format,
            options=options,
            tag=tag,
        )
    body = section(write_report(tmp_path).read_text(), "Fashion-MNIST")
    rows = [cells(line) for line in body.splitlines() if line.startswith("|")][2:]
    assert rows == [
        ["GradAttnPathways", "", "93.00"],
        ["GradAttnPathways, equal, not normalized", "", "90.00"],
        ["GradAttnPathways, learned query, not normalized", "", "91.00"],
        ["GradAttnPathways, residual start", "", "92.00"],
    ]


def test_recipes_with_other_fields_say_so(tmp_path):
    path = write_result(tmp_path, recipe="modern", accuracy=0.9, short=True)
    content = json.loads(path.read_text())
    content["configuration"]["recipe"] |= {"name": "modern-tag", "stem": "imagenet"}
    path.write_text(json.dumps(content))
    text = write_report(tmp_path).read_text()
    assert "| modern, stem=imagenet |" in section(text, "Fashion-MNIST")
    assert "stem=imagenet, short" in section(text, "Every run")


def test_pathways_tell_movement_and_what_freezing_costs(tmp_path):
    write_result(tmp_path, model="gradattn_pathways", accuracy=0.93)
    text = write_report(tmp_path).read_text()
    body = section(text, "What the mixing weights of pathways do")
    row = cells([line for line in body.splitlines() if line.startswith("|")][2])
    assert row[4:] == ["0.0", "15.0", "93.00", "91.00", "-2.00", ""]
    assert (tmp_path / "figures" / "pathways.png").exists()


def test_depth_study_is_told_apart_from_the_rest(tmp_path):
    for blocks in ([2, 2, 2, 2], [4, 8, 34, 4]):
        for name, model, options in (
            ("plain", "resnet18", {"shortcuts": False}),
            ("residual", "resnet18", {}),
            ("attention", "gradattn_pathways", {}),
        ):
            write_result(
                tmp_path,
                model=model,
                options=options | {"stage_blocks": blocks},
                limit=5000,
                dead=1,
                short=True,
                tag=f"{name}{sum(blocks)}",
            )
    text = write_report(tmp_path).read_text()
    body = section(text, "How depth trains")
    rows = [cells(line) for line in body.splitlines() if line.startswith("|")][2:]
    assert [row[:2] for row in rows] == [
        ["18", "plain"],
        ["18", "residual"],
        ["18", "pathways, attention"],
        ["102", "plain"],
        ["102", "residual"],
        ["102", "pathways, attention"],
    ]
    # Training, validation and test accuracy, evenness twice, dead kernels, minutes.
    assert rows[0][3:] == ["80.0", "80.00", "80.00", "1", "1", "1", "10.0"]
    assert (tmp_path / "figures" / "depth.png").exists()
    assert "What the mixing weights" not in text
    assert "## Fashion-MNIST" not in text


def test_depth_study_tells_means_over_seeds(tmp_path):
    for seed, accuracy in ((1, 0.80), (2, 0.81), (3, 0.82)):
        write_result(
            tmp_path,
            seed=seed,
            accuracy=accuracy,
            options={"stage_blocks": [2, 2, 2, 2]},
            limit=5000,
        )
    body = section(write_report(tmp_path).read_text(), "How depth trains")
    rows = [cells(line) for line in body.splitlines() if line.startswith("|")][2:]
    assert rows[0][5] == "81.00 ± 1.00 (n=3)"
    assert len(rows) == 1


def test_variants_stand_beside_what_they_vary(tmp_path):
    blocks = {"stage_blocks": [2, 2, 2, 2]}
    runs = {
        "residual": ("resnet18", {}, (0.80, 0.81)),
        "attention": ("gradattn_pathways", {}, (0.82, 0.83)),
        "prior": ("gradattn_pathways", {"weights": "prior"}, (0.79,)),
        "gates": ("gradattn_pathways", {"gate": "sigmoid", "query": "learned"}, (0.9,)),
    }
    for tag, (model, options, accuracies) in runs.items():
        for seed, accuracy in enumerate(accuracies):
            write_result(
                tmp_path,
                model=model,
                seed=seed,
                accuracy=accuracy,
                options=blocks | options,
                limit=5000,
                tag=tag,
            )
    # Another depth, at which nothing was tried.
    write_result(tmp_path, options={"stage_blocks": [3, 4, 6, 3]}, limit=5000)
    text = write_report(tmp_path).read_text()
    body = section(text, "What was tried on pathways")
    rows = [cells(line) for line in body.splitlines() if line.startswith("|")][2:]
    assert [row[0] for row in rows] == [
        "residual",
        "pathways, prior",
        "pathways, attention",
        "pathways, attention, learned query, sigmoid gates",
    ]
    # 2 degrees of freedom, 4.303 standard errors of 0.707.
    assert [row[5] for row in rows] == ["", "", "+2.00 (-1.04 to +5.04)", ""]
    assert "sigmoid" not in section(text, "How depth trains")


def test_report_repeats_itself(study):
    path = write_report(study)
    first = path.read_bytes()
    assert write_report(study).read_bytes() == first


def test_rank_correlation_equals_scipy():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 5, 30)
    y = x + rng.normal(size=30)
    rho, low, high = rank_correlation(x, y)
    assert rho == pytest.approx(spearmanr(x, y).statistic)
    assert low < rho < high


def test_rank_correlation_of_a_constant_does_not_exist():
    assert math.isnan(rank_correlation([1, 1, 1, 1], [1, 2, 3, 4])[0])


def test_nothing_to_report(tmp_path):
    with pytest.raises(ValueError, match="no finished experiment"):
        write_report(tmp_path)
