"""Links between the repository's texts lead somewhere, and sentences stay whole."""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

pytestmark = pytest.mark.any_backend
ROOT = Path(__file__).parents[2]
TEXTS = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "studies/**/*.md", "benchmarks/*.md")
    for path in ROOT.glob(pattern)
)
_FENCE = re.compile(r"^( *)(```|~~~).*?^\1\2", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"`[^`\n]+`")
_LINK = re.compile(r"\[[^\[\]]*\]\(([^()\s]+)\)")
_HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)


def links(text):
    """Targets of the links and pictures of a Markdown text, code left out."""
    return _LINK.findall(_CODE.sub("code", _FENCE.sub("", text)))


def anchors(text):
    """What a link can name after `#`: headings, as GitHub and the site write them."""
    headings = (re.sub(r"[*`]", "", line) for line in _HEADING.findall(text))
    return {
        re.sub(r"[^\w\s-]", "", line).strip().lower().replace(" ", "-")
        for line in headings
    }


def lost(path):
    """Links of a text that lead nowhere."""
    for link in links(path.read_text("utf-8")):
        target = urlsplit(link)
        if target.scheme:
            continue
        file = (path.parent / unquote(target.path)) if target.path else path
        place = target.fragment
        if not file.exists() or (place and place not in anchors(file.read_text())):
            yield link


@pytest.mark.parametrize("text", TEXTS)
def test_links_lead_somewhere(text):
    """In the repository; of the site's own links `mkdocs build --strict` takes care."""
    assert list(lost(ROOT / text)) == []


@pytest.mark.parametrize("text", TEXTS)
def test_no_sentence_is_torn_by_a_comment(text):
    """A line that begins with a comment ends the paragraph before it."""
    words = (ROOT / text).read_text("utf-8")
    assert re.findall(r"^.*\S.*\n *<!-- figure", words, re.MULTILINE) == []


def test_a_lost_link_is_found(tmp_path):
    path = tmp_path / "text.md"
    path.write_text(
        "# A title, `kg.x`\n[a](#a-title-kgx) [b](#b) [c](text.md) [d](no.md)\n"
        "`[e](no.md)`\n\n```\n[f](no.md)\n```\n\n    [g](https://no.where)\n"
    )
    assert list(lost(path)) == ["#b", "no.md"]
