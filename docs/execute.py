"""Runs the guides and writes their pages.

    python -m docs.execute                      # those whose code has changed
    python -m docs.execute tour --backend jax   # one, on another backend
    python -m docs.execute --all
    python -m docs.execute --text               # runs nothing: new text, old outputs

A guide is a Python file with cells, `docs/guides/NAME.py`: `# %% [markdown]` begins
text and `# %%` begins code; words after `# %%` describe the cell's pictures to those
who cannot see them. What a cell prints and the value of its last line go into
`docs/guides/NAME.md`, pictures into `docs/guides/images`. The outputs are those of the
first backend; the others only have to run. `docs/guides/executed.json` tells which
text was run where and how long it took, from starting Python to the written page:
`processor_seconds` of all cores together, and `seconds` on the clock. Where other work
kept the machine busy the clock says nothing, and `seconds` is the processor's time.
"""

import argparse
import ast
import contextlib
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from docs.pictures import save_on_paper_and_dark

BACKENDS = ("torch", "jax", "tensorflow")
TITLES = {"torch": "PyTorch", "jax": "JAX", "tensorflow": "TensorFlow"}
GUIDES = Path(__file__).parent / "guides"
RECORD = GUIDES / "executed.json"
_CELL = re.compile(r"^# %%(.*)$", re.MULTILINE)
# What a cell printed, or one of its pictures.
_OUTPUT = re.compile(
    r'<div class="output" markdown>\n.*?\n</div>'
    r"|!\[[^\]]*\]\(images/[^)]*\)",
    re.DOTALL,
)
_NOTE = "<!-- Written by `python -m docs.execute` from {}.py. -->"
_RULE = "\n---\n"
NOT_RUN = "The code of this page was not run yet as it stands, so it shows no output."


def names() -> list[str]:
    """Names of all guides."""
    return sorted(path.stem for path in GUIDES.glob("*.py"))


def digest(name: str) -> str:
    """What identifies a guide's code: its text may change without a run."""
    source = (GUIDES / f"{name}.py").read_text("utf-8")
    code = [body for kind, _, body in cells(source) if kind == "code"]
    return hashlib.sha256("\n# %%\n".join(code).encode()).hexdigest()[:16]


def record() -> dict[str, Any]:
    """By guide and backend: `source` (the digest), the two times and `keras`."""
    if not RECORD.exists():
        return {}
    found: dict[str, Any] = json.loads(RECORD.read_text("utf-8"))
    return found


def cells(text: str) -> Iterator[tuple[str, str, str]]:
    """Kind (`markdown` or `code`), title and text of each cell."""
    _, *parts = _CELL.split(text)
    for title, body in zip(parts[::2], parts[1::2], strict=True):
        if title.strip() == "[markdown]":
            lines = (line.removeprefix("#") for line in body.strip().splitlines())
            yield "markdown", "", "\n".join(line.removeprefix(" ") for line in lines)
        else:
            yield "code", title.strip(), body.strip()


class Page:
    """A page of Markdown that grows with each cell."""

    def __init__(self, name: str, images: Path) -> None:
        self._name = name
        self._images = images
        self._parts: list[str] = []
        self._pictures = 0
        self._scope: dict[str, Any] = {"__name__": "__main__"}

    def add(self, kind: str, title: str, body: str) -> None:
        """Add a cell; code is run."""
        if kind == "markdown":
            self._parts.append(body)
            return
        self._parts.append(_typed(body))
        printed, value = self._run(body)
        if printed.strip():
            self._add_output(printed)
        figures = value if isinstance(value, list) else [value]
        if all(hasattr(item, "savefig") for item in figures):
            for figure in figures:
                self._add_picture(figure, title)
        elif value is not None:
            self._add_output(repr(value))

    def text(self) -> str:
        """The page so far."""
        return "\n\n".join(self._parts) + "\n"

    def _run(self, code: str) -> tuple[str, Any]:
        tree = ast.parse(code)
        last = None
        if tree.body and isinstance(tree.body[-1], ast.Expr):
            last = ast.Expression(tree.body.pop().value)
        printed = io.StringIO()
        value = None
        where = f"docs/guides/{self._name}.py"
        with contextlib.redirect_stdout(printed):
            exec(compile(tree, where, "exec"), self._scope)
            if last is not None:
                value = eval(compile(last, where, "eval"), self._scope)
        return printed.getvalue(), value

    def _add_output(self, text: str) -> None:
        lines = (line.rstrip() for line in _plain(text).strip("\n").split("\n"))
        block = "```text\n" + "\n".join(lines) + "\n```"
        self._parts.append(f'<div class="output" markdown>\n\n{block}\n\n</div>')

    def _add_picture(self, figure: Any, title: str) -> None:
        if not title:
            raise ValueError(
                "A cell that shows a picture needs words for it after `# %%`. "
                f"Received: a picture in docs/guides/{self._name}.py"
            )
        self._pictures += 1
        path = self._images / f"{self._name}_{self._pictures}.png"
        save_on_paper_and_dark(figure, path)
        self._parts.append(f"![{title}](images/{path.name})")


def _typed(code: str) -> str:
    return f"```python\n{code}\n```"


def with_new_text(name: str, page: str) -> str:
    """The page with the text of its source and the outputs that it has.

    Args:
        name: The guide, whose code is that of the page.
        page: The page as it stands, without the note above and below.
    """
    source = (GUIDES / f"{name}.py").read_text("utf-8")
    parts = []
    rest = page
    for kind, _, body in cells(source):
        if kind == "markdown":
            parts.append(body)
            continue
        _, typed, rest = rest.partition(_typed(body))
        if not typed:
            raise ValueError(
                f"The code of docs/guides/{name}.py is not the page's: run it. "
                f"Received:\n{body}"
            )
        parts.append(typed)
        parts += [found[0] for found in _OUTPUT.finditer(_before_text(rest))]
    return "\n\n".join(parts) + "\n"


def _before_text(rest: str) -> str:
    """What follows code up to the next paragraph."""
    outputs = re.match(rf"(\s*(?:{_OUTPUT.pattern}))*", rest, re.DOTALL)
    return outputs[0] if outputs else ""


def _plain(text: str) -> str:
    """What stays on a terminal: no colours, and of overwritten lines the last.

    Paths begin in the folder of the run, whose own name says nothing.
    """
    text = re.sub(r"\x1b\[[0-9;]*m", "", text).replace(f"{os.getcwd()}{os.sep}", "")
    return "\n".join(line.split("\r")[-1] for line in text.split("\n"))


def run_here(name: str, backend: str, started: float) -> None:
    """Run a guide in this process, and write its page where the backend is the first.

    Args:
        name: The guide.
        backend: The backend of this process.
        started: When the process was started, by `time.time`.
    """
    import keras

    os.environ["MPLBACKEND"] = "agg"
    first = backend == BACKENDS[0]
    warnings.filterwarnings("error", module="keras_gradattn")
    images = GUIDES / "images"
    images.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as elsewhere:
        # What a guide writes is not kept, nor its pictures but for the first backend's.
        os.chdir(elsewhere)
        page = Page(name, images if first else Path(elsewhere))
        for kind, title, body in cells((GUIDES / f"{name}.py").read_text("utf-8")):
            page.add(kind, title, body)
        os.chdir(Path(__file__).parents[1])
    if first:
        (GUIDES / f"{name}.md").write_text(page.text(), "utf-8")
    processor = time.process_time()
    done = record()
    done.setdefault(name, {})[backend] = {
        "source": digest(name),
        # Either is an upper bound of the time where nothing else runs.
        "seconds": round(min(time.time() - started, processor), 1),
        "processor_seconds": round(processor, 1),
        "keras": keras.__version__,
    }
    RECORD.write_text(json.dumps(done, indent=1, sort_keys=True) + "\n", "utf-8")


def finish(name: str) -> None:
    """Give a page its source's text, and say where its code was run.

    A page whose code was not run as it stands shows code alone, and says so.
    """
    path = GUIDES / f"{name}.md"
    runs = record().get(name, {})
    ran = [b for b in BACKENDS if runs.get(b, {}).get("source") == digest(name)]
    if BACKENDS[0] in ran:
        page = path.read_text("utf-8").removeprefix(_NOTE.format(name)).strip()
        body, *_ = page.split(_RULE)
        text = with_new_text(name, body + "\n")
        times = ", ".join(
            f"{TITLES[backend]} <!-- figure: value docs/guides/executed.json "
            f'"{name}/{backend}/seconds" digits=0 -->0<!-- / --> s'
            for backend in ran
        )
        footer = (
            f"What you see is the run of `docs/guides/{name}.py` on "
            f"{TITLES[BACKENDS[0]]}. Time on two cores, all in all: {times}."
        )
    else:
        text = without_outputs(name)
        footer = NOT_RUN
    path.write_text(f"{_NOTE.format(name)}\n\n{text}{_RULE}\n{footer}\n", "utf-8")


def without_outputs(name: str) -> str:
    """The page of a guide that was not run as it stands."""
    source = (GUIDES / f"{name}.py").read_text("utf-8")
    parts = [
        body if kind == "markdown" else _typed(body) for kind, _, body in cells(source)
    ]
    return "\n\n".join(parts) + "\n"


def execute(name: str, backend: str) -> int:
    """Run a guide in a process of its own; the process's exit status."""
    root = Path(__file__).parents[1]
    paths = (str(root), os.environ.get("PYTHONPATH", ""))
    environment = os.environ | {
        "KERAS_BACKEND": backend,
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        # Else threads that wait for each other keep a shared machine busy.
        "OMP_WAIT_POLICY": "passive",
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    code = (
        "import sys; from docs.execute import run_here; "
        "run_here(sys.argv[1], sys.argv[2], float(sys.argv[3]))"
    )
    print(f"{name} on {TITLES[backend]} ...", end=" ", flush=True)
    command = [sys.executable, "-c", code, name, backend, str(time.time())]
    status = subprocess.run(command, env=environment, cwd=root, check=False).returncode
    print(f"{record()[name][backend]['seconds']} s" if not status else "failed")
    return status


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what has changed, or what is named."""
    parser = argparse.ArgumentParser(prog="python -m docs.execute")
    parser.add_argument("guides", nargs="*", choices=[*names(), []])
    parser.add_argument("--backend", nargs="+", default=BACKENDS, choices=BACKENDS)
    parser.add_argument("--all", action="store_true", help="also what is unchanged")
    parser.add_argument("--text", action="store_true", help="run nothing")
    options = parser.parse_args(arguments)
    failed = 0
    for name in options.guides or names():
        for backend in [] if options.text else options.backend:
            before = record().get(name, {}).get(backend, {}).get("source")
            if options.guides or options.all or before != digest(name):
                failed |= execute(name, backend)
    from studies import insert_figures

    for name in names():
        finish(name)
    insert_figures.main([str(GUIDES / f"{name}.md") for name in names()])
    return failed


if __name__ == "__main__":
    sys.exit(main())
