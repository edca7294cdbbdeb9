"""`python -m bench.training_cost`: what a training costs on a GPU, computed and not run.

Two steps of each stage are taken on the CPU with few pictures: their products and sums are counted, forward and
backward, the bytes that are kept for the backward pass, and the operators, each of which a GPU has to be given. From
these, along a line, follow

    memory    weights, their gradients and Adam's two moments in float32, and what the largest pass keeps. The
              libraries' workspaces, the allocator's slack and the context come on top: about 2 GiB
    time      of a step: the longer of what the GPU computes and what it takes to launch it. ResNets are bound by
              memory, so the former is operations / (INTENSITY x bandwidth), and the optimiser's traffic
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import torch
import typer
from lightning_fabric import Fabric
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from bench.fresh import build_stage
from train.augmentation import untouched
from train.batches import Batch
from train.presets import load_preset
from train.settings import STAGES, Settings, StageName
from train.stages.stage import Stage

GPUS = {"RTX 3090": 936e9, "RTX 4090": 1008e9, "A100 40 GB": 1555e9, "H100 SXM": 3350e9}
"""Bytes a second between the chip and its memory, by NVIDIA's data sheets."""

INTENSITY = 32.0
"""Products and sums, both counted, for each of these bytes: what timm measured for training ResNet-50 at 224x224 in
mixed precision, channels-last, on an RTX 3090: 1,218 images a second, 24.5 G operations each
(results/benchmark-train-amp-nhwc-pt112-cu113-rtx3090.csv of its repository)."""

LAUNCH_S = 40e-6
"""To give a GPU one operator from Python: measured on the Xeon host of an H200, docs/performance.md."""

PROBES = (4, 8)
"""Pictures of the steps that are taken."""


@dataclass(frozen=True)
class Cost:
    """Of one step. operations: products and sums, both counted. operators: calls. kept, states: bytes."""

    operations: float
    operators: int
    kept: float
    states: float

    def seconds(self, bandwidth: float) -> float:
        # Adam reads weight, gradient and moments, and writes all but the gradient.
        computing = self.operations / (INTENSITY * bandwidth) + 7 / 4 * self.states / bandwidth
        return max(computing, LAUNCH_S * self.operators)


def main(
    preset: Annotated[str, typer.Option(help="Settings of the training.")] = "market1501",
    images: Annotated[int, typer.Option(help="Of an epoch: Market-1501 without a tenth of its people.")] = 11_642,
    identities: Annotated[int, typer.Option(help="That are trained on.")] = 676,
) -> None:
    """Compute what each stage of a training costs."""
    settings = load_preset(preset)
    batch = settings.batch_size
    columns = (column for gpu in GPUS for column in (f"{gpu}, images/s", "h"))
    table = Table("stage", "G operations an image", "operators a step", "memory, GiB", *columns)
    hours = dict.fromkeys(GPUS, 0.0)
    for name in STAGES:
        cost = step_cost(settings, name, identities)
        steps = images // batch * getattr(settings, name).epochs
        cells = []
        for gpu, bandwidth in GPUS.items():
            step = cost.seconds(bandwidth)
            hours[gpu] += steps * step / 3600
            cells += [f"{batch / step:.0f}", f"{steps * step / 3600:.1f}"]
        memory = (cost.kept + cost.states) / 2**30
        table.add_row(name, f"{cost.operations / batch / 1e9:.1f}", str(cost.operators), f"{memory:.1f}", *cells)
    table.add_row("sum", "", "", "", *(cell for total in hours.values() for cell in ("", f"{total:.1f}")))
    console = Console(width=160)
    console.print(f"{preset}: batches of {batch}, {images} images an epoch; validation and Q are not in it")
    console.print(table)


def step_cost(settings: Settings, name: StageName, identities: int) -> Cost:
    """What one step of a stage costs: of two small batches, extended to the settings' one along a line, whose beginning
    is what does not grow with the batch, such as the half-precision copies of the weights."""
    few, more = (probe(settings, name, identities, pictures) for pictures in PROBES)
    times = (settings.batch_size - PROBES[0]) / (PROBES[1] - PROBES[0])
    return Cost(
        operations=few.operations + times * (more.operations - few.operations),
        operators=more.operators,
        kept=few.kept + times * (more.kept - few.kept),
        states=few.states,
    )


def probe(settings: Settings, name: StageName, identities: int, pictures: int) -> Cost:
    """What a step on so many pictures, an even number, costs: taken on the CPU."""
    settings = settings.model_copy(update={"weights": "none"})
    stage = build_stage(name, settings, Fabric(accelerator="cpu", devices=1), identities=identities, crops=pictures)
    kept, operators = _Kept(stage), _Operators()
    saving = torch.autograd.graph.saved_tensors_hooks(kept.keep, kept.use)
    with FlopCounterMode(display=False) as counter, operators, saving:
        stage.step(_batch(pictures), stage.schedule.small_epochs)
    # In float32: a weight, its gradient, two moments.
    states = sum(4 * 4 * weight.numel() for network in stage.networks.values() for weight in network.parameters())
    return Cost(counter.get_total_flops(), operators.count, kept.most, states)


class _Kept:
    """The bytes of what is saved for a backward pass, each storage once; of the largest pass of a step."""

    def __init__(self, stage: Stage) -> None:
        self.most = 0
        self.sizes: dict[int, int] = {}
        self.weights = {
            weight.untyped_storage().data_ptr()
            for network in stage.networks.values()
            for weight in network.parameters()
        }

        def backward(_name: str, loss: Tensor) -> None:
            # Without the optimiser, which on a GPU is a handful of operators over all weights.
            self.most = max(self.most, sum(self.sizes.values()))
            stage.fabric.backward(loss)
            self.sizes.clear()

        stage.update = backward  # type: ignore[method-assign]

    def keep(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self.weights:
            self.sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    def use(self, tensor: Tensor) -> Tensor:
        return tensor


class _Operators(TorchDispatchMode):
    """Counts the operators that compute something, and not those that only look at a tensor otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += not func.is_view
        return func(*args, **(kwargs or {}))


def _batch(size: int) -> Batch:
    return Batch(
        crops=torch.zeros(size, 384, 128, 3, dtype=torch.uint8),
        labels=torch.arange(size) // (size // 2),
        attributes=torch.zeros(size, 12, dtype=torch.int64),
        rows=torch.zeros(size, dtype=torch.int64),
        augmentation=untouched(size),
    )


if __name__ == "__main__":
    typer.run(main)
