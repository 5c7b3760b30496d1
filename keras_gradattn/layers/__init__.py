"""Layers that the networks are made of, each usable alone in any Functional model."""

from keras_gradattn.layers.batch_normalization import BatchNormalization
from keras_gradattn.layers.cbam import CBAM
from keras_gradattn.layers.depth_mixing import DepthMixing
from keras_gradattn.layers.depth_tokens import DepthTokens
from keras_gradattn.layers.encoder_block import EncoderBlock
from keras_gradattn.layers.gradattn_head import GradAttnHead
from keras_gradattn.layers.learnable_positions import LearnablePositions
from keras_gradattn.layers.linear import Linear
from keras_gradattn.layers.multi_head_self_attention import MultiHeadSelfAttention
from keras_gradattn.layers.squeeze_excite import SqueezeExcite
from keras_gradattn.layers.symmetric_conv2d import SymmetricConv2D
from keras_gradattn.layers.symmetric_max_pooling2d import SymmetricMaxPooling2D

__all__ = [
    "CBAM",
    "BatchNormalization",
    "DepthMixing",
    "DepthTokens",
    "EncoderBlock",
    "GradAttnHead",
    "LearnablePositions",
    "Linear",
    "MultiHeadSelfAttention",
    "SqueezeExcite",
    "SymmetricConv2D",
    "SymmetricMaxPooling2D",
]
