"""From the contract's pixels to what the networks read. Inside every exported graph, so nobody normalises twice."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qafm.contract import IMAGENET_MEAN, IMAGENET_STD


class Pixels(nn.Module):
    """uint8 [B,384,128,3], RGB, to float32 [B,3,384,128] with the mean and deviation of ImageNet taken out."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", 255 * torch.tensor(IMAGENET_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", 255 * torch.tensor(IMAGENET_STD)[:, None, None], persistent=False)

    def planes(self, pixels: Tensor) -> Tensor:
        """uint8 [B,H,W,3] to float32 [B,3,H,W], 0 to 255."""
        # The cast comes first: TensorRT refuses to reshape or transpose uint8. Then the layout: numbers that differ
        # by channel are applied several times faster to whole planes.
        return pixels.float().permute(0, 3, 1, 2)

    def normalise(self, planes: Tensor) -> Tensor:
        return (planes - self.mean) / self.std

    def forward(self, pixels: Tensor) -> Tensor:
        return self.normalise(self.planes(pixels))
