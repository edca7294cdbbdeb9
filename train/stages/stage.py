"""What a stage is. `train.stages.loop` trains any of them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from qafm.datasets.crops import Crop
from train.augmentation import augment
from train.batches import Batch
from train.losses import attribute_loss, identity_loss, triplet_loss
from train.networks import Pixels
from train.networks.trunk import lowered
from train.precision import autocast, gradient_scaler
from train.settings import Settings, StageName, StageSettings

UNDECAYED = ("slope", "level")
"""Groups without weight decay: decay would pull α to a half."""


class Stage(ABC):
    """Networks, their optimisers, and what one batch does to them."""

    name: ClassVar[StageName]

    def __init__(self, settings: Settings, fabric: Fabric) -> None:
        self.settings = settings
        self.fabric = fabric
        self.device = fabric.device
        self.pixels = Pixels().to(self.device)
        self.scaler = gradient_scaler(settings.precision, self.device)
        self.networks: dict[str, nn.Module] = {}
        self.optimizers: dict[str, Optimizer] = {}

    @property
    def schedule(self) -> StageSettings:
        return getattr(self.settings, self.name)

    @abstractmethod
    def step(self, batch: Batch, epoch: int) -> dict[str, Tensor]:
        """Train on one batch; return its losses by name, scalars. It may not wait for the device."""

    @abstractmethod
    def describe(self, crops: Tensor, rows: Tensor) -> dict[str, Tensor]:
        """Normalised held-out crops, of these rows of TrainingData.held_out, to what identifies them, [B,D] by name.

        The first is what the stage is judged by.
        """

    def network_input(self, batch: Batch, epoch: int, degraded: float = 0.0) -> Tensor:
        """The batch's crops, augmented, as a network reads them: float [B,3,H,W], see `at_resolution`; made worse with
        the probability `degraded`."""
        planes = self.at_resolution(self.pixels.planes(batch.seen(degraded)), epoch)
        return self.pixels.normalise(augment(planes, batch.augmentation))

    def whole(self, crops: Tensor, epoch: int) -> Tensor:
        """Crops uint8 [B,384,128,3] as a network reads them where they are not augmented."""
        return self.pixels.normalise(self.at_resolution(self.pixels.planes(crops), epoch))

    def complete(self, crops: Sequence[Crop], epoch: int) -> None:  # noqa: B027 - most stages learn all that they have
        """Set what is computed and not learnt, by `crops` of the training split; here there is no such thing."""

    def at_resolution(self, planes: Tensor, epoch: int) -> Tensor:
        """Crops [B,3,384,128] averaged down to what the trunks see, and by half once more in a small epoch."""
        height = self.settings.network.height // (2 if epoch < self.schedule.small_epochs else 1)
        return lowered(planes, height)

    def rate(self, group: str, progress: float) -> float:
        """The learning rate of a group of parameters after `progress` epochs."""
        return self.settings.learning_rate * rate_factor(progress, self.schedule)

    def gather(self, vectors: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors [B,D], with their gradients, and labels [B] of all processes: triplets need many identities."""
        if self.fabric.world_size == 1:
            return vectors, labels
        every = self.fabric.all_gather(vectors, sync_grads=True)
        return every.flatten(0, 1), self.fabric.all_gather(labels).flatten()

    def identity(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The identity loss of the settings over this process's share of the batch."""
        return identity_loss(logits, labels, self.settings.losses)

    def set_priors(self, priors: Tensor) -> None:
        """Say how frequent the values of attributes are, as logits float [30]: what is added to those of the heads in
        their loss, if the settings say so."""
        self.priors = (priors if self.settings.apan.priors == "adjust" else torch.zeros_like(priors)).to(self.device)

    def attribute_loss(self, logits: Tensor, attributes: Tensor) -> Tensor:
        """The attribute loss over this process's share of the batch."""
        return attribute_loss(logits + self.priors, attributes)

    def triplet(self, vectors: Tensor, labels: Tensor) -> Tensor:
        """The triplet loss of the settings over the whole batch."""
        return triplet_loss(*self.gather(vectors, labels), self.settings.losses.triplet)

    def autocast(self) -> torch.autocast:
        return autocast(self.settings.precision, self.device)

    def add(self, **networks: nn.Module) -> None:
        """Networks that a checkpoint of the stage holds."""
        for name, network in networks.items():
            # channels-last: convolutions of AMX and tensor cores want it
            self.networks[name] = network.to(self.device, memory_format=torch.channels_last)

    def optimize(self, name: str, module: nn.Module, **apart: Iterable[nn.Parameter]) -> nn.Module:
        """Give a module an optimiser of its own. Call what is returned: over several processes its gradients are
        averaged, and on GPUs the statistics of its batch normalisation too.

        Parameters that stand `apart`, by name, are groups of their own, such as NAME_trunk, which may learn at other
        rates; those in `UNDECAYED` have no weight decay.
        """
        moving = {id(parameter): parameter for parameter in module.parameters() if parameter.requires_grad}
        groups = []
        for part, parameters in apart.items():
            found = [moving.pop(id(parameter)) for parameter in parameters if id(parameter) in moving]
            decay = 0.0 if part in UNDECAYED else self.settings.weight_decay
            groups.append({"name": f"{name}_{part}", "params": found, "weight_decay": decay})
        self.optimizers[name] = Adam(
            [group for group in ({"name": name, "params": list(moving.values())}, *groups) if group["params"]],
            lr=self.settings.learning_rate,
            weight_decay=self.settings.weight_decay,
        )
        if self.fabric.world_size > 1 and self.device.type == "cuda":
            module = nn.SyncBatchNorm.convert_sync_batchnorm(module)
        return self.fabric.setup_module(module, move_to_device=False)

    def update(self, name: str, loss: Tensor) -> None:
        """One backward pass, and one step of the optimiser that owns it."""
        optimizer = self.optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(self.scaler.scale(loss))
        self.scaler.step(optimizer)
        self.scaler.update()


def rate_factor(progress: float, schedule: StageSettings, *, start: float = 0.0, end: float | None = None) -> float:
    """The learning rate relative to the base rate, after `progress` epochs: linear warm-up, then a cosine to 0.

    The cosine begins at epoch `start` or the schedule's, or after the warm-up, and ends at epoch `end`, or with the
    stage.
    """
    if progress < schedule.warmup_epochs:
        return progress / schedule.warmup_epochs
    start = max(start, schedule.cosine_from, schedule.warmup_epochs)
    fallen = (progress - start) / max((schedule.epochs if end is None else end) - start, 1e-9)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, fallen))))
