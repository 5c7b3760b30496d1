"""The report: only what the JSONs say, and nothing that noise could say."""

import math
import re
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from scipy.stats import spearmanr

from docs.pictures import dark_picture
from keras_gradattn.paper import RECIPES
from keras_gradattn.training.results import read_results
from studies import report
from studies.rank_correlation import rank_correlation
from studies.sections import depth, pathways
from studies.table import MOST_COLUMNS, markdown
from tests.studies.made_up_results import write_result

pytestmark = pytest.mark.any_backend


def write_report(folder):
    """What `details.md` says; no picture is drawn."""
    return report.texts(read_results(folder))["details.md"]


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


def test_every_section_is_there_and_every_link_leads_somewhere(study):
    runs = study / "runs"
    runs.mkdir()
    for folder in list(study.iterdir()):
        if folder != runs:
            folder.rename(runs / folder.name)
    paths = report.write(study)
    assert [path.name for path in paths] == ["details.md", "runs.md"]
    details, every_run = (path.read_text() for path in paths)
    assert re.findall(r"^## (.*)$", details, re.M) == [
        "Fashion-MNIST",
        "At equal length",
        "One defect at a time",
        "Gradient health and accuracy",
        "Does coupled L2 starve layers?",
        "What attention over depth does",
        "Not run here",
    ]
    assert re.findall(r"^## (.*)$", every_run, re.M) == ["Every run"]
    count = len(list(runs.rglob("*.json")))
    assert every_run.count(".json)") == count
    pictures = re.findall(r"!\[.*\]\(figures/(.*)\)", details)
    both = [*pictures, *(dark_picture(Path(name)).name for name in pictures)]
    assert sorted(both) == sorted(p.name for p in (study / "figures").iterdir())
    links = re.findall(r"\]\(([^)]+)\)", details + every_run)
    assert len(links) == count + len(pictures) == count + 4
    for link in links:
        assert (study / unquote(link)).exists()


def test_a_page_that_drifts_is_found(tmp_path):
    write_result(tmp_path / "runs", accuracy=0.9)
    paths = report.write(tmp_path)
    assert report.drifted(tmp_path) == []
    paths[0].write_text(paths[0].read_text().replace("90.00", "90.01"))
    paths[1].unlink()
    assert report.drifted(tmp_path) == paths


def test_no_table_is_wider_than_a_reader_takes_in(study):
    for seed, options in enumerate(({}, {"mixing": "static"}, {"gate": "sigmoid"})):
        write_result(study, model="gradattn_pathways", options=options)
        blocks = {"stage_blocks": [2, 2, 2, 2]}
        write_result(study, model="gradattn_pathways", options=options | blocks,
                     limit=5000, seed=seed)  # fmt: skip
    pages = report.texts(read_results(study)).values()
    rows = [cells(line) for page in pages for line in page.splitlines()
            if line.startswith("|")]  # fmt: skip
    assert max(map(len, rows)) == MOST_COLUMNS
    with pytest.raises(ValueError, match=r"at most 7 columns.*Received: \['a', 'a'"):
        markdown(["a"] * 8, [])


def test_accuracy_table(study):
    body = section(write_report(study), "Fashion-MNIST")
    assert re.search(r"\| ResNet-18 \| 64.11 .*\| 90.20 ± 0.20 \(n=3\)", body)
    assert re.search(r"\| CBAM-ResNet-18 .*89.00, short", body)
    assert "94.9, ResNet-18" in body


def test_no_winner_inside_the_noise(study):
    body = section(write_report(study), "Fashion-MNIST")
    lines = [line for line in body.splitlines() if line.startswith("*")]
    assert len(lines) == 2
    v2, v3 = lines
    # 0.10 apart with a deviation of 0.20 each.
    assert "GradAttn V2 minus ResNet-18" in v2
    # Welch, by hand: 4 degrees of freedom, 2.776 standard errors of 0.163.
    assert "+0.10 (-0.35 to 0.55), 3 and 3 seeds" in v2
    assert v2.endswith(": no difference is shown.")
    # 2.94 degrees of freedom, 3.22 standard errors of 0.129.
    assert "+3.90 (3.48 to 4.32), 3 and 3 seeds" in v3
    assert v3.endswith(": a difference.")


def test_networks_at_the_length_of_the_shortest(tmp_path):
    write_result(tmp_path, model="resnet18", validation=[0.5, 0.625, 0.75, 0.875])
    write_result(tmp_path, model="gradattn_v1", validation=[0.25, 0.375, 0.75])
    options = {"mixing": "equal"}
    for seed, second in enumerate((0.5, 0.52)):
        write_result(tmp_path, seed=seed, model="gradattn_v2", options=options,
                     validation=[0.375, second])  # fmt: skip
    body = section(write_report(tmp_path), "At equal length")
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
    assert "## At equal length" not in write_report(tmp_path)


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def defects_row(folder, title):
    body = section(write_report(folder), "One defect at a time")
    row = next(
        line for line in body.splitlines() if f"| {title}, Fashion-MNIST " in line
    )
    return cells(row)[1:]


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
    assert "minus ResNet-18" not in write_report(tmp_path)


def test_subsets_and_narrow_networks_stay_out_of_the_tables(tmp_path):
    write_result(tmp_path, accuracy=0.5, limit=100)
    write_result(tmp_path, seed=1, accuracy=0.6, options={"stage_filters": [8]})
    pages = report.texts(read_results(tmp_path))
    assert "## Fashion-MNIST\n" not in pages["details.md"]
    assert pages["runs.md"].count(".json)") == 2


def test_data_sets_that_were_not_run_say_how(study):
    body = section(write_report(study), "Not run here")
    assert "python -m keras_gradattn run --dataset cifar10" in body
    assert "95.28" in body
    assert "fashion_mnist" not in body
    assert body.count("python -m") == 7


def test_correlation_is_told_without_damaged_pixels_as_well(study):
    body = section(write_report(study), "Gradient health and accuracy")
    counts = re.findall(r"Fashion-MNIST, (\d+) runs(.*):", body)
    assert len(counts) == 2
    (every, nothing), (intact, said) = counts
    assert nothing == ""
    assert said == ", correct pixels alone"
    assert int(every) - int(intact) == sum(
        recipe.released_pixels for recipe in RECIPES.values()
    )


def test_cause_test_tells_norms_and_dead_kernels(study):
    body = section(write_report(study), r"Does coupled L2 starve layers\?")
    for title in ("coupled L2", "decoupled decay", "no decay"):
        assert title in body
    assert "10.0 → 2.50, 4/5" in body


def test_attention_table_tells_movement_and_shares(study):
    write_result(study, model="gradattn_v1", options={"mixing": "equal"}, seed=7)
    write_result(study, model="gradattn_v1", options={"width": 32}, seed=8)
    told = section(write_report(study), "What attention over depth does")
    row = next(line for line in told.splitlines() if "GradAttn V1" in line)
    # 0.125 of every map moves; each of five depths gives a fifth.
    assert cells(row) == [
        "GradAttn V1, equal, as described, seed 7",
        "12.5 / 12.5 / 12.5",
        *["20.0 ± 3.0"] * 5,
    ]
    # Another width is another network.
    assert told.count("GradAttn V1") == 1


def test_controls_are_rows_of_their_own(tmp_path):
    write_result(tmp_path, accuracy=0.9)
    for kind, accuracy in (("static", 0.91), ("equal", 0.92)):
        write_result(
            tmp_path,
            model="gradattn_pathways",
            accuracy=accuracy,
            options={"mixing": kind},
        )
    write_result(tmp_path, model="gradattn_pathways", accuracy=0.93)
    body = section(write_report(tmp_path), "Fashion-MNIST")
    rows = [cells(line) for line in body.splitlines() if line.startswith("|")][2:]
    assert rows == [
        ["ResNet-18", "64.11", "90.00"],
        ["GradAttnPathways", "", "93.00"],
        ["GradAttnPathways, equal", "", "92.00"],
        ["GradAttnPathways, static", "", "91.00"],
    ]


def test_starts_and_removed_options_are_other_networks(tmp_path):
    for accuracy, options in (
        (0.93, {}),
        (0.92, {"start": "residual"}),
        (0.91, {"normalized": False, "older_weight": 1, "query": "learned"}),
        (0.90, {"mixing": "equal", "start": "residual"}),
        (0.89, {"normalized": True, "older_weight": 0.05, "channel_groups": 16}),
    ):
        write_result(
            tmp_path, model="gradattn_pathways", accuracy=accuracy, options=options
        )
    body = section(write_report(tmp_path), "Fashion-MNIST")
    rows = [cells(line) for line in body.splitlines() if line.startswith("|")][2:]
    assert rows == [
        ["GradAttnPathways", "", "93.00"],
        ["GradAttnPathways, 16 channel groups, older depths at 0.05", "", "89.00"],
        ["GradAttnPathways, equal, not normalized", "", "90.00"],
        ["GradAttnPathways, learned query, not normalized", "", "91.00"],
        ["GradAttnPathways, residual start", "", "92.00"],
    ]


def test_recipes_with_other_fields_say_so(tmp_path):
    write_result(tmp_path, recipe="modern", changes={"stem": "imagenet"}, short=True)
    pages = report.texts(read_results(tmp_path))
    assert "| modern, stem=imagenet |" in section(pages["details.md"], "Fashion-MNIST")
    assert "modern,stem=imagenet/seed0](" in pages["runs.md"]
    assert cells(pages["runs.md"].splitlines()[-1])[-1] == "short"


def test_published_protocols_and_others_have_tables_of_their_own(tmp_path):
    write_result(tmp_path, accuracy=0.9)
    write_result(tmp_path, recipe="modern", accuracy=0.8)
    body = section(write_report(tmp_path), "Fashion-MNIST")
    rows = [cells(line) for line in body.splitlines() if line.startswith("|")]
    assert rows == [
        ["", "published", "as described"],
        ["---"] * 3,
        ["ResNet-18", "64.11", "90.00"],
        ["", "modern"],
        ["---"] * 2,
        ["ResNet-18", "80.00"],
    ]


def test_remarks_stand_below_the_tables_that_have_marked_figures(tmp_path):
    for model in ("resnet18", "gradattn_v2"):
        marked = model == "gradattn_v2"
        for recipe in ("as_released", "as_released_pixels_repaired"):
            write_result(
                tmp_path, model=model, recipe=recipe, accuracy=0.65,
                changes={"released_blocks": False} if marked else {},
                remarks=["Run without `released_blocks`"] if marked else None,
            )  # fmt: skip
    text = write_report(tmp_path)
    for title in ("Fashion-MNIST", "One defect at a time"):
        body = section(text, title)
        assert re.search(r"\| ResNet-18.* 65.00 \|", body)
        assert re.search(r"\| GradAttn V2.* 65.00 † \|", body)
        assert "† Run without `released_blocks`." in body
    # Another column's training is the same but for what the sign stands for.
    assert defects_row(tmp_path, "GradAttn V2")[1:3] == ["65.00 †", "65.00 †"]


def test_a_run_that_lacks_no_departure_is_preferred(tmp_path):
    options = {"model": "gradattn_v2", "recipe": "as_released"}
    write_result(tmp_path, **options, accuracy=0.65,
                 changes={"released_blocks": False})  # fmt: skip
    write_result(tmp_path, **options, accuracy=0.70)
    write_result(tmp_path, model="gradattn_v2",
                 recipe="as_released_pixels_repaired", accuracy=0.94)  # fmt: skip
    assert defects_row(tmp_path, "GradAttn V2")[1] == "70.00"


def test_pathways_tell_movement_and_what_freezing_costs(tmp_path):
    write_result(tmp_path, model="gradattn_pathways", accuracy=0.93)
    text = write_report(tmp_path)
    body = section(text, "What the mixing weights of pathways do")
    row = cells([line for line in body.splitlines() if line.startswith("|")][2])
    assert row[3:] == ["0.0 / 15.0", "93.00", "91.00", "-2.00"]
    experiments = read_results(tmp_path)
    pathways.draw(experiments, tmp_path)
    assert (tmp_path / pathways.PICTURE).exists()


def test_depth_study_is_told_apart_from_the_rest(tmp_path):
    for blocks in ([2, 2, 2, 2], [4, 8, 34, 4]):
        for model, options in (
            ("resnet18", {"shortcuts": False}),
            ("resnet18", {}),
            ("gradattn_pathways", {}),
        ):
            write_result(
                tmp_path,
                model=model,
                options=options | {"stage_blocks": blocks},
                limit=5000,
                dead=1,
                short=True,
            )
    text = write_report(tmp_path)
    body = section(text, "How depth trains")
    rows = [cells(line) for line in body.splitlines() if line.startswith("|")][2:]
    assert [row[0] for row in rows] == [
        "18, plain",
        "18, residual",
        "18, pathways, attention",
        "102, plain",
        "102, residual",
        "102, pathways, attention",
    ]
    # Training, validation and test accuracy, evenness twice, dead kernels.
    assert rows[0][2:] == ["80.0", "80.00", "80.00", "1 → 1", "1"]
    experiments = read_results(tmp_path)
    depth.draw(experiments, tmp_path)
    assert (tmp_path / depth.PICTURE).exists()
    assert "What the mixing weights" not in text
    assert "## Fashion-MNIST\n" not in text


def test_depth_study_tells_means_over_seeds(tmp_path):
    for seed, accuracy in ((1, 0.80), (2, 0.81), (3, 0.82)):
        write_result(
            tmp_path,
            seed=seed,
            accuracy=accuracy,
            options={"stage_blocks": [2, 2, 2, 2]},
            limit=5000,
        )
    body = section(write_report(tmp_path), "How depth trains")
    rows = [cells(line) for line in body.splitlines() if line.startswith("|")][2:]
    assert rows[0][4] == "81.00 ± 1.00 (n=3)"
    assert len(rows) == 1


def test_variants_stand_beside_what_they_vary(tmp_path):
    blocks = {"stage_blocks": [2, 2, 2, 2]}
    runs = {
        "residual": ("resnet18", {}, (0.80, 0.81)),
        "attention": ("gradattn_pathways", {}, (0.82, 0.83)),
        "equal": ("gradattn_pathways", {"mixing": "equal"}, (0.79,)),
        "gates": ("gradattn_pathways", {"gate": "sigmoid", "query": "learned"}, (0.9,)),
    }
    for model, options, accuracies in runs.values():
        for seed, accuracy in enumerate(accuracies):
            write_result(
                tmp_path,
                model=model,
                seed=seed,
                accuracy=accuracy,
                options=blocks | options,
                limit=5000,
            )
    # Another depth, at which nothing was tried.
    write_result(tmp_path, options={"stage_blocks": [3, 4, 6, 3]}, limit=5000)
    text = write_report(tmp_path)
    body = section(text, "What was tried on pathways")
    rows = [cells(line) for line in body.splitlines() if line.startswith("|")][2:]
    assert [row[0] for row in rows] == [
        "residual",
        "pathways, equal",
        "pathways, attention",
        "pathways, attention, learned query, sigmoid gates",
    ]
    # 2 degrees of freedom, 4.303 standard errors of 0.707.
    assert [row[5] for row in rows] == ["", "", "+2.00 (-1.04 to 5.04)", ""]
    assert "sigmoid" not in section(text, "How depth trains")


def test_report_repeats_itself(study):
    assert write_report(study) == write_report(study)


def test_minutes_and_calibration_stand_with_every_run(tmp_path):
    write_result(tmp_path, accuracy=0.9)
    row = cells(report.texts(read_results(tmp_path))["runs.md"].splitlines()[-1])
    assert row[1] == "90.00"
    assert row[3:] == ["12 (5)", "10", "jax, 2 CPU cores", ""]


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
