"""Layers that several of the networks are built from."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def convolution(inputs: int, outputs: int, kernel: int = 1, dilation: int = 1) -> nn.Sequential:
    """A convolution that keeps height and width, batch normalisation, ReLU."""
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=dilation, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def neck(size: int, *, shifts: bool = True) -> nn.BatchNorm1d:
    """The batch normalisation between what triplets compare and what is classified (Luo et al. 2019, the paper's [6]).

    Without `shifts` its shift stays at 0, as there: then classifiers without a bias see no direction but that of
    the vectors.
    """
    normalise = nn.BatchNorm1d(size)
    normalise.bias.requires_grad_(shifts)
    return normalise


class Pooling(nn.Module):
    """The mean over some dimensions, of features that are not negative."""

    def forward(self, features: Tensor, dim: tuple[int, ...]) -> Tensor:
        return features.mean(dim=dim)


class GeM(Pooling):
    """The generalised mean, whose exponent is learnt (Radenovic et al. 2019): 1 is the mean, infinity the maximum."""

    def __init__(self, exponent: float = 3.0) -> None:
        super().__init__()
        self.exponent = nn.Parameter(torch.tensor(exponent))

    def forward(self, features: Tensor, dim: tuple[int, ...]) -> Tensor:
        # In float32: a third power leaves the range in which 16 bits are exact.
        with torch.autocast(features.device.type, enabled=False):
            return features.float().clamp(min=1e-6).pow(self.exponent).mean(dim=dim).pow(1 / self.exponent)


def pooling(kind: str) -> Pooling:
    """ "average" or "gem"."""
    return GeM() if kind == "gem" else Pooling()


class IdentityClassifier(nn.Module):
    """For training only: float [B,size] to logits [B,P], float32 whatever the precision: P is large.

    With a `scale` the logits are it times the cosine of vector and class.
    """

    def __init__(self, size: int, identities: int, scale: float | None = None) -> None:
        super().__init__()
        self.scale = scale
        self.weight = nn.Parameter(torch.empty(identities, size))
        # Cosines do not depend on the length, but how fast a direction turns does.
        nn.init.normal_(self.weight, std=0.001 if scale is None else 0.01)

    def forward(self, vectors: Tensor, weight: Tensor | None = None) -> Tensor:
        """With `weight` that one is used: this one, detached, teaches only the vectors."""
        weight = self.weight if weight is None else weight
        with torch.autocast(vectors.device.type, enabled=False):
            if self.scale is None:
                return F.linear(vectors.float(), weight)
            return self.scale * F.linear(F.normalize(vectors.float(), dim=1), F.normalize(weight, dim=1))


class IdentityNeck(nn.Module):
    """For training only: batch normalisation, then a classifier. float [B,size] to logits [B,P]."""

    def __init__(self, size: int, identities: int, *, shifts: bool = True, scale: float | None = None) -> None:
        super().__init__()
        self.normalise = neck(size, shifts=shifts)
        self.classify = IdentityClassifier(size, identities, scale)

    def forward(self, vectors: Tensor) -> Tensor:
        return self.classify(self.normalise(vectors))
