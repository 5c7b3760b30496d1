"""The page of a record: its numbers, its silence, and what a browser makes of it."""

import base64
import html.parser
import io
import itertools
import json
import sys

import numpy as np
import pytest

from keras_gradattn.gradients.html_report import page_data, write_html
from tests.gradients.browser import Browser
from tests.gradients.records import make_record

pytestmark = pytest.mark.any_backend

HOSTILE = "</script><script>alert('x')</script>"


def training(width=12, rows=300, **arguments):
    """A record with zeros, non-finite steps, details and two fits."""
    random = np.random.default_rng(width)
    norm = random.lognormal(size=(rows, width)) * np.logspace(-3, 0, width)
    norm[rows // 3 : rows // 2, width // 2] = 0.0
    norm[::10, 1] = 0.0
    norm[rows - 20, width - 1] = np.nan
    weight_norm = np.full(norm.shape, np.nan)
    weight_norm[::20] = 2.0
    zero_share = np.where(np.isnan(weight_norm), np.nan, random.random(norm.shape))
    return make_record(
        norm, sizes=range(1, width + 1), weight_norm=weight_norm, epoch_of=50,
        zero_share=zero_share, fits=[rows // 4], **arguments,
    )  # fmt: skip


class Page(html.parser.HTMLParser):
    """Tags with their attributes, and texts of scripts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self.headings = [], [], []
        self._in = None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._in = (tag, dict(attributes))

    def handle_endtag(self, tag):
        self._in = None

    def handle_data(self, data):
        if self._in and self._in[0] == "script":
            self.scripts.append((self._in[1], data))
        if self._in and self._in[0] in ("h1", "title"):
            self.headings.append(data)

    @property
    def data(self):
        (text,) = (t for a, t in self.scripts if a.get("id") == "data")
        return json.loads(text)


@pytest.fixture(scope="module")
def record():
    return training()


@pytest.fixture(scope="module")
def path(record, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "gradients.html"
    record.to_html(path)
    return path


@pytest.fixture(scope="module")
def page(path):
    return Page(path.read_text(encoding="utf-8"))


def unpacked(packed, groups):
    array = np.frombuffer(base64.b64decode(packed["base64"]), packed["dtype"])
    return np.broadcast_to(
        array.reshape(packed["shape"]), (groups, packed["shape"][1])
    ).T


def test_nothing_is_loaded(page):
    outside = {"src", "href", "srcset", "action", "data", "poster", "background"}
    assert not [a for _, attributes in page.tags for a in attributes if a in outside]
    assert not [
        tag for tag, _ in page.tags if tag in ("link", "iframe", "img", "object")
    ]
    (policy,) = (a["content"] for t, a in page.tags if "http-equiv" in a)
    assert policy.startswith("default-src 'none';")
    assert "http" not in policy


def test_numbers_are_those_of_the_record(record, page):
    data, groups = page.data, len(record.groups)
    assert data["groups"] == list(record.groups)
    assert data["report"] == record.report()
    norm = data["norm"]
    # 300 steps need no putting together: each column is one step.
    np.testing.assert_array_equal(norm["edges"], np.arange(301))
    np.testing.assert_array_equal(norm["fit"], record.fit)
    np.testing.assert_array_equal(norm["epoch"], [record.epoch] * 2)
    np.testing.assert_array_equal(norm["step"], [record.step] * 2)
    shown = np.where(np.isfinite(record.norm) & (record.norm > 0), record.norm, np.nan)
    level = unpacked(norm["level"], groups)
    np.testing.assert_allclose(level, shown, rtol=1e-6)
    np.testing.assert_allclose(
        level * np.array(data["rms"]["factor"]), shown / np.sqrt(record.group_sizes),
        rtol=1e-6,
    )  # fmt: skip
    np.testing.assert_array_equal(unpacked(norm["zero"], groups), record.norm == 0)
    np.testing.assert_array_equal(
        unpacked(norm["nonfinite"], groups), ~np.isfinite(record.norm)
    )
    np.testing.assert_array_equal(unpacked(norm["measured"], groups), 1)


def test_details_are_those_of_the_record(record, page):
    found = {table["key"]: table for table in page.data["details"]}
    assert set(found) == {"gradient_to_weight", "zero_share"}
    for key, table in found.items():
        numbers = record.detail[key]
        usable = np.isfinite(numbers) & ((numbers > 0) | (key == "zero_share"))
        np.testing.assert_allclose(
            unpacked(table["level"], len(record.groups)),
            np.where(usable, numbers, np.nan), rtol=1e-6,
        )  # fmt: skip


def test_phases_are_told(page):
    assert page.data["phases"] == [[0, "fit 0: SGD 0.1"], [75, "fit 1: SGD 0.05"]]


def test_frozen_groups_get_their_own_rms():
    record = make_record(np.ones((4, 2)), sizes=[4, 9])
    assert page_data(record)["rms"] == {"factor": pytest.approx([1 / 2, 1 / 3])}


def test_many_steps_and_groups_stay_small():
    random = np.random.default_rng(0)
    record = make_record(random.lognormal(size=(2000, 1200)), epoch_of=2000)
    data = page_data(record)
    assert len(data["norm"]["edges"]) == 401
    size = len(json.dumps(data))
    assert size < 3.5e6


def test_names_cannot_end_the_script(tmp_path):
    record = make_record(np.ones((3, 1)), groups=[HOSTILE], name=HOSTILE)
    record.to_html(tmp_path / "a.html")
    page = Page((tmp_path / "a.html").read_text(encoding="utf-8"))
    assert len(page.scripts) == 3
    assert page.data["groups"] == [HOSTILE]
    assert page.headings == [f"Gradients of {HOSTILE}"] * 2


def test_empty_record_is_refused(tmp_path):
    record = make_record(np.ones((0, 2)))
    with pytest.raises(ValueError, match="Received: a record of 0 steps"):
        write_html(record, tmp_path / "a.html")


def test_missing_plotly_is_told_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(ImportError, match=r"keras-gradattn\[html\]"):
        write_html(make_record(np.ones((2, 2))), tmp_path / "a.html")
    assert not (tmp_path / "a.html").exists()


# In a browser.


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


def colours(picture):
    from PIL import Image

    image = Image.open(io.BytesIO(picture)).convert("RGB")
    return np.asarray(image).reshape(-1, 3).astype(int)


@pytest.mark.outside
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [400, 1300])
def test_page_draws_itself(browser, path, width, dark):
    browser.log("performance")
    browser.open(path, width=width, height=1000, dark=dark)
    assert browser.run("return document.documentElement.dataset.drawn") == "yes"
    assert browser.log("browser") == []
    requests = [
        message["params"]["request"]["url"]
        for message in (json.loads(m)["message"] for m in browser.log("performance"))
        if message["method"] == "Network.requestWillBeSent"
    ]
    assert not [url for url in requests if url.startswith(("http", "ws", "//"))]
    # Nothing sticks out to the right, and no button offers to send the numbers away.
    assert browser.run("return document.documentElement.scrollWidth") <= width
    titles = browser.run(
        "return [...document.querySelectorAll('.modebar-btn')]"
        ".map((button) => button.dataset.title)"
    )
    assert titles
    assert not [title for title in titles if "hare" in title or "loud" in title]
    # Heat-map colours and the red of the mark of a step that is not finite.
    pixels = colours(browser.screenshot())
    background = pixels[0].sum()
    assert background < 100 if dark else background > 700
    reds = (pixels[:, 0] > 190) & (pixels[:, 1] < 115) & (pixels[:, 2] < 115)
    assert reds.sum() > 20
    assert len(np.unique(pixels, axis=0)) > 500


@pytest.mark.outside
def test_hover_tells_the_numbers(browser, path, record):
    browser.open(path, width=1300, height=1000)
    x, y, width, height = browser.run(
        "const r = document.querySelector('#heat .nsewdrag').getBoundingClientRect();"
        "return [r.x, r.y, r.width, r.height]"
    )
    row, step = 6, 120
    browser.mouse(
        "mouseMoved", x + width * (step + 0.5) / 300, y + height * (row + 0.5) / 12
    )
    tip = browser.wait_for(
        "return document.getElementById('tip').hidden"
        " ? '' : document.getElementById('tip').innerText"
    )
    name, place, zero = tip.splitlines()
    assert name == record.groups[row]
    assert place == f"fit 1, epoch {record.epoch[step]}, step {step}"
    assert zero == "exactly zero in 1 of 1 steps"


@pytest.mark.outside
def test_zoom_moves_both_pictures(browser, path):
    browser.open(path, width=1300, height=1000)
    x, y, width, height = browser.run(
        "const r = document.querySelector('#heat .nsewdrag').getBoundingClientRect();"
        "return [r.x, r.y, r.width, r.height]"
    )
    browser.mouse("mousePressed", x + 0.25 * width, y + 0.3 * height, pressed=True)
    for part in (0.3, 0.4, 0.5):
        browser.mouse("mouseMoved", x + part * width, y + 0.7 * height, pressed=True)
    browser.mouse("mouseReleased", x + 0.5 * width, y + 0.7 * height)
    ranges = browser.wait_for(
        "const r = (id) => document.getElementById(id).layout.xaxis.range;"
        "return r('lines')[1] < 299 && [r('heat'), r('lines')]"
    )
    np.testing.assert_allclose(ranges[0], [75, 150], atol=2)
    np.testing.assert_allclose(ranges[1], ranges[0])
    browser.run("document.getElementById('reset').click()")
    whole = browser.run("return document.getElementById('lines').layout.xaxis.range")
    assert whole == [0, 300]


@pytest.mark.outside
def test_search_measure_and_theme(browser, path):
    browser.open(path, width=1300, height=1000)
    browser.run(
        "const s = document.getElementById('search'); s.value = 'LAYER 1';"
        "s.dispatchEvent(new Event('input'))"
    )
    # layer_1, layer_10 and layer_11.
    assert browser.run("return document.getElementById('found').innerText") == "3 of 12"
    rows = browser.run("return document.getElementById('heat').data[0].z.length")
    lines = browser.run(
        "return [...document.querySelectorAll('#picked button')]"
        ".map((button) => button.innerText)"
    )
    assert rows == 3
    assert lines == ["layer_1", "layer_10", "layer_11"]
    browser.run(
        "const m = document.getElementById('measure'); m.value = 2;"
        "m.dispatchEvent(new Event('change'))"
    )
    label = browser.run(
        "return document.getElementById('lines').layout.yaxis.title.text"
    )
    assert label == "Gradient to weight"
    before = browser.run("return getComputedStyle(document.body).backgroundColor")
    browser.run("document.getElementById('theme').click()")
    after = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert before != after


@pytest.mark.outside
def test_many_groups_are_readable(browser, tmp_path):
    names = [
        f"backbone/transformer_layer_{i // 12}/part_{i % 12}/kernel"
        for i in range(1200)
    ]
    training(1200, 120, groups=names).to_html(tmp_path / "deep.html")
    browser.open(tmp_path / "deep.html", width=1300, height=1000)
    boxes = browser.run(
        "return [...document.querySelectorAll('#heat .ytick text')].map((t) => {"
        "const r = t.getBoundingClientRect(); return [r.top, r.bottom, r.left]})"
    )
    boxes = sorted(boxes)
    assert len(boxes) > 20
    assert all(a[1] <= b[0] + 4 for a, b in itertools.pairwise(boxes))
    assert min(box[2] for box in boxes) >= 0
    # A band and its median instead of 1,200 lines.
    assert browser.run("return document.getElementById('lines').data.length") <= 6
