"""What a stage is, and the loop that trains any of them."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from qafm.errors import InvalidCheckpoint, TrainingFailed
from train.batches import Batch, Batches
from train.checkpoint import Checkpoint, checkpoint_path, load_checkpoint, save_checkpoint
from train.metrics_log import MetricsLog
from train.networks import Pixels
from train.precision import autocast, gradient_scaler
from train.settings import Settings, StageName, StageSettings
from train.validation import validate


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
        """Train on one batch; return its losses by name, scalars."""

    @abstractmethod
    def describe(self, crops: Tensor, rows: Tensor) -> Tensor:
        """Held-out crops uint8 [B,384,128,3], of these rows of TrainingData.held_out, to what identifies them [B,D]."""

    def network_input(self, batch: Batch, epoch: int) -> Tensor:
        """The batch's crops as a network reads them: float [B,3,384,128], or half of that in a small epoch."""
        crops = self.pixels(batch.crops)
        return F.avg_pool2d(crops, 2) if epoch < self.schedule.small_epochs else crops

    def rate(self, optimizer: str, progress: float) -> float:
        """The learning rate of an optimiser after `progress` epochs."""
        return self.settings.learning_rate * rate_factor(progress, self.schedule)

    def autocast(self) -> torch.autocast:
        return autocast(self.settings.precision, self.device)

    def add(self, **networks: nn.Module) -> None:
        """Networks that a checkpoint of the stage holds."""
        for name, network in networks.items():
            # channels-last: convolutions of AMX and tensor cores want it
            self.networks[name] = network.to(self.device, memory_format=torch.channels_last)

    def optimize(self, name: str, module: nn.Module) -> nn.Module:
        """Give a module an optimiser of its own. Call what is returned: over several processes its gradients are
        averaged."""
        self.optimizers[name] = Adam(
            module.parameters(), lr=self.settings.learning_rate, weight_decay=self.settings.weight_decay
        )
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

    The cosine begins at epoch `start`, or after the warm-up, and ends at epoch `end`, or with the stage.
    """
    if progress < schedule.warmup_epochs:
        return progress / schedule.warmup_epochs
    start = max(start, schedule.warmup_epochs)
    fallen = (progress - start) / max((schedule.epochs if end is None else end) - start, 1e-9)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, fallen))))


def train_stage(stage: Stage, batches: Batches, run: Path, *, resume: bool, console: Console) -> None:
    """Train a stage to its end, with validation and a checkpoint in `run` after each epoch.

    The epoch with the highest validation mAP so far is kept beside the last one. With `resume`, go on from the last.
    Raises TrainingFailed where a loss or weight is not finite or the run cannot be written, InvalidCheckpoint where
    the checkpoint to resume from does not fit.
    """
    fabric, pids = stage.fabric, batches.data.pids
    done, best = 0, 0.0
    if resume and checkpoint_path(run, stage.name).is_file():
        done, best = _restore(stage, run, pids)
    steps, epochs = len(batches), stage.schedule.epochs
    with (
        MetricsLog(run, stage.name, done * steps, enabled=fabric.is_global_zero) as log,
        _progress(stage.name, console) as progress,
    ):
        bar = progress.add_task(stage.name, total=epochs * steps, completed=done * steps, losses="", speed=0.0)
        for epoch in range(done, epochs):
            started = time.perf_counter()
            means = _train_epoch(stage, batches, epoch, log, partial(progress.update, bar, advance=1))
            validation = _validate(stage, batches)
            log.write((epoch + 1) * steps - 1, validation=validation)
            log.flush()
            improved = validation.get("mAP", 0.0) >= best
            best = max(best, validation.get("mAP", 0.0))
            if fabric.is_global_zero:
                save_checkpoint(run, _snapshot(stage, epoch + 1, pids, best), best=improved)
            fabric.barrier()
            # The bar shows only on a terminal; these lines stay in a log too.
            took = f"{time.perf_counter() - started:.0f} s"
            measured = _shown(means | validation)
            console.print(f"{stage.name} epoch {epoch + 1}/{epochs}, {took}: {measured}", highlight=False)


def _progress(name: str, console: Console) -> Progress:
    return Progress(
        TextColumn(f"{name:>5}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]:5.1f} images/s"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[losses]}"),
        console=console,
    )


def _train_epoch(
    stage: Stage, batches: Batches, epoch: int, log: MetricsLog, show: Callable[..., None]
) -> dict[str, float]:
    """Train on every batch of an epoch; returns the mean of each loss by name.

    `show` is called after each batch, with the `losses` in words and the `speed` in images/s.
    """
    for network in stage.networks.values():
        network.train()
    steps, sums = len(batches), Counter[str]()
    started = time.perf_counter()
    for number, batch in enumerate(batches.epoch(epoch)):
        # The middle of the step: neither the first nor the last one has a rate of 0.
        rate = _set_rates(stage, epoch + (number + 0.5) / steps)
        losses = _finite(stage.step(batch.to(stage.device), epoch), stage, epoch, number)
        now = time.perf_counter()
        speed, started = stage.fabric.world_size * len(batch.rows) / (now - started), now
        log.write(epoch * steps + number, images_per_s=round(speed, 2), rate=rate, loss=losses)
        sums.update(losses)
        show(losses=_shown(losses), speed=speed)
    _require_finite_weights(stage, epoch)
    return {name: total / steps for name, total in sums.items()}


def _validate(stage: Stage, batches: Batches) -> dict[str, float]:
    """One process validates for all: its result, rounded, or nothing elsewhere."""
    if not stage.fabric.is_global_zero:
        return {}
    for network in stage.networks.values():
        network.eval()
    with torch.inference_mode(), stage.autocast():
        metrics = validate(stage.describe, batches.data.held_out, device=stage.device)
    return {name: round(value, 5) for name, value in metrics.items()}


def _shown(values: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.3f}" for name, value in values.items())


def _set_rates(stage: Stage, progress: float) -> dict[str, float]:
    """Set the learning rate of each optimiser; returns them by name."""
    rates = {name: stage.rate(name, progress) for name in stage.optimizers}
    for name, optimizer in stage.optimizers.items():
        for group in optimizer.param_groups:
            group["lr"] = rates[name]
    return rates


def _finite(losses: Mapping[str, Tensor], stage: Stage, epoch: int, number: int) -> dict[str, float]:
    """Losses by name, the mean over all processes, so that all of them stop where one of them has to."""
    means = stage.fabric.all_reduce(torch.stack([loss.detach().float() for loss in losses.values()]))
    values = dict(zip(losses, means.tolist(), strict=True))
    if broken := [name for name, value in values.items() if not math.isfinite(value)]:
        raise _diverged(stage, f"loss {', '.join(broken)} is", f"epoch {epoch + 1}, batch {number + 1}")
    return {name: round(value, 5) for name, value in values.items()}


def _require_finite_weights(stage: Stage, epoch: int) -> None:
    """The losses of an epoch were taken before its last update: without this, a checkpoint could hold what that did."""
    for name, network in stage.networks.items():
        if not all(bool(values.isfinite().all()) for values in network.state_dict().values()):
            raise _diverged(stage, f"{name} network has weights that are", f"epoch {epoch + 1}, after its last batch")


def _diverged(stage: Stage, what: str, when: str) -> TrainingFailed:
    return TrainingFailed(
        f"the {stage.name} stage's {what} not finite in {when}. The checkpoint of the epoch before, if there was one, "
        "is intact. Train into another --out with a lower learning_rate or precision float32 in the preset"
    )


def _snapshot(stage: Stage, epoch: int, pids: tuple[int, ...], best: float) -> Checkpoint:
    return Checkpoint(
        stage=stage.name,
        epoch=epoch,
        complete=epoch == stage.schedule.epochs,
        best_mAP=best,
        pids=pids,
        networks={name: network.state_dict() for name, network in stage.networks.items()},
        optimizers={name: optimizer.state_dict() for name, optimizer in stage.optimizers.items()},
        scaler=stage.scaler.state_dict(),
    )


def _restore(stage: Stage, run: Path, pids: tuple[int, ...]) -> tuple[int, float]:
    """Put a stage back to where its checkpoint was; returns the number of finished epochs, and the best mAP so far."""
    checkpoint = load_checkpoint(run, stage.name)
    if checkpoint.pids != pids:
        raise InvalidCheckpoint(
            f"{checkpoint_path(run, stage.name)}: trained on {len(checkpoint.pids)} identities that are not the "
            f"{len(pids)} of this dataset; resume with the same --data, or train into another --out"
        )
    checkpoint.restore(stage.networks)
    for name, optimizer in stage.optimizers.items():
        optimizer.load_state_dict(checkpoint.optimizers[name])
    stage.scaler.load_state_dict(checkpoint.scaler)
    return checkpoint.epoch, checkpoint.best_mAP
