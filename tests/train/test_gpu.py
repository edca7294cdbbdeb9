"""What only a GPU shows of a training: that no step waits for it, and that it computes what a CPU does.

`pytest -m gpu`; tests/train/test_fake_cuda.py holds everywhere what needs no driver.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from rich.console import Console

from bench.fresh import build_stage
from synthetic import Recipe, make_dataset
from tests.support.stages import STRONG
from train.augmentation import untouched
from train.batches import Batch
from train.checkpoint import load_checkpoint
from train.pipeline import train
from train.presets import load_preset
from train.settings import STAGES, Settings, StageName
from train.stages.loop import set_rates
from train.stages.stage import Stage

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")]

SIZE, IDENTITIES = 16, 4


def build(name: StageName, settings: Settings, device: str) -> Stage:
    """The same networks on every device."""
    torch.manual_seed(0)
    return build_stage(name, settings, Fabric(accelerator=device, devices=1), identities=IDENTITIES, crops=SIZE)


def make_batch(device: torch.device) -> Batch:
    generator = torch.Generator().manual_seed(1)
    crops = (
        torch.randint(0, 256, (SIZE, 48, 16, 3), generator=generator).repeat_interleave(8, 1).repeat_interleave(8, 2)
    )
    return Batch(
        crops=crops.to(torch.uint8).to(device),
        labels=(torch.arange(SIZE) % IDENTITIES).to(device),
        attributes=torch.zeros(SIZE, 12, dtype=torch.int64, device=device),
        rows=torch.arange(SIZE, device=device),
        augmentation=untouched(SIZE).to(device),
        worse=crops.flip(2).to(torch.uint8).to(device),
        chance=torch.linspace(0, 1, SIZE, device=device),
    )


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
@pytest.mark.parametrize("changes", [{}, STRONG], ids=["demo", "strong"])
@pytest.mark.parametrize("name", STAGES)
def test_no_step_waits_for_the_gpu_and_the_losses_fall(name, changes, precision):
    stage = build(name, load_preset("demo", precision=precision, **changes), "cuda")
    batch = make_batch(stage.device)
    set_rates(stage, 0.5)
    losses = [stage.step(batch, 0)]
    torch.cuda.set_sync_debug_mode("error")
    try:
        losses += [stage.step(batch, 0) for _ in range(30)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    values = torch.stack([torch.stack(list(step.values())).detach().float().sum() for step in losses]).tolist()
    assert np.isfinite(values).all() and np.mean(values[-3:]) < values[0]


@pytest.mark.parametrize("name", STAGES)
def test_a_step_in_float32_is_the_cpus(name):
    settings = load_preset("demo", precision="float32")
    stages = [build(name, settings, device) for device in ("cuda", "cpu")]
    for stage in stages:
        set_rates(stage, 0.5)
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        for _ in range(2):  # the second shows the first one's update
            gpu, cpu = (
                {key: value.item() for key, value in stage.step(make_batch(stage.device), 0).items()}
                for stage in stages
            )
            assert gpu == pytest.approx(cpu, rel=5e-3, abs=1e-4)


class InterruptedConsole(Console):
    """Ctrl-C after the second epoch."""

    def print(self, *objects, **options):
        super().print(*objects, **options)
        if "epoch 2/4" in str(objects):
            raise KeyboardInterrupt


def test_interrupted_on_a_gpu_it_goes_on(tmp_path):
    data, settings = tmp_path / "data", load_preset("demo", identities_per_batch=4, images_per_identity=2, workers=2)
    make_dataset(Recipe(train_identities=12, images_per_identity=4, test_identities=2), data)
    settings = settings.model_copy(update={"iqa": settings.iqa.model_copy(update={"epochs": 4, "small_epochs": 0})})
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(settings, data, whole, stage="iqa", console=Console())
    with pytest.raises(KeyboardInterrupt):
        train(settings, data, parts, stage="iqa", console=InterruptedConsole())
    train(settings, data, parts, stage="iqa", resume=True, console=Console())
    one, other = (
        torch.cat([values.flatten().float().cpu() for values in load_checkpoint(run, "iqa").networks["iqa"].values()])
        for run in (whole, parts)
    )
    # Sums are taken in another order each time, and Adam's first steps enlarge what differs.
    assert torch.linalg.norm(one - other) < 0.05 * torch.linalg.norm(one)
