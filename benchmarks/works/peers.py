"""V1 and ResNet-18 in plain PyTorch, as one writes them there.

Modules bear the released names, so that a state dict fits
`keras_gradattn.load_pytorch_weights`. Both return logits.
"""

from collections.abc import Sequence

import torch
from torch import nn


class Block(nn.Module):
    """Two convolutions, with or without a shortcut."""

    def __init__(self, channels: int, filters: int, stride: int, shortcut: bool):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, filters, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(filters)
        self.relu = nn.ReLU(inplace=True)
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
        if self.shortcut:
            branch = branch + (x if self.downsample is None else self.downsample(x))
        return self.relu(branch)


class Trunk(nn.Module):
    """7x7 stem, max-pooling and the stages; gives every stage's features."""

    def __init__(
        self,
        channels: int,
        shortcut: bool,
        stage_filters: Sequence[int] = (64, 128, 256, 512),
        stage_blocks: Sequence[int] = (2, 2, 2, 2),
    ):
        super().__init__()
        self.widths = (stage_filters[0], *stage_filters)
        width = stage_filters[0]
        self.conv1 = nn.Conv2d(channels, width, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        stages = zip(stage_filters, stage_blocks, strict=True)
        for stage, (filters, blocks) in enumerate(stages, start=1):
            stage_of_blocks = nn.Sequential()
            for index in range(blocks):
                stride = 2 if stage > 1 and index == 0 else 1
                stage_of_blocks.append(Block(width, filters, stride, shortcut))
                width = filters
            self.add_module(f"layer{stage}", stage_of_blocks)

    def features(self, images):
        """Maps of the stem and of every stage."""
        maps = [self.maxpool(self.relu(self.bn1(self.conv1(images))))]
        for stage in range(1, len(self.widths)):
            maps.append(getattr(self, f"layer{stage}")(maps[-1]))
        return maps


class ResNet(Trunk):
    """ResNet-18."""

    def __init__(self, num_classes: int, channels: int, **stages: Sequence[int]):
        super().__init__(channels, shortcut=True, **stages)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(self.widths[-1], num_classes)

    def forward(self, images):
        return self.fc(torch.flatten(self.avgpool(self.features(images)[-1]), 1))


class GradAttn(Trunk):
    """The trunk without shortcuts; a transformer over its five pooled features."""

    def __init__(
        self,
        num_classes: int,
        channels: int,
        width: int = 256,
        num_heads: int = 8,
        feed_forward: int = 512,
        num_layers: int = 3,
        dropout: float = 0.1,
        **stages: Sequence[int],
    ):
        super().__init__(channels, shortcut=False, **stages)
        self.projections = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(size, width))
            for size in self.widths
        )
        layer = nn.TransformerEncoderLayer(
            width, num_heads, feed_forward, dropout, batch_first=True
        )
        self.transformer_encoder = nn.TransformerEncoder(layer, num_layers)
        self.classifier = nn.Linear(width, num_classes)

    def forward(self, images):
        pooled = zip(self.projections, self.features(images), strict=True)
        tokens = torch.stack([project(maps) for project, maps in pooled], dim=1)
        return self.classifier(self.transformer_encoder(tokens).mean(dim=1))


# Names of our networks; both take `num_classes` and `channels`, and sizes as ours do.
PEERS: dict[str, type[nn.Module]] = {"GradAttnV1": GradAttn, "ResNet18": ResNet}
