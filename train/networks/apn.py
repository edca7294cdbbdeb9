"""The Appearance Pyramid Network: the visual vector v_a (paper, section IV.2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qafm.contract import VECTOR_SIZE
from train.networks.layers import IdentityClassifier, IdentityNeck, convolution, neck, pooling
from train.networks.trunk import Trunk

DILATIONS = (2, 3, 4)
HORIZONTAL_STRIPES, VERTICAL_STRIPES = 4, 2
"""H and V of Eq. 7, which the paper leaves open: head, chest, hips, legs; left and right."""


class MFPM(nn.Module):
    """Multi-Feature Pyramid Module: a 1x1 and three dilated 3x3 convolutions in parallel, and a global path.

    [B,inputs,H,W] to [B,channels,H,W], the channel-wise sum of the five paths.
    """

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.paths = nn.ModuleList(
            [convolution(inputs, channels)]
            + [convolution(inputs, channels, kernel=3, dilation=dilation) for dilation in DILATIONS]
        )
        self.context = nn.Conv2d(inputs, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        # Brought back up from 1x1, a bilinear interpolation gives the same value everywhere: broadcasting does too.
        total = self.context(features.mean(dim=(2, 3), keepdim=True))
        for path in self.paths:
            total = total + path(features)
        return total


class APN(nn.Module):
    """Trunk, MFPM, a decoder back to 48x16, pooled over the whole and over stripes; v_a float [B,1024].

    pool: how a region is summed up, "average" or "gem". shifts: whether v_a's normalisation has a shift.
    """

    def __init__(self, trunk: Trunk, channels: int = 256, *, pool: str = "average", shifts: bool = True) -> None:
        super().__init__()
        fine, middle, coarse = Trunk.CHANNELS
        self.channels = channels
        self.trunk = trunk
        self.pyramid = MFPM(coarse, channels)
        self.from_middle = convolution(middle, channels)
        self.from_fine = convolution(fine, channels)
        self.merge_middle = convolution(channels, channels)
        self.merge_fine = convolution(channels, channels)
        self.pool = pooling(pool)
        regions = 1 + HORIZONTAL_STRIPES + VERTICAL_STRIPES
        self.embed = nn.Linear(regions * channels, VECTOR_SIZE, bias=False)
        self.neck = neck(VECTOR_SIZE, shifts=shifts)

    def regions(self, crops: Tensor) -> Tensor:
        """float [B,7,channels]: the whole, then the horizontal stripes from the top, then the vertical ones."""
        fine, middle, coarse = self.trunk(crops)
        decoded = self.merge_middle(self.pyramid(coarse) + self.from_middle(middle))
        decoded = F.interpolate(decoded, scale_factor=2.0, mode="bilinear", align_corners=False)
        decoded = self.merge_fine(decoded + self.from_fine(fine))  # [B,channels,48,16]
        horizontal = self.pool(decoded.unflatten(2, (HORIZONTAL_STRIPES, -1)), (3, 4))  # [B,channels,4]
        vertical = self.pool(decoded.unflatten(3, (VERTICAL_STRIPES, -1)), (2, 4))  # [B,channels,2]
        whole = self.pool(decoded, (2, 3)).unsqueeze(2)
        return torch.cat([whole, horizontal, vertical], dim=2).transpose(1, 2)

    def before_neck(self, regions: Tensor) -> Tensor:
        """What v_a is before its normalisation, float [B,1024]."""
        return self.embed(regions.flatten(1))

    def forward(self, crops: Tensor) -> Tensor:
        return self.neck(self.before_neck(self.regions(crops)))


class APNClassifiers(nn.Module):
    """For training only: one identity classifier over v_a and one over each stripe (Eq. 7)."""

    def __init__(self, channels: int, identities: int, *, shifts: bool = True, scale: float | None = None) -> None:
        super().__init__()
        self.whole = IdentityClassifier(VECTOR_SIZE, identities, scale)
        self.stripes = nn.ModuleList(
            IdentityNeck(channels, identities, shifts=shifts, scale=scale)
            for _ in range(HORIZONTAL_STRIPES + VERTICAL_STRIPES)
        )

    def forward(self, visual: Tensor, regions: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits [B,P] of the whole, and of each stripe."""
        return self.whole(visual), [classify(regions[:, 1 + stripe]) for stripe, classify in enumerate(self.stripes)]
