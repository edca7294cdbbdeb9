"""Other ways to the ensemble's result, in PyTorch alone: what serving is compared with."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np
import torch

from bench import views_loop
from export.pipelines import TorchPipeline
from train.networks import Networks


class PaperPipeline(TorchPipeline):
    """The paper's method, written plainly."""

    make_views = staticmethod(views_loop.views)


class Bfloat16Pipeline(TorchPipeline):
    """What PyTorch itself offers for speed on a CPU."""

    def __init__(self, networks: Networks) -> None:
        super().__init__(copy.deepcopy(networks))
        for module in self.modules.values():
            module.to(memory_format=torch.channels_last)

    def run(self, model: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        with torch.autocast("cpu", torch.bfloat16):
            return super().run(model, inputs)
