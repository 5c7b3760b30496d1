"""Gradients one can see, a diagnosis, and attention over depth, for Keras 3."""

import importlib
from typing import TYPE_CHECKING, Any

from keras_gradattn._command_line import check_backend

check_backend()

from keras_gradattn import config, layers  # noqa: E402
from keras_gradattn._version import __version__  # noqa: E402
from keras_gradattn.diagnosis import TrainingDiagnosis, check  # noqa: E402
from keras_gradattn.gradients import (  # noqa: E402
    GradientNorms,
    GradientRecord,
    analyze_gradient_flow,
    compare_gradients,
    with_output_taps,
)
from keras_gradattn.models import (  # noqa: E402
    CBAMResNet18,
    DepthWeights,
    GradAttnPathways,
    GradAttnV1,
    GradAttnV2,
    GradAttnV3,
    ResNet18,
    SEResNet18,
    attach,
    depth_weights,
    freeze_depth_weights,
    predict_labels,
)

if TYPE_CHECKING:
    from keras_gradattn import datasets, paper, training
    from keras_gradattn.paper.published_analysis import published_analysis
    from keras_gradattn.paper.pytorch_checkpoints import load_pytorch_weights

__all__ = [
    "CBAMResNet18",
    "DepthWeights",
    "GradAttnPathways",
    "GradAttnV1",
    "GradAttnV2",
    "GradAttnV3",
    "GradientNorms",
    "GradientRecord",
    "ResNet18",
    "SEResNet18",
    "TrainingDiagnosis",
    "__version__",
    "analyze_gradient_flow",
    "attach",
    "check",
    "compare_gradients",
    "config",
    "datasets",
    "depth_weights",
    "freeze_depth_weights",
    "layers",
    "load_pytorch_weights",
    "paper",
    "predict_labels",
    "published_analysis",
    "training",
    "with_output_taps",
]
# Loaded when asked for, so that importing this adds nothing to `import keras`.
_ROOMS = ("datasets", "paper", "training")
_OF_PAPER = ("load_pytorch_weights", "published_analysis")


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"keras_gradattn.{name}")
    if name in _OF_PAPER:
        return getattr(importlib.import_module("keras_gradattn.paper"), name)
    raise AttributeError(f"module 'keras_gradattn' has no attribute {name!r}")
