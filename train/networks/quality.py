"""The network that says in one look at a picture what its 35 views say."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qafm.contract import HEIGHT, PERTURBATION_COUNT
from qafm.quality import NEARLY_ZERO
from train.networks.trunk import Trunk, lowered

OUTPUTS = PERTURBATION_COUNT + 3
"""Logarithms of the 34 distances and of Q, then the logits of utility and of α."""
Q, UTILITY, ALPHA = range(PERTURBATION_COUNT, OUTPUTS)
_LARGEST = HEIGHT // 2
"""Rows that it sees: Market-1501's pictures have 128."""
_LEAST_VARIANCE = 1e-6
_ROWS, _COLUMNS, _CHANNELS = 3, 2, 64
"""Of what is read of each part of a picture."""
_FEATURES = 2 * (64 + 256 + 512 + 1024) + _ROWS * _COLUMNS * _CHANNELS
"""Mean and deviation of what each stage gives, and the parts; every trunk gives as many."""


def statistics(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation over the picture of features [B,C,H,W]: float32 [B,C]."""
    exact = features.float()
    mean = exact.mean(dim=(2, 3))
    variance = (exact * exact).mean(dim=(2, 3)) - mean.square()
    return mean, variance.clamp(min=_LEAST_VARIANCE).sqrt()


class _Statistics(torch.autograd.Function):
    """The same, with a backward pass in three steps over the features where autograd takes ten: on two cores a quarter
    of the training's time."""

    @staticmethod
    def forward(context: Any, features: Tensor) -> tuple[Tensor, Tensor]:
        mean, deviation = statistics(features)
        context.save_for_backward(features, mean, deviation)
        return mean, deviation

    @staticmethod
    def backward(context: Any, by_mean: Tensor, by_deviation: Tensor) -> Tensor:
        features, mean, deviation = context.saved_tensors
        places = features.shape[2] * features.shape[3]
        # What was raised to the least deviation does not change with the features.
        slope = by_deviation / (deviation * places) * (deviation.square() > _LEAST_VARIANCE)
        level = by_mean / places - slope * mean
        gradient = (features * slope[:, :, None, None]).add_(level[:, :, None, None])
        return gradient.to(features.dtype)


class QualityNetwork(nn.Module):
    """Normalised crops float [B,3,384,128] to identifiability [B,1], alpha [B,1], scatter [B,34], utility [B,1].

    All but the last stage of a trunk, at half the resolution of a crop: an eighth of the trunk's work. What blur, noise
    or darkness do to a picture they do everywhere, and to each stage's features: of each the mean and the deviation
    over the picture are read. What bars and ovals take from it depends on where things are: of the last features the
    means of six parts of the picture are read too.
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, trunk: Trunk) -> None:
        """trunk: as that of the IQA network; its layers become this network's own. It learns several times faster from
        the weights of that network, whose scatter it is to foretell."""
        super().__init__()
        self.height = min(trunk.height, _LARGEST)
        self.stages = nn.ModuleList([trunk.stem, trunk.layer1, trunk.layer2, trunk.layer3])
        self.parts = nn.Conv2d(1024, _CHANNELS, kernel_size=1)
        self.norm = nn.BatchNorm1d(_FEATURES)
        self.head = nn.Linear(_FEATURES, OUTPUTS)
        self.register_buffer("centre", torch.zeros(OUTPUTS))
        self.register_buffer("spread", torch.ones(OUTPUTS))

    @torch.no_grad()
    def expect(self, numbers: Tensor) -> None:
        """Start with the mean of what it is to say, float [N,37], and count errors in its deviations. What is the same
        for every picture, such as a constant α, it then says exactly, whatever it learns."""
        self.centre.copy_(numbers.double().mean(dim=0))
        self.spread.copy_(numbers.double().std(dim=0, correction=0))

    def standard(self, crops: Tensor) -> Tensor:
        """The numbers, of which `centre` and `spread` are taken out: float32 [B,37]."""
        features, seen = lowered(crops, self.height), []
        for stage in self.stages:
            features = stage(features)
            seen += _Statistics.apply(features) if self.training else statistics(features)
        parts = self.parts(features).float()
        means = F.avg_pool2d(parts, (parts.shape[2] // _ROWS, parts.shape[3] // _COLUMNS))
        return self.head(self.norm(torch.cat([*seen, means.flatten(1)], dim=1))).float()

    def numbers(self, crops: Tensor) -> Tensor:
        """Float32 [B,37]: see `OUTPUTS`."""
        return self.centre + self.spread * self.standard(crops)

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        numbers = self.numbers(crops)
        distances = (numbers[:, : Q + 1].exp() - NEARLY_ZERO).clamp(min=0)
        return (
            distances[:, Q:],
            numbers[:, ALPHA:].sigmoid(),
            distances[:, :Q].clamp(max=2),
            numbers[:, UTILITY:ALPHA].sigmoid(),
        )
