"""The networks of a run, put together from its settings."""

from __future__ import annotations

from dataclasses import dataclass

from train.networks.apan import APAN
from train.networks.apn import APN
from train.networks.fusion import Fusion
from train.networks.iqa import IQA
from train.networks.trunk import Trunk
from train.networks.weighting import TrainableWeighting, build_weighting
from train.settings import NetworkSettings, WeightingKind


def build_trunk(settings: NetworkSettings) -> Trunk:
    """A trunk with fresh weights, drawn from torch's global generator."""
    return Trunk(settings.blocks, settings.width_per_group)


@dataclass(frozen=True)
class Networks:
    """The networks that a run is exported as, in evaluation mode."""

    iqa: IQA
    apn: APN
    apan: APAN
    fusion: Fusion
    weighting: TrainableWeighting

    @classmethod
    def untrained(cls, settings: NetworkSettings, weighting: WeightingKind = "paper") -> Networks:
        """With fresh weights, drawn from torch's global generator."""
        networks = cls(
            iqa=IQA(build_trunk(settings)),
            apn=APN(build_trunk(settings), settings.channels),
            apan=APAN(build_trunk(settings), settings.channels),
            fusion=Fusion(),
            weighting=build_weighting(weighting),
        )
        for network in vars(networks).values():
            network.eval()
        return networks
