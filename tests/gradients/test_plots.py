"""Pictures of gradients: what they say of zeros, of non-finite steps and of names."""

import itertools

import hypothesis
import hypothesis.extra.numpy
import numpy as np
import pytest
from hypothesis import strategies
from matplotlib.text import Text

from keras_gradattn.gradients import compare_gradients
from keras_gradattn.gradients.columns import begins, columns_of, norm_columns
from keras_gradattn.models.depth_weights import DepthWeights
from tests.gradients.records import make_record

pytestmark = pytest.mark.any_backend

NUMBERS = strategies.sampled_from([0.0, 0.5, 1.0, 8.0, np.nan, np.inf])


@hypothesis.given(
    values=hypothesis.extra.numpy.arrays(
        "float64", strategies.tuples(strategies.integers(1, 30), strategies.just(2)),
        elements=NUMBERS,
    ),
    most=strategies.integers(1, 12),
    data=strategies.data(),
)  # fmt: skip
def test_each_row_is_counted_in_one_column(values, most, data):
    measured = data.draw(hypothesis.extra.numpy.arrays(bool, values.shape))
    step = 3 * np.arange(len(values))
    columns = columns_of(values, step, measured=measured, stride=3, most=most)
    assert len(columns.first) <= most
    assert columns.edges[0] == 0
    assert columns.edges[-1] == 3 * len(values)
    ends = [*columns.first[1:], len(values)]
    for k, (start, end) in enumerate(zip(columns.first, ends, strict=True)):
        for group in range(2):
            known = values[start:end, group][measured[start:end, group]]
            assert columns.measured[k, group] == len(known)
            assert columns.zero[k, group] == np.sum(known == 0)
            assert columns.nonfinite[k, group] == np.sum(~np.isfinite(known))
            positive = [v for v in known if np.isfinite(v) and v > 0]
            expected = np.prod(positive) ** (1 / len(positive)) if positive else np.nan
            np.testing.assert_allclose(columns.level[k, group], expected, rtol=1e-9)


def test_plain_mean_counts_zeros():
    columns = columns_of(
        np.array([[0.0], [1.0]]),
        np.arange(2),
        measured=np.ones((2, 1), bool),
        stride=1,
        most=1,
        geometric=False,
    )
    assert columns.level.item() == 0.5


def collections(figure, label):
    return [c for c in figure.axes[0].collections if c.get_label() == label]


def legend(figure):
    return [text.get_text() for found in figure.legends for text in found.get_texts()]


def test_one_zero_in_ten_is_a_tenth_of_the_cell():
    norm = np.ones((4000, 2))
    norm[::10, 0] = 0.0
    figure = make_record(norm).plot()
    # Every cell keeps its colour ...
    assert not np.ma.getmaskarray(figure.axes[0].collections[0].get_array()).any()
    # ... and a stripe tells the share, no lower than what can be seen.
    (stripes,) = collections(figure, "exactly zero")
    heights = {np.ptp(path.vertices[:, 1]).round(6) for path in stripes.get_paths()}
    assert heights == {0.12}
    assert legend(figure) == ["exactly zero (height: share of steps, from below)"]


def test_stripes_have_the_height_of_their_share():
    norm = np.ones((800, 3))
    norm[1::2, 1] = np.nan
    norm[:, 2] = np.inf
    figure = make_record(norm).plot()
    (stripes,) = collections(figure, "not finite")
    spans = {
        tuple(np.round([p.vertices[:, 1].min(), p.vertices[:, 1].max()], 6).tolist())
        for p in stripes.get_paths()
    }
    assert spans == {(1.0, 1.5), (2.0, 3.0)}
    assert not collections(figure, "exactly zero")
    assert legend(figure) == ["not finite (height: share of steps, from above)"]


def test_plain_picture_has_no_legend():
    assert not legend(make_record(np.ones((20, 2))).plot())


def test_frozen_groups_are_empty_and_not_marked():
    measured = np.ones((20, 2), bool)
    measured[:10, 0] = False
    figure = make_record(np.ones((20, 2)), measured=measured).plot()
    mask = np.ma.getmaskarray(figure.axes[0].collections[0].get_array()).reshape(2, 20)
    np.testing.assert_array_equal(mask, ~measured.T)
    assert not legend(figure)


def test_thresholds_are_hatched_and_told():
    norm = np.ones((20, 3))
    norm[:, 0], norm[:, 2] = 1e-7, 100.0
    figure = make_record(norm).plot()
    assert legend(figure) == [
        "|g| below 1e-06 (vanishing)",
        "|g| above 10 (exploding)",
    ]


def test_fits_are_told_where_they_begin():
    record = make_record(np.ones((40, 2)), step=np.tile(np.arange(20), 2), fits=[20])
    assert [(b.running_step, b.label) for b in begins(record)] == [
        (0, "fit 0: SGD 0.1"),
        (20, "fit 1: SGD 0.05"),
    ]
    figure = record.plot()
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["fit 0: SGD 0.1", "fit 1: SGD 0.05"]
    assert legend(figure) == ["a new fit or optimizer begins"]
    assert not begins(make_record(np.ones((40, 2))))


def test_steps_never_go_back():
    record = make_record(np.ones((40, 2)), step=np.tile(np.arange(20), 2), fits=[20])
    np.testing.assert_array_equal(norm_columns(record, 1000).edges, np.arange(41))


@pytest.mark.parametrize("groups", [1, 12, 60, 200])
def test_names_do_not_touch(groups):
    names = [
        f"backbone/transformer_layer_{i // 4}/self_attention/{'qkvo'[i % 4]}/kernel"
        for i in range(groups)
    ]
    figure = make_record(np.ones((5, groups)), groups=names).plot()
    figure.draw_without_rendering()
    labels = figure.axes[0].get_yticklabels()
    boxes = sorted((label.get_window_extent() for label in labels), key=lambda b: b.y0)
    assert all(a.y1 <= b.y0 + 0.5 for a, b in itertools.pairwise(boxes))
    assert min(box.x0 for box in boxes) >= 0
    texts = [label.get_text() for label in labels]
    assert len(set(texts)) == groups
    assert all(len(text) <= 30 for text in texts)
    assert min(label.get_fontsize() for label in labels) >= 5


@pytest.mark.parametrize("groups", [1, 12, 200])
def test_lines_are_named_or_coloured_by_depth(groups):
    norm = np.ones((30, groups))
    norm[4, 0] = np.nan
    figure = make_record(norm).plot(kind="lines")
    figure.draw_without_rendering()
    if groups <= 21:
        entries = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
        assert entries == [
            *(f"layer_{i}" for i in range(groups)),
            "a group is not finite",
        ]
    else:
        assert legend(figure) == ["a group is not finite"]
        assert figure.axes[1].get_ylabel() == "depth"
        first, last = (figure.axes[0].get_lines()[i].get_color() for i in (0, -2))
        assert first != last


# Taken for a formula, it has none that could be set.
DOLLARS = "a$^$b"


def test_dollars_in_names_are_no_formulas(tmp_path):
    record = make_record(np.ones((5, 2)), groups=[DOLLARS, "c"], name=DOLLARS)
    weights = DepthWeights(np.full((1, 2, 1, 2), 0.5), (DOLLARS, "c"), (DOLLARS, "c"))
    figures = {
        "heat map": record.plot(),
        "lines": record.plot(kind="lines"),
        "runs": compare_gradients({DOLLARS: record, "c": record}).plot(),
        "weights": weights.plot(images=[0], titles=[DOLLARS]),
    }
    for name, figure in figures.items():
        figure.savefig(tmp_path / "picture.png")
        shown = [text.get_text() for text in figure.findobj(Text)]
        assert sum(DOLLARS in text for text in shown) > 0, name
