"""Networks: GradAttn, the residual baselines, and the head on other backbones."""

from keras_gradattn.models.attach import attach
from keras_gradattn.models.attention_maps import attention_model
from keras_gradattn.models.gradattn import GradAttnV1, GradAttnV2, GradAttnV3
from keras_gradattn.models.image_classifier import predict_labels
from keras_gradattn.models.pathway_maps import (
    PathwayWeights,
    freeze_pathways,
    pathway_weights,
)
from keras_gradattn.models.pathways import GradAttnPathways
from keras_gradattn.models.resnet import CBAMResNet18, ResNet18, SEResNet18

__all__ = [
    "CBAMResNet18",
    "GradAttnPathways",
    "GradAttnV1",
    "GradAttnV2",
    "GradAttnV3",
    "PathwayWeights",
    "ResNet18",
    "SEResNet18",
    "attach",
    "attention_model",
    "freeze_pathways",
    "pathway_weights",
    "predict_labels",
]
