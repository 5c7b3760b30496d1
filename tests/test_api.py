"""The public surface changes on purpose only."""

from pathlib import Path

import pytest

from tests.api import lines

pytestmark = pytest.mark.any_backend
SNAPSHOT = Path(__file__).with_name("api.txt")


def test_public_names_and_signatures_are_those_of_the_snapshot():
    found, expected = lines(), SNAPSHOT.read_text("utf-8").splitlines()
    # A change on purpose: python -m tests.api > tests/api.txt
    assert sorted(set(expected) - set(found)) == []
    assert sorted(set(found) - set(expected)) == []
