"""A data set in three parts."""

import pytest

from keras_gradattn import datasets

pytestmark = pytest.mark.any_backend


def test_printed_it_says_its_sizes():
    digits = datasets.load("digits")
    assert repr(digits.train) == "<Split 'train': 1,257 images>"
    assert repr(digits) == (
        f"<DatasetSplits {digits.spec.title}: 1,257 train, 269 validation, 271 test>"
    )
