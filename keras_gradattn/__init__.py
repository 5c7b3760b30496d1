"""Attention across depth, and gradients one can see, for Keras 3."""

from keras_gradattn import layers
from keras_gradattn.gradients.analysis import analyze_gradient_flow
from keras_gradattn.gradients.recorder import GradientNorms
from keras_gradattn.gradients.taps import with_output_taps
from keras_gradattn.models import (
    CBAMResNet18,
    GradAttnV1,
    GradAttnV2,
    GradAttnV3,
    ResNet18,
    SEResNet18,
    attach,
    attention_model,
    load_pytorch_weights,
    predict_labels,
)

__all__ = [
    "CBAMResNet18",
    "GradAttnV1",
    "GradAttnV2",
    "GradAttnV3",
    "GradientNorms",
    "ResNet18",
    "SEResNet18",
    "analyze_gradient_flow",
    "attach",
    "attention_model",
    "layers",
    "load_pytorch_weights",
    "predict_labels",
    "with_output_taps",
]
__version__ = "0.1.0"
