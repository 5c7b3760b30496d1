"""The site in a browser: nothing is cut off, nothing is missing, search finds."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gradients.browser import Browser

pytestmark = [pytest.mark.any_backend, pytest.mark.outside]
ROOT = Path(__file__).parents[2]
NARROW, WIDE = 400, 1400
# What stands out of the window to the right and cannot be scrolled to, and pictures
# that were not loaded.
_LOST = """
const scrolls = (e) => {
  for (; e && e !== document.body; e = e.parentElement)
    if (/auto|scroll|hidden/.test(getComputedStyle(e).overflowX)) return true;
  return false;
};
const width = document.documentElement.clientWidth;
const cut = [...document.querySelectorAll('.md-content *')].filter((e) => {
  const box = e.getBoundingClientRect();
  return box.width > 0 && box.right > width + 1 && !scrolls(e);
});
const missing = [...document.images].filter((i) => i.complete && !i.naturalWidth);
return [...cut.map((e) => e.outerHTML.slice(0, 80)), ...missing.map((i) => i.src)];
"""
_ASK = """
const box = document.querySelector('[data-md-component=search-query]');
box.focus();
box.value = 'gradient';
box.dispatchEvent(new Event('input', {bubbles: true}));
box.dispatchEvent(new Event('keyup', {bubbles: true}));
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site's folder."""
    folder = tmp_path_factory.mktemp("site")
    mkdocs = Path(sys.executable).with_name("mkdocs")
    command = [mkdocs, "build", "--strict", "--quiet"]
    done = subprocess.run(
        [*command, "--site-dir", folder],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_pages_fit_and_nothing_is_missing(site, browser, width, dark):
    # The page of a server that finds nothing names its files from the server's root.
    for page in sorted(set(site.rglob("*.html")) - {site / "404.html"}):
        browser.open(page, width=width, height=900, dark=dark)
        name = page.relative_to(site)
        assert browser.run(_LOST) == [], name
        assert browser.log("browser") == [], name


@pytest.mark.parametrize("page", ["index.html", "guides/tour.html"])
def test_search_finds_in_a_folder(site, browser, page):
    browser.open(site / page, width=WIDE, height=900)
    browser.run(_ASK)
    assert browser.wait_for(
        "return document.querySelectorAll('.md-search-result__item').length"
    )
