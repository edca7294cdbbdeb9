"""Stage 1 of the paper: APAN alone on its attributes, so that it does not mislead the joint training."""

from __future__ import annotations

import torch
from torch import Tensor

from train.data import Batch
from train.losses import attribute_loss
from train.networks import APAN, Trunk
from train.precision import autocast
from train.settings import Settings
from train.stages.stage import Stage


class APANStage(Stage):
    name = "apan"

    def __init__(self, settings: Settings, device: torch.device, trunk: Trunk) -> None:
        """`trunk` is where the encoder starts from: ImageNet's weights, or else the trained IQA trunk."""
        super().__init__(settings, device)
        self.apan = APAN(trunk, settings.network.channels)
        self.add(apan=self.apan)
        self.optimize("apan", self.apan)

    def step(self, batch: Batch, epoch: int) -> dict[str, Tensor]:
        with autocast(self.settings.precision, self.device):
            _, logits = self.apan(self.look(batch, epoch))
        loss = attribute_loss(logits, batch.attributes)
        self.update("apan", loss)
        return {"attributes": loss}
