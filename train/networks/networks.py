"""The networks of a run, put together from its settings."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from train.networks.apan import APAN
from train.networks.apn import APN
from train.networks.fusion import DescriptorHead, Fusion, VisualHead
from train.networks.iqa import IQA
from train.networks.quality import QualityNetwork
from train.networks.trunk import Trunk
from train.networks.weighting import TrainableWeighting, build_weighting
from train.settings import NetworkSettings, WeightingKind


def build_trunk(settings: NetworkSettings) -> Trunk:
    """A trunk with fresh weights, drawn from torch's global generator."""
    return Trunk(
        settings.blocks, settings.width_per_group, height=settings.height, instance_norm=settings.instance_norm
    )


def build_apn(trunk: Trunk, settings: NetworkSettings) -> APN:
    """APN over a trunk, the rest fresh."""
    return APN(trunk, settings.channels, pool=settings.pooling, shifts=not settings.bnneck)


def build_apan(trunk: Trunk, settings: NetworkSettings) -> APAN:
    """APAN over a trunk, the rest fresh."""
    return APAN(trunk, settings.channels, forget_bias=settings.forget_bias, belief_norm=settings.belief_norm)


def build_fusion(settings: NetworkSettings, *, attributes: bool = True) -> DescriptorHead:
    """What makes the descriptor of both branches, or without attributes of v_a alone."""
    return Fusion(after_neck=settings.bnneck) if attributes else VisualHead(after_neck=settings.bnneck)


@dataclass(frozen=True)
class Networks:
    """The networks that a run is exported as, in evaluation mode. apan: None without attributes; quality: where none
    was taught."""

    iqa: IQA
    apn: APN
    apan: APAN | None
    fusion: DescriptorHead
    weighting: TrainableWeighting
    quality: QualityNetwork | None = None

    def semantic(self, crops: Tensor) -> Tensor:
        """v_s of normalised crops, float [B,1024]; without attributes [B,0]."""
        return crops.new_zeros((len(crops), 0)) if self.apan is None else self.apan(crops)[0]

    def all(self) -> list[nn.Module]:
        return [network for network in vars(self).values() if network is not None]

    @classmethod
    def untrained(
        cls, settings: NetworkSettings, weighting: WeightingKind = "paper", *, attributes: bool = True
    ) -> Networks:
        """With fresh weights, drawn from torch's global generator."""
        networks = cls(
            iqa=IQA(build_trunk(settings)),
            apn=build_apn(build_trunk(settings), settings),
            apan=build_apan(build_trunk(settings), settings) if attributes else None,
            fusion=build_fusion(settings, attributes=attributes),
            weighting=build_weighting(weighting),
        )
        for network in networks.all():
            network.eval()
        return networks
