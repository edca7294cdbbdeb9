"""Layers that several of the networks are built from."""

from __future__ import annotations

from torch import Tensor, nn


def convolution(inputs: int, outputs: int, kernel: int = 1, dilation: int = 1) -> nn.Sequential:
    """A convolution that keeps height and width, batch normalisation, ReLU."""
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=dilation, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class IdentityNeck(nn.Module):
    """For training only: batch normalisation, then a classifier over P identities (Luo et al. 2019, the paper's [6]).

    float [B,size] to logits [B,P].
    """

    def __init__(self, size: int, identities: int) -> None:
        super().__init__()
        self.normalise = nn.BatchNorm1d(size)
        self.classify = nn.Linear(size, identities, bias=False)
        nn.init.normal_(self.classify.weight, std=0.001)

    def forward(self, vectors: Tensor) -> Tensor:
        return self.classify(self.normalise(vectors))
