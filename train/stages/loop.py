"""The loop that trains any stage."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from qafm.errors import InvalidCheckpoint, TrainingFailed
from train.average import WeightAverage
from train.batches import Batches
from train.checkpoint import Checkpoint, checkpoint_path, load_checkpoint, save_checkpoint
from train.metrics_log import MetricsLog
from train.stages.stage import Stage
from train.validation import validate

READ_EVERY = 20
"""So many steps' losses are read from the device together."""


def train_stage(stage: Stage, batches: Batches, run: Path, *, resume: bool, console: Console) -> None:
    """Train a stage to its end, with validation and a checkpoint in `run` after every `check_every` epochs.

    The checked epoch with the highest validation mAP so far is kept beside the last one; small epochs are compared
    with each other only. With `resume`, go on from the last.
    Raises TrainingFailed where a loss or weight is not finite or the run cannot be written, InvalidCheckpoint where
    the checkpoint to resume from does not fit.
    """
    fabric, pids = stage.fabric, batches.data.pids
    average = WeightAverage(stage.networks, stage.settings.average)
    done, best = 0, 0.0
    if resume and checkpoint_path(run, stage.name).is_file():
        done, best = _restore(stage, average, run, pids)
    steps, epochs = len(batches), stage.schedule.epochs
    if stage.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(stage.device)
    with (
        MetricsLog(run, stage.name, done * steps, enabled=fabric.is_global_zero) as log,
        _progress(stage.name, console) as progress,
    ):
        bar = progress.add_task(stage.name, total=epochs * steps, completed=done * steps, losses="", speed=0.0)
        for epoch in range(done, epochs):
            started = time.perf_counter()
            measured = _train_epoch(stage, batches, epoch, average, log, partial(progress.update, bar))
            last = epoch + 1 == epochs
            if last or (epoch + 1) % stage.settings.check_every == 0:
                with average.in_place():
                    validation = _judge(stage, batches, epoch)
                log.write((epoch + 1) * steps - 1, validation=validation)
                if epoch - stage.settings.check_every < stage.schedule.small_epochs <= epoch:
                    best = 0.0  # the first one at full size
                improved = validation.get("mAP", 0.0) >= best
                best = max(best, validation.get("mAP", 0.0))
                if fabric.is_global_zero:
                    checkpoint = _snapshot(stage, average, epoch + 1, pids, best)
                    save_checkpoint(run, checkpoint, best=improved, durable=last)
                measured |= validation
            log.flush()
            fabric.barrier()
            # The bar shows only on a terminal; these lines stay in a log too.
            took = f"{time.perf_counter() - started:.0f} s"
            console.print(f"{stage.name} epoch {epoch + 1}/{epochs}, {took}: {_shown(measured)}", highlight=False)


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
    stage: Stage,
    batches: Batches,
    epoch: int,
    average: WeightAverage,
    log: MetricsLog,
    show: Callable[..., None],
) -> dict[str, float]:
    """Train on every batch of an epoch; returns the mean of each loss by name.

    `show` is called now and then, with how many steps to `advance`, the `losses` in words and the `speed` in images/s.
    """
    for network in stage.networks.values():
        network.train()
    steps, sums = len(batches), Counter[str]()
    started, pending = time.perf_counter(), list[tuple[dict[str, float], dict[str, Tensor]]]()
    for number, batch in enumerate(batches.epoch(epoch)):
        # The middle of the step: neither the first nor the last one has a rate of 0.
        rates = set_rates(stage, epoch + (number + 0.5) / steps)
        pending.append((rates, stage.step(batch, epoch)))
        average.update()
        # Reading a loss waits for the device: not after each step.
        if len(pending) == READ_EVERY or number + 1 == steps:
            losses = _finite([losses for _, losses in pending], stage, epoch, number)
            now = time.perf_counter()
            speed = stage.fabric.world_size * len(pending) * len(batch.rows) / (now - started)
            for step, ((rate, _), loss) in enumerate(zip(pending, losses, strict=True), start=1):
                at = epoch * steps + number - len(pending) + step
                log.write(at, images_per_s=round(speed, 2), **_memory(stage.device), rate=rate, loss=loss)
                sums.update(loss)
            show(advance=len(pending), losses=_shown(losses[-1]), speed=speed)
            started, pending = now, []
    _require_finite_weights(stage, epoch)
    return {name: total / steps for name, total in sums.items()}


def _memory(device: torch.device) -> dict[str, float]:
    """The most that tensors have taken of a GPU in this stage so far, in GiB."""
    return {"memory_gib": round(torch.cuda.max_memory_allocated(device) / 2**30, 2)} if device.type == "cuda" else {}


def _judge(stage: Stage, batches: Batches, epoch: int) -> dict[str, float]:
    """One process completes the networks and validates them for all: its result, rounded, or nothing elsewhere and
    where nobody is left out of the training. At the epoch's own resolution: at another one, a network looks worse than
    it is."""
    if not stage.fabric.is_global_zero:
        return {}
    for network in stage.networks.values():
        network.eval()
    data, place = batches.data, {"device": stage.device, "workers": stage.settings.workers}

    def describe(crops: Tensor, rows: Tensor) -> dict[str, Tensor]:
        return stage.describe(stage.whole(crops, epoch), rows)

    with torch.no_grad(), stage.autocast():
        stage.complete(data.crops, epoch)
        metrics = {} if data.everyone else validate(describe, data.held_out, **place)
    return {name: round(value, 5) for name, value in metrics.items()}


def _shown(values: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.3f}" for name, value in values.items())


def set_rates(stage: Stage, progress: float) -> dict[str, float]:
    """Set the learning rate of each group of parameters; returns them by name."""
    groups = [group for optimizer in stage.optimizers.values() for group in optimizer.param_groups]
    for group in groups:
        group["lr"] = stage.rate(group["name"], progress)
    return {group["name"]: group["lr"] for group in groups}


def _finite(losses: Sequence[Mapping[str, Tensor]], stage: Stage, epoch: int, number: int) -> list[dict[str, float]]:
    """Losses of the last steps up to batch `number`, by name: the mean over all processes, so that all of them stop
    where one of them has to."""
    names = list(losses[0])
    stacked = torch.stack([torch.stack([step[name].detach().float() for name in names]) for step in losses])
    values = stage.fabric.all_reduce(stacked).tolist()
    for batch, step in enumerate(values, start=number - len(values) + 2):
        if broken := [name for name, value in zip(names, step, strict=True) if not math.isfinite(value)]:
            raise _diverged(stage, f"loss {', '.join(broken)} is", f"epoch {epoch + 1}, batch {batch}")
    return [{name: round(value, 5) for name, value in zip(names, step, strict=True)} for step in values]


def _require_finite_weights(stage: Stage, epoch: int) -> None:
    """The losses of an epoch were taken before its last update: without this, a checkpoint could hold what that did."""
    for name, network in stage.networks.items():
        if not bool(torch.stack([values.isfinite().all() for values in network.state_dict().values()]).all()):
            raise _diverged(stage, f"{name} network has weights that are", f"epoch {epoch + 1}, after its last batch")


def _diverged(stage: Stage, what: str, when: str) -> TrainingFailed:
    return TrainingFailed(
        f"the {stage.name} stage's {what} not finite in {when}. The checkpoint of the epoch before, if there was one, "
        "is intact. Train into another --out with a lower learning_rate or precision float32 in the preset"
    )


def _snapshot(stage: Stage, average: WeightAverage, epoch: int, pids: tuple[int, ...], best: float) -> Checkpoint:
    trained = {name: network.state_dict() for name, network in stage.networks.items()}
    return Checkpoint(
        stage=stage.name,
        epoch=epoch,
        complete=epoch == stage.schedule.epochs,
        best_mAP=best,
        pids=pids,
        networks=average.averages or trained,
        trained=trained if average.averages else {},
        optimizers={name: optimizer.state_dict() for name, optimizer in stage.optimizers.items()},
        scaler=stage.scaler.state_dict(),
    )


def _restore(stage: Stage, average: WeightAverage, run: Path, pids: tuple[int, ...]) -> tuple[int, float]:
    """Put a stage back to where its checkpoint was; returns the number of finished epochs, and the best mAP so far."""
    checkpoint = load_checkpoint(run, stage.name)
    if checkpoint.pids != pids:
        raise InvalidCheckpoint(
            f"{checkpoint_path(run, stage.name)}: trained on {len(checkpoint.pids)} identities that are not the "
            f"{len(pids)} of this dataset; resume with the same --data, or train into another --out"
        )
    checkpoint.restore(stage.networks)
    average.resume(checkpoint.networks)
    for name, weights in checkpoint.trained.items():
        stage.networks[name].load_state_dict(weights)
    try:
        for name, optimizer in stage.optimizers.items():
            optimizer.load_state_dict(checkpoint.optimizers[name])
    except ValueError as error:
        raise InvalidCheckpoint(
            f"{checkpoint_path(run, stage.name)}: another version left it amid the stage ({error}); train the stage "
            f"again: --stage {stage.name}"
        ) from error
    stage.scaler.load_state_dict(checkpoint.scaler)
    return checkpoint.epoch, checkpoint.best_mAP
