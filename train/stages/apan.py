"""Stage 1 of the paper: APAN alone on its attributes, so that it does not mislead the joint training."""

from __future__ import annotations

from lightning_fabric import Fabric
from torch import Tensor

from train.batches import Batch
from train.losses import attribute_loss
from train.networks import APAN, Trunk
from train.settings import Settings
from train.stages.stage import Stage


class APANStage(Stage):
    name = "apan"

    def __init__(self, settings: Settings, fabric: Fabric, trunk: Trunk) -> None:
        """`trunk` is where the encoder starts from: ImageNet's weights, or else the trained IQA trunk."""
        super().__init__(settings, fabric)
        self.apan = APAN(trunk, settings.network.channels)
        self.add(apan=self.apan)
        self.module = self.optimize("apan", self.apan)

    def step(self, batch: Batch, epoch: int) -> dict[str, Tensor]:
        with self.autocast():
            _, logits = self.module(self.network_input(batch, epoch))
        loss = attribute_loss(logits, batch.attributes)
        self.update("apan", loss)
        return {"attributes": loss}

    def describe(self, crops: Tensor, rows: Tensor) -> Tensor:
        return self.apan(self.pixels(crops))[0]
