"""Pictures show what the numbers say, at two classes and at two hundred."""

import matplotlib.figure
import numpy as np
import pytest

from keras_gradattn.training import _pictures
from keras_gradattn.training._progress import Progress, duration

pytestmark = pytest.mark.any_backend


def content(classes):
    random = np.random.default_rng(0)
    counts = 50 * np.eye(classes, dtype=int) + random.integers(0, 2, (classes, classes))
    counts[1, 0] = 37
    # A class that the test part lacks.
    counts[-1] = 0
    return {
        "configuration": {
            "model": "resnet18",
            "dataset": "photos",
            "recipe": {"name": "modern"},
            "seed": 1,
        },
        "metrics": {
            "class_names": [f"n{1000 + index} a long name" for index in range(classes)],
            "confusion_matrix": counts.tolist(),
            "expected_calibration_error": 0.123,
            "calibrated_calibration_error": 0.045,
            "reliability": {
                "count": [0, 0, 0, 0, 2, 3, 4, 5, 6, 7],
                "confidence": [None] * 4 + [0.45, 0.55, 0.65, 0.75, 0.85, 0.95],
                "accuracy": [None] * 4 + [0.5, 0.33, 0.75, 0.8, 1.0, 0.86],
            },
        },
        "worst_errors": [
            {"position": place, "label": 0, "predicted": 1, "probability": 0.9}
            for place in range(7)
        ],
    }


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Draws, and gives the figure back beside its file."""
    figures = []
    original = matplotlib.figure.Figure.savefig

    def savefig(self, file, **options):
        figures.append(self)
        return original(self, file, **options)

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", savefig)

    def draw(function, *arguments):
        path = tmp_path / "picture.png"
        function(*arguments, path)
        assert path.read_bytes()[:4] == b"\x89PNG"
        assert list(tmp_path.iterdir()) == [path]
        return figures[-1]

    return draw


@pytest.mark.parametrize("classes", [2, 12, 200])
def test_confusion(drawn, classes):
    figure = drawn(_pictures.draw_confusion, content(classes))
    matrix, listed = figure.axes[:2]
    shares = matrix.images[0].get_array()
    counts = np.array(content(classes)["metrics"]["confusion_matrix"])
    np.testing.assert_allclose(
        shares[:-1], 100 * counts[:-1] / counts[:-1].sum(1, keepdims=True)
    )
    assert (shares[-1] == 0).all()
    ticks = matrix.get_yticklabels()
    # Each name has room for its letters.
    room = figure.get_figheight() * 72 / len(ticks)
    assert ticks[0].get_fontsize() <= room
    assert ticks[0].get_fontsize() >= 4.5
    words = "\n".join(text.get_text() for text in listed.texts)
    if classes > 2:
        share = 100 * 37 / counts[1].sum()
        assert words.startswith(
            f"n1001 a long name as n1000 a long name: 37 ({share:.0f}"
        )
        assert len(words.splitlines()) == 20


def test_calibration(drawn):
    figure = drawn(_pictures.draw_calibration, content(2))
    above, below = figure.axes
    assert [bar.get_height() for bar in below.patches] == [0] * 4 + [2, 3, 4, 5, 6, 7]
    heights = [bar.get_height() for bar in above.patches]
    np.testing.assert_allclose(heights[4:], [50, 33, 75, 80, 100, 86])
    assert "12.3 %, 4.5 % after" in figure.get_suptitle()


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_errors(drawn, channels, dtype):
    images = np.full((9, 5, 5, channels), 128, dtype)
    figure = drawn(_pictures.draw_errors, content(3), images)
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == 7
    assert "as n1001 a long name (90 %)" in shown[0].get_title()


def test_progress_says_speed_and_what_is_left(capsys):
    class Loop:
        history = tuple({"seconds": s} for s in (100.0, *[2.0] * 5))
        finished = False

    Progress(Loop, images=500, epochs=106).on_epoch_end(5)
    said = capsys.readouterr().err
    assert said == "epoch 6 of 106: 250 images/s, 3 min left at most\n"
    Loop.finished = True
    Progress(Loop, images=500, epochs=106).on_epoch_end(5)
    assert "0 s left" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (61, "1 min"),
        (3599, "1 h 0 min"),
        (12000, "3 h 20 min"),
    ],
)
def test_lengths_of_time(seconds, text):
    assert duration(seconds) == text
