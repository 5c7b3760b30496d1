"""The publication: its recipes, figures, analysis and checkpoints."""

from keras_gradattn.paper.published_analysis import (
    PublishedAnalysis,
    published_analysis,
)
from keras_gradattn.paper.pytorch_checkpoints import load_pytorch_weights

__all__ = [
    "PublishedAnalysis",
    "load_pytorch_weights",
    "published_analysis",
]
