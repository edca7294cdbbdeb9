"""What a stage is, and the loop that trains any of them."""

from __future__ import annotations

import json
import math
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from qafm.errors import InvalidCheckpoint, TrainingFailed
from train.checkpoint import Checkpoint, checkpoint_path, load_checkpoint, save_checkpoint
from train.data import Batch, Batches
from train.networks import Pixels
from train.settings import Settings, StageName, StageSettings

METRICS_FILE = "metrics.jsonl"


class Stage(ABC):
    """Networks, their optimisers, and what one batch does to them."""

    name: ClassVar[StageName]

    def __init__(self, settings: Settings, device: torch.device) -> None:
        self.settings = settings
        self.device = device
        self.pixels = Pixels().to(device)
        self.networks: dict[str, nn.Module] = {}
        self.optimizers: dict[str, Optimizer] = {}

    @property
    def schedule(self) -> StageSettings:
        return getattr(self.settings, self.name)

    @abstractmethod
    def step(self, batch: Batch, epoch: int) -> dict[str, Tensor]:
        """Train on one batch; return its losses by name, scalars."""

    def look(self, batch: Batch, epoch: int) -> Tensor:
        """The batch's crops as a network reads them: float [B,3,384,128], or half of that in a small epoch."""
        crops = self.pixels(batch.crops)
        return F.avg_pool2d(crops, 2) if epoch < self.schedule.small_epochs else crops

    def base_rate(self, optimizer: str) -> float:
        """The learning rate of an optimiser, before the schedule."""
        return self.settings.learning_rate

    def add(self, **networks: nn.Module) -> None:
        for name, network in networks.items():
            # channels-last: convolutions of AMX and tensor cores want it
            self.networks[name] = network.to(self.device, memory_format=torch.channels_last)

    def optimize(self, name: str, *modules: nn.Module) -> None:
        """Give `modules` an optimiser of their own."""
        parameters = [parameter for module in modules for parameter in module.parameters()]
        self.optimizers[name] = Adam(
            parameters, lr=self.settings.learning_rate, weight_decay=self.settings.weight_decay
        )

    def update(self, name: str, loss: Tensor) -> None:
        """One backward pass, and one step of the optimiser that owns it."""
        self.optimizers[name].zero_grad(set_to_none=True)
        loss.backward()
        self.optimizers[name].step()


def rate_factor(progress: float, schedule: StageSettings) -> float:
    """The learning rate relative to the base rate, after `progress` epochs: linear warm-up, then a cosine to 0."""
    if progress < schedule.warmup_epochs:
        return progress / schedule.warmup_epochs
    remaining = max(schedule.epochs - schedule.warmup_epochs, 1e-9)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - schedule.warmup_epochs) / remaining)))


def train_stage(
    stage: Stage, batches: Batches, run: Path, pids: tuple[int, ...], *, resume: bool, console: Console
) -> None:
    """Train a stage to its end, with a checkpoint in `run` after each epoch. With `resume`, go on from the last one.

    Raises TrainingFailed where a loss is not finite, InvalidCheckpoint where the one to resume from does not fit.
    """
    done = _restore(stage, run, pids) if resume and checkpoint_path(run, stage.name).is_file() else 0
    for network in stage.networks.values():
        network.train()
    steps = len(batches)
    _drop_metrics(run / METRICS_FILE, stage.name, done * steps)
    columns = (
        TextColumn(f"{stage.name:>5}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]:5.1f} images/s"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[losses]}"),
    )
    with Progress(*columns, console=console) as progress, (run / METRICS_FILE).open("a") as metrics:
        bar = progress.add_task(
            stage.name, total=stage.schedule.epochs * steps, completed=done * steps, losses="", speed=0.0
        )
        for epoch in range(done, stage.schedule.epochs):
            started = epoch_started = time.perf_counter()
            sums: Counter[str] = Counter()
            for number, batch in enumerate(batches.epoch(epoch)):
                _set_rates(stage, epoch + (number + 1) / steps)
                losses = _finite(stage.step(batch.to(stage.device), epoch), stage.name, epoch, number)
                now = time.perf_counter()
                speed, started = len(batch.rows) / (now - started), now
                record = {
                    "stage": stage.name,
                    "step": epoch * steps + number,
                    "images_per_s": round(speed, 2),
                }
                metrics.write(json.dumps(record | losses) + "\n")
                sums.update(losses)
                progress.update(bar, advance=1, losses=_shown(losses), speed=speed)
            metrics.flush()
            save_checkpoint(run, _snapshot(stage, epoch + 1, pids))
            # The bar shows only on a terminal; these lines stay in a log too.
            means = _shown({name: total / steps for name, total in sums.items()})
            took = f"{time.perf_counter() - epoch_started:.0f} s"
            console.print(f"{stage.name} epoch {epoch + 1}/{stage.schedule.epochs}, {took}: {means}", highlight=False)


def _drop_metrics(path: Path, stage: str, steps: int) -> None:
    """Drop what an earlier attempt logged of steps that will be done again: all but the first `steps` of the stage."""
    if path.is_file():
        lines = path.read_text().splitlines(keepends=True)
        records = [json.loads(line) for line in lines if line.endswith("\n")]
        kept = [record["stage"] != stage or record["step"] < steps for record in records]
        path.write_text("".join(line for line, keep in zip(lines, kept, strict=False) if keep))


def _shown(losses: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {loss:.3f}" for name, loss in losses.items())


def _set_rates(stage: Stage, progress: float) -> None:
    for name, optimizer in stage.optimizers.items():
        for group in optimizer.param_groups:
            group["lr"] = stage.base_rate(name) * rate_factor(progress, stage.schedule)


def _finite(losses: Mapping[str, Tensor], stage: str, epoch: int, number: int) -> dict[str, float]:
    values = {name: float(loss.detach()) for name, loss in losses.items()}
    if broken := [name for name, value in values.items() if not math.isfinite(value)]:
        raise TrainingFailed(
            f"the {stage} stage's loss {', '.join(broken)} is not finite in epoch {epoch}, batch {number}. "
            "The checkpoint of the last finished epoch is intact. Train into another --out with a lower learning_rate "
            "or precision float32 in the preset"
        )
    return {name: round(value, 5) for name, value in values.items()}


def _snapshot(stage: Stage, epoch: int, pids: tuple[int, ...]) -> Checkpoint:
    return Checkpoint(
        stage=stage.name,
        epoch=epoch,
        complete=epoch == stage.schedule.epochs,
        pids=pids,
        networks={name: network.state_dict() for name, network in stage.networks.items()},
        optimizers={name: optimizer.state_dict() for name, optimizer in stage.optimizers.items()},
    )


def _restore(stage: Stage, run: Path, pids: tuple[int, ...]) -> int:
    """Put a stage back to where its checkpoint was; returns the number of finished epochs."""
    checkpoint = load_checkpoint(run, stage.name)
    if checkpoint.pids != pids:
        raise InvalidCheckpoint(
            f"{checkpoint_path(run, stage.name)}: trained on {len(checkpoint.pids)} identities that are not the "
            f"{len(pids)} of this dataset; resume with the same --data, or train into another --out"
        )
    checkpoint.restore(stage.networks)
    for name, optimizer in stage.optimizers.items():
        optimizer.load_state_dict(checkpoint.optimizers[name])
    return checkpoint.epoch
