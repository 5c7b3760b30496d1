"""The published rules on numbers worked out by hand, and on networks."""

import keras
import numpy as np
import pytest

import keras_gradattn
from keras_gradattn.gradients.comparison import compare_gradients
from keras_gradattn.gradients.gradient_flow import GradientFlow
from keras_gradattn.gradients.gradient_norms import GradientNorms
from keras_gradattn.paper.published_analysis import (
    PublishedAnalysis,
    published_analysis,
)
from keras_gradattn.paper.pytorch_checkpoints import published_modules
from tests.gradients.conftest import cross_entropy


def flow(norms, name="hand"):
    norms = np.asarray(norms, "float64")
    layers = tuple(f"layer{i}" for i in range(norms.shape[1]))
    keys = ("rms", "mean_abs", "std", "max_abs")
    return GradientFlow(
        name=name,
        layers=layers,
        groups=layers,
        kinds=("Dense",) * len(layers),
        gradient={
            "norm": norms,
            "product": norms,
            "zero_share": (norms == 0).astype("float64"),
            **dict.fromkeys(keys, norms),
        },
        forward={
            "mean_square": norms,
            "variance": norms,
            "dead_relu_share": np.full_like(norms, np.nan),
        },
        losses=np.ones(len(norms)),
    )


def analysis(norms, silent=()):
    measured = flow(norms)
    return PublishedAnalysis(
        "hand", measured.layers, silent, measured.gradient["norm"],
        *(measured.gradient[key] for key in ("mean_abs", "std", "max_abs")), measured,
    )  # fmt: skip


def test_rules_by_hand():
    # Means over two batches: 4, 2, 0, 1e-7, 20.
    result = analysis(
        [[3, 2, 0, 1e-7, 20], [5, 2, 0, 1e-7, 20]], silent=("a", "b", "c")
    )
    np.testing.assert_allclose(result.mean_norm, [4, 2, 0, 1e-7, 20])
    assert result.vanishing() == ["layer2", "layer3"]
    assert result.exploding() == ["layer4"]
    assert result.registered == 8
    assert result.health() == 2 / 8
    # 4/2; 2/0 skipped; 0/1e-7; 1e-7/20.
    assert result.decay_rate == pytest.approx((2 + 0 + 5e-9) / 3)
    assert result.bottlenecks == []
    assert result.flow.health() == 2 / 5
    assert result.flow.dead.tolist() == [False, False, True, False, False]
    # Dead layers left out: (4 / 20) over three depths of four living layers.
    assert result.flow.decay_per_depth() == pytest.approx(0.2 ** (1 / 3))


def test_bottleneck_by_hand():
    values = [1.0] * 9 + [0.1]
    result = analysis([values])
    assert np.mean(values) - 2 * np.std(values) > 0.1
    assert result.bottlenecks == ["layer9"]


def test_threshold_table():
    result = analysis([[3, 2, 0, 1e-7, 20]], silent=("a",))
    rows = result.threshold_table([(1e-8, 10), (1e-6, 100)])
    assert [row["vanishing_layers"] for row in rows] == [1, 2]
    assert [row["exploding_layers"] for row in rows] == [1, 0]
    assert rows[0]["health"] == 3 / 6
    assert rows[0]["corrected_health"] == pytest.approx(3 / 5)
    assert len(result.threshold_table()) >= 5
    with pytest.raises(ValueError, match="vanishing < exploding"):
        result.threshold_table([(1, 0.1)])


def test_report_tells_dead_from_attenuated_and_where_it_misleads():
    text = analysis([[3, 2, 0, 1e-7, 2]], silent=("a",)).report()
    assert "1 dead (layer2), 1 attenuated" in text
    assert "cannot exceed 83.33%" in text
    assert "Where this misleads" in text
    assert "Health score: 50.00% of 6 layers" in text


SMALL = {"num_classes": 4, "input_shape": (32, 32, 3), "stage_filters": (4, 4, 8, 8)}
HEAD = {"width": 8, "num_heads": 2, "feed_forward": 8}


@pytest.mark.usefixtures("without_traces")
@pytest.mark.parametrize(
    ("network", "arguments", "registered", "measured"),
    [
        ("GradAttnV2", HEAD, 35, 32),
        ("GradAttnV3", HEAD, 41, 38),
        ("ResNet18", {}, 21, 21),
    ],
)
def test_published_counts(network, arguments, registered, measured):
    model = getattr(keras_gradattn, network)(**SMALL, **arguments)
    # Deep stages of narrow networks see one pixel: few images could leave them dead.
    x = np.random.default_rng(0).normal(size=(32, 32, 32, 3)).astype("float32")
    result = published_analysis(
        model, (x, np.arange(32) % 4), "sparse_categorical_crossentropy", batch_size=16
    )
    assert result.norms.shape == (2, measured)
    assert result.registered == registered
    # SPEC: 32/35 = 91.43 %, 38/41 = 92.68 % where every hook that fires is healthy.
    assert result.health() == pytest.approx(measured / registered)
    assert result.flow.health() == 1
    assert list(result.layers) == list(published_modules(model))


def test_any_model(make_model, data):
    result = published_analysis(make_model(), data, cross_entropy, batch_size=16)
    assert result.layers == ("first", "shared", "last")
    assert result.silent == ()


def test_model_without_such_layers(data):
    inputs = keras.Input((8,))
    model = keras.Model(inputs, keras.layers.BatchNormalization()(inputs))
    with pytest.raises(ValueError, match="has none"):
        published_analysis(model, data, cross_entropy)


def recorded(make_model, data, name, **arguments):
    model, norms = make_model(), GradientNorms(name=name, **arguments)
    model.compile(keras.optimizers.Adam(1e-2), cross_entropy)
    model.fit(*data, batch_size=8, epochs=2, verbose=0, callbacks=[norms])
    return norms


def test_comparison_of_runs(make_model, data):
    runs = {name: recorded(make_model, data, name) for name in ("a", "b")}
    comparison = compare_gradients(runs)
    assert len(comparison.to_dataframe()) == 2 * 4
    assert "input over output" in comparison.report()
    first = runs["a"].record.epochs["mean"][0]
    root = np.sqrt(runs["a"].record.group_sizes)
    assert comparison.lines[1]["first"] == pytest.approx(first[1] / root[1])
    flows = compare_gradients({"x": flow([[1, 2, 4]]), "y": flow([[1, 1, 1]])})
    assert flows.input_to_output() == {"x": 0.25, "y": 1.0}


def test_comparison_refuses_a_mixture(make_model, data):
    with pytest.raises(ValueError, match="either training records"):
        compare_gradients({"a": recorded(make_model, data, "a"), "b": flow([[1]])})
    with pytest.raises(ValueError, match="at least one run"):
        compare_gradients({})


def assert_picture(figure, path):
    assert path.read_bytes().startswith(b"\x89PNG")
    for axes in figure.axes:
        if axes.get_label() != "<colorbar>":
            assert axes.get_title(loc="left")


def test_pictures(make_model, data, tmp_path):
    norms = recorded(make_model, data, "run", max_rows=6)
    for kind in ("heatmap", "lines"):
        path = tmp_path / f"{kind}.png"
        assert_picture(norms.plot(path, kind=kind), path)
    with pytest.raises(ValueError, match="kind='pie'"):
        norms.plot(kind="pie")
    path = tmp_path / "comparison.png"
    assert_picture(compare_gradients({"run": norms}).plot(path), path)
    result = published_analysis(make_model(), data, cross_entropy, batch_size=16)
    assert_picture(result.plot(tmp_path / "four.png"), tmp_path / "four.png")
    assert len(result.plot().axes) == 5  # four panels and one colour bar
    assert_picture(result.flow.plot(tmp_path / "flow.png"), tmp_path / "flow.png")


@pytest.mark.parametrize(
    ("norm", "hatch", "told"),
    [(1e-9, "////", "vanishing"), (1e3, "xxxx", "exploding"), (1, None, None)],
)
def test_heat_map_hatches_groups_beyond_a_threshold(
    make_model, data, monkeypatch, norm, hatch, told
):
    record = recorded(make_model, data, "run").record
    values = np.ones_like(record.norm)
    values[:, 1] = norm
    monkeypatch.setattr(type(record), "norm", property(lambda self: values))
    axes = record.plot().axes[0]
    hatches = [c.get_hatch() for c in axes.collections if c.get_hatch()]
    assert hatches == ([hatch] if hatch else [])
    figure = axes.get_figure()
    legends = [*figure.legends, *filter(None, [axes.get_legend()])]
    marks = " ".join(text.get_text() for one in legends for text in one.get_texts())
    for word in ("vanishing", "exploding"):
        assert (word in marks) == (word == told)


def test_compared_runs_share_a_colour_by_family(make_model, data):
    norms = recorded(make_model, data, "run")
    names = ["plain, depth 18", "residual, depth 18", "plain, depth 34", "other"]
    axes = compare_gradients(dict.fromkeys(names, norms)).plot().axes[0]
    looks = {line.get_label(): line for line in axes.lines}
    plain, residual, deeper, other = (looks[name] for name in names)
    assert plain.get_color() == deeper.get_color()
    assert plain.get_linestyle() != deeper.get_linestyle()
    assert len({line.get_color() for line in (plain, residual, other)}) == 3


def test_training_report_names_what_was_seen(make_model, data):
    text = recorded(make_model, data, "run").report()
    assert "Gradient norms of 'run'" in text
    for group in ("first", "norm", "shared", "last"):
        assert group in text
