"""Recipes, runs that can be resumed and compared, evaluation, prediction, devices."""

from keras_gradattn.training._building import (
    MODELS,
    balanced_class_weights,
    build_model,
    build_optimizer,
)
from keras_gradattn.training._sweep import Trial, sweep
from keras_gradattn.training.comparison import compare
from keras_gradattn.training.coupled_adam import CoupledAdam
from keras_gradattn.training.evaluation import (
    Evaluation,
    evaluate,
    expected_calibration_error,
    fit_temperature,
)
from keras_gradattn.training.experiment import run
from keras_gradattn.training.head_layout import head_layout
from keras_gradattn.training.prediction import Predictions, predict
from keras_gradattn.training.recipe import RECIPES, Recipe, look_up
from keras_gradattn.training.saved_model import SavedModel, load_model, save_model

__all__ = [
    "MODELS",
    "RECIPES",
    "CoupledAdam",
    "Evaluation",
    "Predictions",
    "Recipe",
    "SavedModel",
    "Trial",
    "balanced_class_weights",
    "build_model",
    "build_optimizer",
    "compare",
    "evaluate",
    "expected_calibration_error",
    "fit_temperature",
    "head_layout",
    "load_model",
    "look_up",
    "predict",
    "run",
    "save_model",
    "sweep",
]
