"""Every public name says what it is, takes, returns and raises, and shows it."""

import ast
import dataclasses
import functools
import importlib
import inspect
import re
import textwrap
from pathlib import Path

import pytest

from tests.api import ROOMS, documented_names

pytestmark = pytest.mark.any_backend

# What Keras calls, which users do not: described by Keras.
HOOKS = {
    "build",
    "call",
    "compute_output_shape",
    "compute_output_spec",
    "convolution_op",
    "decay_all",
    "from_config",
    "get_config",
    "on_epoch_begin",
    "on_epoch_end",
    "on_train_begin",
    "on_train_end",
    "update_all",
    "update_step",
}
# Nothing happens in an example that would not be an error message.
WITHOUT_EXAMPLE = {"BadFile", "BadFilesError", "DatasetNotFoundError"}
NAMES = documented_names()
HEADING = re.compile(
    r"^(Args|Attributes|Returns|Yields|Raises|Example|Warns):$", re.MULTILINE
)


def sections(text):
    """The text of each section of a docstring, by its heading."""
    parts = HEADING.split(text)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def parameters(thing):
    """Names of the parameters that a caller gives, and that no base class describes."""
    if dataclasses.is_dataclass(thing):
        return list(vars(thing).get("__annotations__", {}))
    try:
        signature = inspect.signature(thing)
    except ValueError:
        return []
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return [
        name
        for name, parameter in signature.parameters.items()
        if name not in ("self", "cls") and parameter.kind not in kinds
    ]


@functools.cache
def source_of(thing):
    """The syntax of a function."""
    return ast.parse(textwrap.dedent(inspect.getsource(thing)))


def wrong_defaults(thing, described):
    """Parameters whose default is another one than the text says."""
    try:
        signature = inspect.signature(thing)
    except ValueError:
        return
    paragraphs = re.split(r"^ *(?:\*\*)?`?(\w+)`?:", described, flags=re.MULTILINE)
    for name, text in zip(paragraphs[1::2], paragraphs[2::2], strict=True):
        said = re.search(r"Defaults to\s+(`[^`]+`|-?\d[\d.,e-]*)", text)
        parameter = signature.parameters.get(name)
        if said is None or parameter is None:
            continue
        try:
            value = ast.literal_eval(
                re.sub(r",(?=\d{3})", "", said[1].strip("`").rstrip(".,"))
            )
        except (ValueError, SyntaxError):
            # The name of something.
            continue
        default = parameter.default
        # A sequence may be named by its only entry, and `None` by what it becomes.
        if default is not None and value != default and (value,) != default:
            yield f"the default of `{name}`, which is {default!r} (received {value!r})"


def raises(function):
    """Whether a function raises by itself."""
    return any(isinstance(node, ast.Raise) for node in ast.walk(source_of(function)))


def returns(function):
    """Whether a function gives something back."""
    values = [n.value for n in ast.walk(source_of(function)) if is_return(n)]
    return any(not isinstance(v, ast.Constant) or v.value is not None for v in values)


def is_return(node):
    """Whether a piece of syntax is a `return` with something behind it."""
    return isinstance(node, ast.Return) and node.value is not None


def is_described_by_a_base_class(thing):
    """Whether a method takes the place of one of ours."""
    if not inspect.isfunction(thing):
        return False
    owner, _, method = thing.__qualname__.rpartition(".")
    cls = getattr(inspect.getmodule(thing), owner, None)
    return any(method in vars(base) for base in getattr(cls, "__mro__", ())[1:])


def shortcomings(name, thing):
    """What a docstring lacks, in words."""
    method = name.rpartition(".")[2]
    if method in HOOKS or is_described_by_a_base_class(thing):
        return
    text = inspect.getdoc(thing) if not isinstance(thing, property) else thing.__doc__
    if not text:
        yield "a docstring"
        return
    summary = text.strip().splitlines()[0]
    if not summary.endswith((".", "!", ":", "?")):
        yield f"a summary of one line (received {summary!r})"
    if isinstance(thing, property):
        return
    told = sections(inspect.cleandoc(text))
    described = told.get("Args", "") + told.get("Attributes", "")
    for parameter in parameters(thing):
        if not re.search(rf"^\s*(\*\*)?`?{parameter}`?:", described, re.MULTILINE):
            yield f"`{parameter}` under Args"
    yield from wrong_defaults(thing, described)
    function = inspect.unwrap(thing)
    if inspect.isfunction(function):
        # Where nothing is given, the summary says what is returned.
        wants_result = parameters(thing) and returns(function)
        if wants_result and not {"Returns", "Yields"} & set(told):
            yield "Returns"
        if raises(function) and not {"Raises", "Warns"} & set(told):
            yield "Raises"
    if "." not in name and name not in WITHOUT_EXAMPLE and "Example" not in told:
        yield "an example"


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_is_documented(name):
    assert not list(shortcomings(name, NAMES[name]))


def test_a_default_that_the_text_gets_wrong():
    def toy(a=True, b=0.5, c="x", d=None):
        """A toy."""

    said = "\n  a: Whether. Defaults to\n    `False`.\n  b: 0 to 1. Defaults to 0.5.\n"
    said += '  c: A word. Defaults to `"x"`.\n  d: Which. Defaults to `EVERY`.'
    message = "the default of `a`, which is True (received False)"
    assert list(wrong_defaults(toy, said)) == [message]


def test_every_room_has_a_page_and_every_name_a_place():
    """The reference shows what there is; mkdocs itself refuses what there is not."""
    pages = Path(__file__).parents[1] / "docs" / "reference"
    shown = "\n".join(page.read_text("utf-8") for page in pages.glob("*.md"))
    shown = set(re.findall(r"^::: [\w.]*?(\w+)$", shown, re.MULTILINE))
    for room in ROOMS:
        module = importlib.import_module(room)
        names = getattr(module, "__all__", ())
        modules = {n for n in names if inspect.ismodule(getattr(module, n))}
        assert set(names) - modules - {"__version__"} <= shown, room
