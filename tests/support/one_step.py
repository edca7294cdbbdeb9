"""One step of the joint stage on a process's share of a batch, and its gradients: a test has torchrun run it.

Batch normalisation stands still in it, which several processes on CPUs do not share, and no attribute is missing, whose
means would be of unequal shares.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from tests.support.stages import joint_stage
from train.batches import Batches
from train.data import load_training_data
from train.launch import launch
from train.presets import load_preset

ONE_EPOCH = {"epochs": 1, "warmup_epochs": 0, "small_epochs": 1}
SETTINGS = load_preset(
    "demo",
    # So small that pass 4 sees the weights that pass 3 began with, whatever pass 3 did.
    learning_rate=1e-12,
    identities_per_batch=4,
    images_per_identity=2,
    precision="float32",
    workers=0,
    iqa=ONE_EPOCH,
    apan=ONE_EPOCH,
    joint=ONE_EPOCH | {"q_crops": 6},
    lessons={"crops": 6, "copies": 2},
    quality={"pictures": 0},
)


def gradients(fabric: Fabric, root: Path, rank: int, processes: int) -> dict[str, torch.Tensor]:
    """By parameter, after one step on the share of process `rank`."""
    data = load_training_data(root, SETTINGS.seed)
    data = replace(data, attributes=np.maximum(data.attributes, 0))
    torch.manual_seed(0)
    stage = joint_stage(
        SETTINGS,
        fabric,
        identities=len(data.pids),
        q=np.linspace(9, 11, len(data.crops), dtype=np.float32),
        held_out_q=np.zeros(len(data.held_out), np.float32),
    )
    for network in stage.networks.values():
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
                module.train = lambda mode=True, module=module: module  # type: ignore[method-assign]
    stage.step(next(Batches(data, SETTINGS, "joint", rank=rank, processes=processes).epoch(0)), 0)
    return {
        f"{name}.{parameter}": values.grad
        for name, network in stage.networks.items()
        for parameter, values in network.named_parameters()
        if values.grad is not None
    }


if __name__ == "__main__":
    fabric = launch()
    found = gradients(fabric, Path(sys.argv[1]), fabric.global_rank, fabric.world_size)
    if fabric.is_global_zero:
        torch.save(found, sys.argv[2])
