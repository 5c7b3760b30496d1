"""The same networks in plain PyTorch, as one writes them there.

Modules bear the released names, so that a state dict fits
`keras_gradattn.load_pytorch_weights`. All of them return logits.
"""

from collections.abc import Sequence

import torch
from torch import nn

_STAGE_FILTERS = (64, 128, 256, 512)
_STAGE_BLOCKS = (2, 2, 2, 2)


class SqueezeExcite(nn.Module):
    """A gate per channel from the map's average (Hu et al. 2018)."""

    def __init__(self, channels: int, reduction: int = 16):
        super().__init__()
        hidden = max(1, channels // reduction)
        self.excitation = nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels, hidden, bias=False),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, channels, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, maps):
        gate = self.excitation(nn.functional.adaptive_avg_pool2d(maps, 1))
        return maps * gate[:, :, None, None]


class _ChannelAttention(nn.Module):
    def __init__(self, channels: int, reduction: int):
        super().__init__()
        hidden = max(1, channels // reduction)
        self.shared_mlp = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, channels, 1, bias=False),
        )

    def forward(self, maps):
        average = self.shared_mlp(nn.functional.adaptive_avg_pool2d(maps, 1))
        largest = self.shared_mlp(nn.functional.adaptive_max_pool2d(maps, 1))
        return maps * torch.sigmoid(average + largest)


class _SpatialAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, maps):
        average = maps.mean(dim=1, keepdim=True)
        largest = maps.amax(dim=1, keepdim=True)
        return maps * torch.sigmoid(self.conv(torch.cat([average, largest], dim=1)))


class CBAM(nn.Module):
    """A gate per channel, then one per position (Woo et al. 2018)."""

    def __init__(self, channels: int, reduction: int = 16):
        super().__init__()
        self.channel_attention = _ChannelAttention(channels, reduction)
        self.spatial_attention = _SpatialAttention()

    def forward(self, maps):
        return self.spatial_attention(self.channel_attention(maps))


class Block(nn.Module):
    """Two convolutions, with or without a gate and a shortcut."""

    def __init__(
        self,
        channels: int,
        filters: int,
        stride: int,
        *,
        shortcut: bool,
        gate: str | None = None,
    ):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, filters, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(filters)
        self.relu = nn.ReLU(inplace=True)
        self.se = SqueezeExcite(filters) if gate == "se" else None
        self.cbam = CBAM(filters) if gate == "cbam" else None
        self.shortcut = shortcut
        self.downsample = None
        if shortcut and (stride != 1 or channels != filters):
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, filters, 1, stride, bias=False),
                nn.BatchNorm2d(filters),
            )

    def forward(self, x):
        branch = self.relu(self.bn1(self.conv1(x)))
        branch = self.bn2(self.conv2(branch))
        if self.se is not None:
            branch = self.se(branch)
        if self.cbam is not None:
            branch = self.cbam(branch)
        if self.shortcut:
            branch = branch + (x if self.downsample is None else self.downsample(x))
        return self.relu(branch)


class Trunk(nn.Module):
    """7x7 stem, max-pooling and the stages; gives every stage's features."""

    def __init__(
        self,
        channels: int,
        stage_filters: Sequence[int],
        stage_blocks: Sequence[int],
        **block,
    ):
        super().__init__()
        width = stage_filters[0]
        self.conv1 = nn.Conv2d(channels, width, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        self.stage_names = []
        for stage, (filters, blocks) in enumerate(
            zip(stage_filters, stage_blocks, strict=True), start=1
        ):
            stage_of_blocks = nn.Sequential()
            for index in range(blocks):
                stride = 2 if stage > 1 and index == 0 else 1
                stage_of_blocks.append(Block(width, filters, stride, **block))
                width = filters
            self.stage_names.append(f"layer{stage}")
            self.add_module(self.stage_names[-1], stage_of_blocks)

    def features(self, images):
        """Maps of the stem and of every stage."""
        maps = [self.maxpool(self.relu(self.bn1(self.conv1(images))))]
        for name in self.stage_names:
            maps.append(getattr(self, name)(maps[-1]))
        return maps


class ResNet(Trunk):
    """ResNet-18 or -34, with a gate on each branch or none."""

    def __init__(
        self,
        num_classes: int,
        channels: int = 3,
        *,
        gate: str | None = None,
        stage_filters: Sequence[int] = _STAGE_FILTERS,
        stage_blocks: Sequence[int] = _STAGE_BLOCKS,
    ):
        super().__init__(
            channels, stage_filters, stage_blocks, shortcut=True, gate=gate
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(stage_filters[-1], num_classes)

    def forward(self, images):
        return self.fc(torch.flatten(self.avgpool(self.features(images)[-1]), 1))


class RotaryAttention(nn.Module):
    """Self-attention whose queries and keys are turned by their token's index."""

    def __init__(self, width: int, num_heads: int, dropout: float, tokens: int):
        super().__init__()
        self.num_heads = num_heads
        self.w_q = nn.Linear(width, width, bias=False)
        self.w_k = nn.Linear(width, width, bias=False)
        self.w_v = nn.Linear(width, width, bias=False)
        self.w_o = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        head_width = width // num_heads
        frequencies = 10000.0 ** (-torch.arange(0, head_width, 2) / head_width)
        angles = torch.outer(torch.arange(tokens), torch.cat([frequencies] * 2))
        self.register_buffer("cosine", angles.cos(), persistent=False)
        self.register_buffer("sine", angles.sin(), persistent=False)

    def _turned(self, values):
        first, second = values.chunk(2, dim=-1)
        half_turned = torch.cat([-second, first], dim=-1)
        return values * self.cosine + half_turned * self.sine

    def forward(self, tokens):
        def heads(values):
            return values.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

        query = self._turned(heads(self.w_q(tokens)))
        key = self._turned(heads(self.w_k(tokens)))
        scores = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5
        attention = self.dropout(scores.softmax(dim=-1).to(tokens.dtype))
        mixed = attention @ heads(self.w_v(tokens))
        return self.w_o(mixed.transpose(1, 2).flatten(2))


class RotaryEncoderLayer(nn.Module):
    """`nn.TransformerEncoderLayer`, post-norm, with rotary attention."""

    def __init__(
        self, width: int, num_heads: int, feed_forward: int, dropout: float, tokens: int
    ):
        super().__init__()
        self.self_attn = RotaryAttention(width, num_heads, dropout, tokens)
        self.linear1 = nn.Linear(width, feed_forward)
        self.linear2 = nn.Linear(feed_forward, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens):
        tokens = self.norm1(tokens + self.dropout(self.self_attn(tokens)))
        hidden = self.dropout(torch.relu(self.linear1(tokens)))
        return self.norm2(tokens + self.dropout(self.linear2(hidden)))


class GradAttn(Trunk):
    """The trunk without shortcuts; a transformer over its five pooled features."""

    def __init__(
        self,
        num_classes: int,
        channels: int = 3,
        *,
        positions: str = "none",
        stage_filters: Sequence[int] = _STAGE_FILTERS,
        stage_blocks: Sequence[int] = _STAGE_BLOCKS,
        width: int = 256,
        num_heads: int = 8,
        feed_forward: int = 512,
        num_layers: int = 3,
        dropout: float = 0.1,
    ):
        super().__init__(channels, stage_filters, stage_blocks, shortcut=False)
        token_channels = (stage_filters[0], *stage_filters)
        self.projections = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(size, width))
            for size in token_channels
        )
        self.positions = positions
        if positions == "learnable":
            self.positional_embedding = nn.Parameter(
                torch.randn(1, len(token_channels), width)
            )
        if positions == "rotary":
            self.transformer_layers = nn.Sequential(
                *(
                    RotaryEncoderLayer(
                        width, num_heads, feed_forward, dropout, len(token_channels)
                    )
                    for _ in range(num_layers)
                )
            )
        else:
            layer = nn.TransformerEncoderLayer(
                width, num_heads, feed_forward, dropout, batch_first=True
            )
            self.transformer_encoder = nn.TransformerEncoder(layer, num_layers)
        self.classifier = nn.Linear(width, num_classes)

    def forward(self, images):
        tokens = torch.stack(
            [
                project(features)
                for project, features in zip(
                    self.projections, self.features(images), strict=True
                )
            ],
            dim=1,
        )
        if self.positions == "learnable":
            tokens = tokens + self.positional_embedding
        if self.positions == "rotary":
            tokens = self.transformer_layers(tokens)
        else:
            tokens = self.transformer_encoder(tokens)
        return self.classifier(tokens.mean(dim=1))


# Our networks' names to their peers and what sets these apart.
_PEERS = {
    "GradAttnV1": (GradAttn, {"positions": "none"}),
    "GradAttnV2": (GradAttn, {"positions": "learnable"}),
    "GradAttnV3": (GradAttn, {"positions": "rotary"}),
    "ResNet18": (ResNet, {"gate": None}),
    "SEResNet18": (ResNet, {"gate": "se"}),
    "CBAMResNet18": (ResNet, {"gate": "cbam"}),
}


def peer(network: str, num_classes: int, channels: int, **arguments) -> nn.Module:
    """The PyTorch peer of one of our networks, freshly initialised.

    Args:
        network: Name of our class, such as `"GradAttnV1"`.
        num_classes: Number of classes.
        channels: Of the images.
        **arguments: Sizes that our class takes too: `stage_filters`, `stage_blocks`
            and, for GradAttn, `width`, `num_heads`, `feed_forward`, `num_layers` and
            `dropout`.

    Returns:
        A module from `(batch, channels, height, width)` images to logits.
    """
    network_class, fixed = _PEERS[network]
    return network_class(num_classes, channels, **fixed, **arguments)
