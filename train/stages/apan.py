"""Stage 1 of the paper: APAN alone on its attributes, so that it does not mislead the joint training."""

from __future__ import annotations

import numpy as np
from lightning_fabric import Fabric
from torch import Tensor

from train.batches import Batch
from train.networks import Trunk, build_apan
from train.networks.apan import attribute_priors
from train.settings import Settings
from train.stages.stage import Stage


class APANStage(Stage):
    name = "apan"

    def __init__(self, settings: Settings, fabric: Fabric, trunk: Trunk, attributes: np.ndarray) -> None:
        """`trunk` is where the encoder starts from, `attributes` int8 [N,12] are those of the training crops."""
        super().__init__(settings, fabric)
        self.apan = build_apan(trunk, settings.network)
        priors = attribute_priors(attributes)
        if settings.apan.priors == "start":
            self.apan.start_at(priors)
        self.set_priors(priors)
        self.add(apan=self.apan)
        self.module = self.optimize("apan", self.apan, trunk=self.apan.trunk.parameters())

    def step(self, batch: Batch, epoch: int) -> dict[str, Tensor]:
        with self.autocast():
            _, logits = self.module(self.network_input(batch, epoch, self.settings.augmentation.degraded.apan))
        loss = self.attribute_loss(logits, batch.attributes)
        self.update("apan", loss)
        return {"attributes": loss}

    def describe(self, crops: Tensor, rows: Tensor) -> dict[str, Tensor]:
        return {"semantic": self.apan(crops)[0]}
