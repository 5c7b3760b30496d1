"""Networks: GradAttn, the residual baselines, and the head on other backbones."""

from keras_gradattn.models.attach import attach
from keras_gradattn.models.depth_weights import (
    DepthWeights,
    depth_weights,
    freeze_depth_weights,
)
from keras_gradattn.models.gradattn import GradAttnV1, GradAttnV2, GradAttnV3
from keras_gradattn.models.image_classifier import predict_labels
from keras_gradattn.models.pathways import GradAttnPathways
from keras_gradattn.models.resnet import CBAMResNet18, ResNet18, SEResNet18

__all__ = [
    "CBAMResNet18",
    "DepthWeights",
    "GradAttnPathways",
    "GradAttnV1",
    "GradAttnV2",
    "GradAttnV3",
    "ResNet18",
    "SEResNet18",
    "attach",
    "depth_weights",
    "freeze_depth_weights",
    "predict_labels",
]
