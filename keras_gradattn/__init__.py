"""Attention across depth, and gradients one can see, for Keras 3."""

from keras_gradattn import layers
from keras_gradattn.gradients import (
    GradientNorms,
    GradientRecord,
    analyze_gradient_flow,
    compare_gradients,
    published_analysis,
    with_output_taps,
)
from keras_gradattn.models import (
    CBAMResNet18,
    GradAttnPathways,
    GradAttnV1,
    GradAttnV2,
    GradAttnV3,
    PathwayWeights,
    ResNet18,
    SEResNet18,
    attach,
    attention_model,
    freeze_pathways,
    load_pytorch_weights,
    pathway_weights,
    predict_labels,
)

__all__ = [
    "CBAMResNet18",
    "GradAttnPathways",
    "GradAttnV1",
    "GradAttnV2",
    "GradAttnV3",
    "GradientNorms",
    "GradientRecord",
    "PathwayWeights",
    "ResNet18",
    "SEResNet18",
    "analyze_gradient_flow",
    "attach",
    "attention_model",
    "compare_gradients",
    "freeze_pathways",
    "layers",
    "load_pytorch_weights",
    "pathway_weights",
    "predict_labels",
    "published_analysis",
    "with_output_taps",
]
__version__ = "0.1.0"
