"""The ResNet encoder that all three branches use, its last stride at 1."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck, ResNet

from qafm.contract import HEIGHT


class InstanceBatchNorm(nn.Module):
    """IBN-a (Pan et al. 2018): the first half of the channels normalised a picture at a time, the others a batch.

    Its parts are named as in the published weights.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.half = channels // 2
        self.IN = nn.InstanceNorm2d(self.half, affine=True)
        self.BN = nn.BatchNorm2d(channels - self.half)

    def forward(self, features: Tensor) -> Tensor:
        # Contiguous: the instance normalisation of a slice of channels-last features is several times slower.
        first, second = features.split([self.half, features.shape[1] - self.half], dim=1)
        return torch.cat([self.IN(first.contiguous()), self.BN(second.contiguous())], dim=1)


def lowered(crops: Tensor, height: int) -> Tensor:
    """Crops [B,3,H,W] averaged down to a height that divides H, their width with it; lower ones as they are."""
    return F.avg_pool2d(crops, crops.shape[2] // height) if crops.shape[2] > height else crops


class Trunk(nn.Module):
    """A bottleneck ResNet without its classifier. Blocks (3,4,6,3) and width 64 a group make it ResNet-50.

    Every choice of blocks and width gives feature maps of the same sizes: [B,512,48,16], [B,1024,24,8] and
    [B,2048,24,8] for crops [B,3,384,128] that are not averaged down to a lower `height`.
    """

    CHANNELS = (512, 1024, 2048)

    def __init__(
        self,
        blocks: tuple[int, int, int, int] = (3, 4, 6, 3),
        width_per_group: int = 64,
        *,
        height: int = HEIGHT,
        instance_norm: bool = False,
    ) -> None:
        super().__init__()
        self.height = height
        # Each block starts as the identity: from random weights, fifty layers then learn within a short training.
        resnet = ResNet(Bottleneck, list(blocks), width_per_group=width_per_group, zero_init_residual=True)
        # Twice the resolution of the last stage for re-identification (Luo et al. 2019, the paper's [6]).
        first = resnet.layer4[0]
        first.conv2.stride = (1, 1)
        first.downsample[0].stride = (1, 1)
        if instance_norm:
            # Not in the last stage: what it has left is identity, not appearance.
            for layer in (resnet.layer1, resnet.layer2, resnet.layer3):
                for block in layer:
                    block.bn1 = InstanceBatchNorm(block.bn1.num_features)

        self.stem = nn.Sequential(resnet.conv1, resnet.bn1, resnet.relu, resnet.maxpool)
        self.layer1 = resnet.layer1
        self.layer2 = resnet.layer2
        self.layer3 = resnet.layer3
        self.layer4 = resnet.layer4

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        fine = self.layer2(self.layer1(self.stem(lowered(crops, self.height))))  # [B,512,48,16]
        middle = self.layer3(fine)  # [B,1024,24,8]
        return fine, middle, self.layer4(middle)  # [B,2048,24,8]
