"""The image-quality branch: an identity network whose features scatter more the worse the picture (paper, Fig. 3)."""

from __future__ import annotations

from torch import Tensor, nn

from train.networks.trunk import Trunk


class IQA(nn.Module):
    """The trunk and global average pooling. Returns unnormalised features float [B,2048]."""

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, crops: Tensor) -> Tensor:
        return self.trunk(crops)[-1].mean(dim=(2, 3))
