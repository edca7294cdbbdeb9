"""`python -m bench.training`: what a training step costs, and what of it the data loader costs.

Full ResNet-50, 384x128, batches of the `synthetic` preset's size:

    float32         the IQA step as plain PyTorch does it: float32, channels first
    bfloat16        the same step as we train: bfloat16 autocast, channels-last
    from memory     an epoch of such steps on one batch that lies in memory
    from disk       an epoch of such steps with the real loader
    joint           one step of the joint stage: two trunks, four backward passes
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor

from bench.fresh import build_stage, draw_people
from bench.measure import ROUNDS, Out, Rounds, compare
from train.batches import Batch, Batches
from train.data import TrainingData, load_training_data
from train.launch import launch
from train.presets import load_preset
from train.settings import Settings
from train.stages.iqa import IQAStage
from train.stages.stage import Stage


class PlainIQAStage(IQAStage):
    """Without channels-last: weights and crops lie as PyTorch puts them by default."""

    def network_input(self, batch: Batch, epoch: int) -> Tensor:
        return super().network_input(batch, epoch).contiguous()


def main(
    rounds: Rounds = ROUNDS,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the short epoch that the loader is measured in.")] = 8,
    out: Out = Path("build/bench/training.json"),
) -> None:
    """Time the training steps against each other."""
    settings = load_preset("synthetic")
    with tempfile.TemporaryDirectory() as folder:
        data = load_training_data(draw_people(Path(folder), settings, steps), settings.seed)
        compare(
            _variants(data, settings, steps),
            rounds,
            title=f"full width, batch {settings.batch_size}; from memory and from disk {steps} steps",
            ratios=[
                ("float32", "bfloat16", "at least 2.2"),
                ("from disk", "from memory", "at most 1.05"),
                ("joint", "bfloat16", ""),
            ],
            out=out,
            packages=("torch", "torchvision"),
            threads=torch.get_num_threads(),
            steps=steps,
            batch=settings.batch_size,
        )


def _variants(data: TrainingData, settings: Settings, steps: int) -> dict[str, Callable[[], None]]:
    """What is timed, by name."""
    fabric = launch()
    batches = Batches(data, settings, "iqa", device=fabric.device)
    batch = next(batches.epoch(0))
    size = {"identities": len(data.pids), "crops": len(data.crops)}
    trained, joint = (build_stage(name, settings, fabric, **size) for name in ("iqa", "joint"))
    plain = PlainIQAStage(settings.model_copy(update={"precision": "float32"}), fabric, len(data.pids))
    for network in plain.networks.values():
        network.to(memory_format=torch.contiguous_format)

    def from_memory() -> None:
        for _ in range(steps):
            _step(trained, batch)

    def from_disk() -> None:
        with closing(batches.epoch(0)) as epoch:
            for loaded in islice(epoch, steps):
                _step(trained, loaded)

    return {
        "float32": lambda: _step(plain, batch),
        "bfloat16": lambda: _step(trained, batch),
        "from memory": from_memory,
        "from disk": from_disk,
        "joint": lambda: _step(joint, batch),
    }


def _step(stage: Stage, batch: Batch) -> None:
    # In the first epoch at full resolution. Reading the losses waits for a GPU to have done the work.
    _ = [float(loss.detach()) for loss in stage.step(batch, stage.schedule.small_epochs).values()]


if __name__ == "__main__":
    typer.run(main)
