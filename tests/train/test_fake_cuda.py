"""Every stage's losses on a GPU that is not there.

Within `FakeTensorMode` a tensor on `cuda` has a device and a shape but no values, and needs no driver: a tensor on the
wrong device raises, and so does what waits for a value (`.item()`, `.tolist()`, a boolean index, a branch on a tensor),
which on a real GPU waits for all work queued before. So does a copy from memory that is not pinned, such as
`torch.tensor(..., device="cuda")`: `NoCopies` refuses it. A backward pass does need a driver, so `update` is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from tests.support.stages import STRONG, joint_stage
from train.augmentation import untouched
from train.batches import Batch
from train.networks import build_trunk
from train.presets import load_preset
from train.settings import STAGES, Settings
from train.stages.apan import APANStage
from train.stages.iqa import IQAStage
from train.stages.stage import Stage

SIZE, IDENTITIES = 4, 3


class FakeGPU(SimpleNamespace):
    """As much of Fabric as a stage asks for."""

    device = torch.device("cuda")
    world_size = 1

    @staticmethod
    def setup_module(module, move_to_device):
        return module


class NoCopies(TorchDispatchMode):
    """Refuses to copy a tensor from the CPU to a GPU."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        if func in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default):
            places = {each.device.type for each in (made, *args) if isinstance(each, torch.Tensor)}
            if places == {"cpu", "cuda"}:
                raise RuntimeError("a copy from the CPU to the GPU, which waits for all work queued before")
        return made


def build(name: str, settings: Settings) -> Stage:
    if name == "iqa":
        return IQAStage(settings, FakeGPU(), IDENTITIES)
    if name == "apan":
        return APANStage(settings, FakeGPU(), build_trunk(settings.network), np.zeros((SIZE, 12), np.int8))
    q = np.ones(SIZE, np.float32)
    return joint_stage(settings, FakeGPU(), identities=IDENTITIES, q=q, held_out_q=q)


@pytest.fixture
def gpu(monkeypatch) -> Iterator[None]:
    # Modules are built on the device; moving one there, the fake mode cannot do.
    monkeypatch.setattr(nn.Module, "to", lambda module, *_, **__: module)
    monkeypatch.setattr(Stage, "update", lambda *_: None)
    with FakeTensorMode(allow_non_fake_inputs=True), torch.device("cuda"):
        yield


def make_batch() -> Batch:
    return Batch(
        crops=torch.zeros(SIZE, 384, 128, 3, dtype=torch.uint8),
        labels=torch.zeros(SIZE, dtype=torch.int64),
        attributes=torch.zeros(SIZE, 12, dtype=torch.int64),
        rows=torch.zeros(SIZE, dtype=torch.int64),
        augmentation=untouched(SIZE).to("cuda"),
        worse=torch.zeros(SIZE, 384, 128, 3, dtype=torch.uint8),
        chance=torch.zeros(SIZE),
    )


@pytest.mark.filterwarnings("ignore:CUDA is not available")
@pytest.mark.parametrize("changes", [{}, STRONG], ids=["demo", "strong"])
@pytest.mark.parametrize("name", STAGES)
def test_a_step_stays_on_the_gpu_and_waits_for_nothing(gpu, name, changes):
    stage, batch = build(name, load_preset("demo", **changes)), make_batch()
    with NoCopies():
        losses = stage.step(batch, 0)
    assert losses and all(loss.device.type == "cuda" and loss.shape == () for loss in losses.values())


@pytest.mark.parametrize(
    "wrong",
    [
        lambda labels: labels.float().mean().item(),
        lambda labels: labels.tolist(),
        lambda labels: labels[labels > 0],
        lambda labels: 1 if labels.any() else 0,
        lambda labels: labels + torch.ones(SIZE, device="cpu"),
        lambda labels: labels + torch.tensor([1.0], device="cuda"),
        lambda labels: labels[[0, 1]],
    ],
    ids=["item", "tolist", "boolean index", "branch", "wrong device", "constant", "list as index"],
)
def test_what_waits_or_is_elsewhere_is_found_out(gpu, wrong):
    labels = make_batch().labels
    with pytest.raises((RuntimeError, DataDependentOutputException, DynamicOutputShapeException)), NoCopies():
        wrong(labels)
