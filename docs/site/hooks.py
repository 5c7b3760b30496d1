"""What the site needs beyond Markdown: texts of other folders, equations, drawings."""

import posixpath
import re
import runpy
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
# The command `mkdocs` does not find the repository's own packages.
dark_picture = runpy.run_path(str(ROOT / "docs" / "pictures.py"))["dark_picture"]
# Texts of the repository that are pages as well, and the pictures they show.
ELSEWHERE = (
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "benchmarks/README.md",
    "benchmarks/growth/growth.png",
    "studies/README.md",
    "studies/details.md",
    "studies/figures/*.png",
)
_LINK = re.compile(r"(!?)\[([^\[\]]*)\]\(([^()\s]+)\)")
_EQUATION = re.compile(r'<(span|div) class="arithmatex">(.*?)</\1>', re.DOTALL)
_TABLE = re.compile(r"<!-- every (finding|threshold): .*? -->")
# What `Symptom.when` says, in words.
_WHEN = {
    "before": "Before training, from data, model and settings",
    "probe": "Before training, by running one batch",
    "during": "During training",
}
_DRAWING = re.compile(r'<img alt="([^"]*)" src="([^"]*/)?images/([\w-]+\.svg)" ?/?>')


def on_files(files: Files, config: Any) -> Files:
    """Take the repository's other texts into the site, at their own addresses."""
    for pattern in ELSEWHERE:
        for path in sorted(ROOT.glob(pattern)):
            address = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, address, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Leave the words of a link whose target is in the repository but not in the site.

    Links between the site's pages and the repository's other texts become relative to
    the site. A picture that has another one for dark pages is shown as both. A link to
    nowhere stays, for MkDocs to complain about.
    """
    here = page.file.src_uri
    elsewhere = any(Path(here).match(pattern) for pattern in ELSEWHERE)
    folder = posixpath.dirname(here if elsewhere else f"docs/{here}")

    def kept(match: re.Match[str]) -> str:
        target = urlsplit(match[3])
        if target.scheme or not target.path:
            return match[0]
        path = posixpath.normpath(posixpath.join(folder, target.path))
        address = path.removeprefix("docs/")
        if files.get_file_from_path(address) is None:
            return match[2] if (ROOT / path).exists() else match[0]
        link = posixpath.relpath(address, posixpath.dirname(here) or ".")
        dark = dark_picture(Path(link)).as_posix()
        if match[1] and (ROOT / dark_picture(Path(path))).exists():
            return f"![{match[2]}]({link}#only-light)\n![{match[2]}]({dark}#only-dark)"
        anchor = f"#{target.fragment}" if target.fragment else ""
        return f"{match[1]}[{match[2]}]({link}{anchor})"

    return _TABLE.sub(_table, _LINK.sub(kept, markdown))


def _table(match: re.Match[str]) -> str:
    return _findings() if match[1] == "finding" else _thresholds()


def _of_diagnosis(module: str, name: str) -> Any:
    """One table of the package, without the import, which would need a backend."""
    path = ROOT / "keras_gradattn" / "diagnosis" / f"{module}.py"
    return runpy.run_path(str(path))[name]


def _thresholds() -> str:
    lines = ["| threshold | value | what set it |", "|---|--:|---|"]
    for name, one in _of_diagnosis("thresholds", "THRESHOLDS").items():
        lines.append(f"| `{name}` | {one.value:g} | {one.source} |")
    return "\n".join(lines)


def _findings() -> str:
    """A table for each time at which something can be found."""
    symptoms = _of_diagnosis("symptoms", "SYMPTOMS").values()
    lines = []
    for when, words in _WHEN.items():
        lines += [f"### {words}", ""]
        lines += ["| finding | meaning | try first |", "|---|---|---|"]
        lines += [
            f"| `{symptom.name}` | {symptom.meaning} | `{symptom.causes[0][1]}` |"
            for symptom in symptoms
            if symptom.when == when
        ]
        lines.append("")
    return "\n".join(lines)


def on_page_content(html: str, page: Any, config: Any, files: Files) -> str:
    """Write equations as MathML and drawings into the page, where they take its ink."""
    return _DRAWING.sub(_drawing, _EQUATION.sub(_equation, html))


def _equation(match: re.Match[str]) -> str:
    text = match[2].strip()
    for name, sign in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        text = text.replace(name, sign)
    block = text.startswith(r"\[")
    return convert(text[2:-2].strip(), display="block" if block else "inline")


def _drawing(match: re.Match[str]) -> str:
    drawing = (ROOT / "docs" / "images" / match[3]).read_text("utf-8")
    return drawing[drawing.index("<svg") :]


def on_post_page(output: str, page: Any, config: Any) -> str:
    """Search with our own script where the theme would load one from elsewhere."""
    up = posixpath.relpath(".", posixpath.dirname(page.file.dest_uri) or ".")
    own = f"{up}/site/search_from_a_folder.js"
    return output.replace("https://unpkg.com/iframe-worker/shim", own)
