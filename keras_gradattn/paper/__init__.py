"""The paper (Ghoshal & Buckchash, 2026): recipes, figures, analysis, checkpoints."""

from keras_gradattn.paper.damaged_pixels import damaged_levels
from keras_gradattn.paper.published_analysis import (
    PublishedAnalysis,
    published_analysis,
)
from keras_gradattn.paper.published_results import published
from keras_gradattn.paper.pytorch_checkpoints import load_pytorch_weights
from keras_gradattn.paper.recipes import RECIPES, PaperRecipe

__all__ = [
    "RECIPES",
    "PaperRecipe",
    "PublishedAnalysis",
    "damaged_levels",
    "load_pytorch_weights",
    "published",
    "published_analysis",
]
