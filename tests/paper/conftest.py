"""The published analysis is tested with the recorder's models and data."""

from tests.gradients.conftest import data, make_model

__all__ = ["data", "make_model"]
