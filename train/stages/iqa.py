"""The image-quality stage: a trunk trained for identity. Once trained it stays as it is."""

from __future__ import annotations

from lightning_fabric import Fabric
from torch import Tensor, nn

from qafm.contract import FEATURE_SIZE
from train.batches import Batch
from train.networks import IQA, build_trunk
from train.networks.layers import IdentityNeck
from train.settings import Settings
from train.stages.stage import Stage
from train.weights import load_trunk_weights


class IQAStage(Stage):
    name = "iqa"

    def __init__(self, settings: Settings, fabric: Fabric, identities: int) -> None:
        super().__init__(settings, fabric)
        trunk = build_trunk(settings.network)
        load_trunk_weights(trunk, settings.weights)
        self.iqa = IQA(trunk)
        shifts, scale = not settings.network.bnneck, settings.losses.cosine_scale
        self.neck = IdentityNeck(FEATURE_SIZE, identities, shifts=shifts, scale=scale)
        self.add(iqa=self.iqa, neck=self.neck)
        self.module = self.optimize("iqa", _IQAModule(self.iqa, self.neck))

    def step(self, batch: Batch, epoch: int) -> dict[str, Tensor]:
        with self.autocast():
            features, logits = self.module(self.network_input(batch, epoch))
        losses = {
            "identity": self.identity(logits, batch.labels),
            "triplet": self.triplet(features, batch.labels),
        }
        self.update("iqa", losses["identity"] + losses["triplet"])
        return losses

    def describe(self, crops: Tensor, rows: Tensor) -> dict[str, Tensor]:
        return {"features": self.iqa(crops)}


class _IQAModule(nn.Module):
    def __init__(self, iqa: IQA, neck: IdentityNeck) -> None:
        super().__init__()
        self.iqa, self.neck = iqa, neck

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Features [B,2048] and identity logits [B,P]."""
        features = self.iqa(crops)
        return features, self.neck(features)
