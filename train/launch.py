"""The processes and the device of a training: what `torchrun` started, or this process alone."""

from __future__ import annotations

import logging
import os

import torch
from lightning_fabric import Fabric


def launch() -> Fabric:
    """A GPU a process, or the CPU where there is none. `torchrun --nproc-per-node N` has its N processes join here."""
    local = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    world = int(os.environ.get("WORLD_SIZE", 1))
    fabric = Fabric(
        accelerator="cuda" if torch.cuda.is_available() else "cpu",
        strategy="ddp" if world > 1 else "auto",
        devices=local,
        num_nodes=world // local,
    )
    # Every batch has the same few shapes: the fastest convolution for each is worth a search.
    torch.backends.cudnn.benchmark = True
    # Its advice to round products of float32 on a GPU: what is left in float32 is so for a reason.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    fabric.launch()
    return fabric
