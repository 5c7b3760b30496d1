"""Figures in texts: what the JSONs say, and drift found."""

import json

import pytest

from studies import insert_figures
from studies.figure_expressions import figure
from studies.insert_figures import check, insert, inserted
from tests.studies.made_up_results import write_result

pytestmark = pytest.mark.any_backend
RESNET = "fashion_mnist/resnet18/as_described"
PATHWAYS = "fashion_mnist/gradattn_pathways/modern"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A repository with a few runs and a benchmark."""
    folder = tmp_path_factory.mktemp("repository")
    runs = folder / "studies" / "runs"
    for seed, accuracy in enumerate((0.80, 0.81)):
        write_result(runs, seed=seed, accuracy=accuracy, other_accuracy=accuracy - 0.1)
        write_result(runs, model="gradattn_pathways", recipe="modern", seed=seed,
                     accuracy=accuracy + 0.02)  # fmt: skip
    write_result(runs, model="gradattn_v1", validation=[0.5, 0.75])
    (folder / "benchmarks").mkdir()
    (folder / "benchmarks" / "jax.json").write_text(
        json.dumps({"step ratio": [{"median": 1.175}, {"text": "fast", "yes": True}]})
    )
    return folder


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        (f"top1 {RESNET}", "80.50 ± 0.71"),
        (f"top1 {RESNET} digits=1", "80.5 ± 0.7"),
        (f"top1 {RESNET} deviation=no", "80.50"),
        (f"validation {RESNET}", "80.50 ± 0.71"),
        ("validation fashion_mnist/gradattn_v1 epochs=1", "50.00"),
        ("validation fashion_mnist/gradattn_v1", "75.00"),
        (f"training {RESNET}", "80.00 ± 0.00"),
        (f"other {RESNET}", "70.50 ± 0.71"),
        (f"frozen {PATHWAYS}", "80.50 ± 0.71"),
        (f"difference {PATHWAYS} {RESNET}", "+2.00"),
        # 2 degrees of freedom, 4.303 standard errors of 0.707.
        (f"interval {PATHWAYS} {RESNET}", "-1.04 to 5.04"),
        (f"runs {RESNET}", "2"),
        (f"runs {RESNET} {PATHWAYS}", "4"),
        ("published fashion_mnist resnet18", "64.11"),
        ("value benchmarks/jax.json 'step ratio/0/median'", "1.18"),
        (
            "value benchmarks/jax.json 'step ratio/0/median' factor=100 digits=1",
            "117.5",
        ),
    ],
)
def test_figures(root, expression, text):
    assert figure(expression, root) == text


@pytest.mark.parametrize(
    "expression",
    [
        "top1",
        "top1 fashion_mnist/nothing",
        f"median {RESNET}",
        f"interval {RESNET}",
        "difference fashion_mnist/gradattn_v1",
        "frozen fashion_mnist/gradattn_v1",
        "published digits resnet18",
        "value benchmarks/none.json a",
        "value benchmarks/jax.json 'step ratio/2/median'",
        "value benchmarks/jax.json 'step ratio/1/text'",
        "value benchmarks/jax.json 'step ratio/1/yes'",
        f"top1 {RESNET} digits=many",
        "top1 'open",
        "",
    ],
)
def test_what_is_not_there_is_named(root, expression):
    with pytest.raises(ValueError, match="No such figure") as caught:
        figure(expression, root)
    assert str(caught.value).endswith(f"Received: {expression}")


TEXT = """<!-- name: r = fashion_mnist/resnet18/as_described -->
| <!-- figure: top1 {{r}} -->{0}<!-- / --> | <!-- figure: runs {{r}} -->{1}<!-- / --> |

```
<!-- figure: not read -->
```
Not a figure: 80.49.
"""


def test_figures_are_inserted_and_all_else_stays(root):
    assert inserted(TEXT.format("?", ""), root) == TEXT.format("80.50 ± 0.71", "2")


def test_drift_is_found_told_and_mended(root, tmp_path, capsys):
    path = tmp_path / "README.md"
    path.write_text(TEXT.format("80.50 ± 0.70", "2"))
    assert check([path], root) == [path]
    told = f"{path}:2: '80.50 ± 0.70' is '80.50 ± 0.71' (top1 {{r}})\n"
    assert capsys.readouterr().out == told
    assert insert([path], root) == [path]
    assert path.read_text() == TEXT.format("80.50 ± 0.71", "2")
    assert insert([path], root) == check([path], root) == []


def test_a_marker_without_an_end_is_an_error_that_names_the_line(root, tmp_path):
    path = tmp_path / "README.md"
    path.write_text(f"\n<!-- figure: top1 {RESNET} -->80.50\n<!-- / -->")
    with pytest.raises(ValueError, match=r"README\.md: .*Received: line 2"):
        check([path], root)


def test_the_command_fails_where_a_text_has_drifted(
    root, tmp_path, monkeypatch, capsys
):
    path = tmp_path / "README.md"
    path.write_text(TEXT.format("80.50", "2"))
    monkeypatch.setattr(insert_figures, "ROOT", root)
    monkeypatch.setattr(check, "__defaults__", (root,))
    monkeypatch.setattr(insert, "__defaults__", (root,))
    assert insert_figures.main(["--check", str(path)]) == 1
    assert path.read_text() == TEXT.format("80.50", "2")
    assert insert_figures.main([str(path)]) == 0
    assert insert_figures.main(["--check", str(path)]) == 0
    path.write_text("<!-- figure: nonsense -->1<!-- / -->")
    assert insert_figures.main([str(path)]) == 2
    assert "Received: nonsense" in capsys.readouterr().err
