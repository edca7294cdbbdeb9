"""The image-quality stage: a trunk trained for identity. Once trained it stays as it is."""

from __future__ import annotations

import torch
from torch import Tensor

from qafm.contract import FEATURE_SIZE
from train.checkpoint import build_trunk
from train.data import Batch
from train.losses import identity_loss, triplet_loss
from train.networks import IQA
from train.networks.layers import IdentityNeck
from train.precision import autocast
from train.settings import Settings
from train.stages.stage import Stage
from train.weights import load_trunk_weights


class IQAStage(Stage):
    name = "iqa"

    def __init__(self, settings: Settings, device: torch.device, identities: int) -> None:
        super().__init__(settings, device)
        trunk = build_trunk(settings.network)
        load_trunk_weights(trunk, settings.weights)
        self.iqa = IQA(trunk)
        self.neck = IdentityNeck(FEATURE_SIZE, identities)
        self.add(iqa=self.iqa, neck=self.neck)
        self.optimize("iqa", self.iqa, self.neck)

    def step(self, batch: Batch, epoch: int) -> dict[str, Tensor]:
        with autocast(self.settings.precision, self.device):
            features = self.iqa(self.look(batch, epoch))
            logits = self.neck(features)
        losses = {
            "identity": identity_loss(logits, batch.labels),
            "triplet": triplet_loss(features, batch.labels),
        }
        self.update("iqa", losses["identity"] + losses["triplet"])
        return losses
