"""A library that is not there is named, with what brings it."""

import re
import sys
from pathlib import Path

import pytest

from keras_gradattn import _extras

pytestmark = pytest.mark.any_backend


def test_each_extra_brings_what_the_message_says():
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8")
    for name, extra in _extras._EXTRAS.values():
        (entry,) = re.findall(rf"^{extra} = \[(.*?)\]", text, re.M | re.S)
        assert f'"{name}>=' in entry


@pytest.mark.parametrize("module", sorted(_extras._EXTRAS))
def test_what_is_not_installed(module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r"It needs .*keras-gradattn\["):
        _extras.optional(module, "It")
