"""The four backward passes: each gives gradients to exactly what it owns."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from qafm.attributes import SCHEMA
from train.checkpoint import build_trunk
from train.data import Batch
from train.launch import launch
from train.networks import APAN
from train.settings import Settings, load_preset
from train.stages.joint import JointStage

IDENTITIES = 4
OWNED = {
    "apn": {"apn", "classifiers"},
    "apan": {"apan"},
    "head": {"fusion.compress", "neck", "judge_visual", "judge_semantic"},
    "fusion": {"weighting", "fusion.projections"},
}


def make_stage(settings: Settings | None = None) -> JointStage:
    torch.manual_seed(0)
    settings = settings or load_preset("demo", precision="float32")
    return JointStage(
        settings,
        launch(),
        identities=IDENTITIES,
        apn_trunk=build_trunk(settings.network),
        apan=APAN(build_trunk(settings.network), settings.network.channels),
        q=np.array([9.0, 12.0, np.nan, 10.0], np.float32),
        held_out_q=np.array([11.0, np.nan], np.float32),
        mu=10.0,
        sigma=1.0,
    )


def make_batch(rows: tuple[int, ...] = (0, 1, 2, 3)) -> Batch:
    generator = np.random.default_rng(0)
    return Batch(
        crops=torch.from_numpy(generator.integers(0, 256, (4, 384, 128, 3), dtype=np.uint8)),
        labels=torch.tensor([0, 0, 1, 1]),
        attributes=torch.from_numpy(np.stack([generator.integers(0, len(a.values), 4) for a in SCHEMA], axis=1)),
        rows=torch.tensor(rows),
    )


def with_gradient(stage: JointStage) -> set[str]:
    return {
        f"{name}.{parameter}"
        for name, network in stage.networks.items()
        for parameter, values in network.named_parameters()
        if values.grad is not None and values.grad.any()
    }


def parameters_of(stage: JointStage, owned: set[str]) -> set[str]:
    names = {f"{name}.{p}" for name, network in stage.networks.items() for p, _ in network.named_parameters()}
    return {name for name in names if any(name.startswith(prefix + ".") for prefix in owned)}


def run_pass(stage: JointStage, name: str) -> None:
    batch = make_batch()
    vectors = torch.randn(4, 1024, generator=torch.Generator().manual_seed(1))
    others = torch.randn(4, 1024, generator=torch.Generator().manual_seed(2))
    {
        "apn": lambda: stage.apn_pass(batch, 0),
        "apan": lambda: stage.apan_pass(batch, 0),
        "head": lambda: stage.head_pass(batch, vectors, others),
        "fusion": lambda: stage.fusion_pass(batch, vectors, others),
    }[name]()


@pytest.mark.parametrize("name", OWNED)
def test_a_pass_gives_gradients_to_exactly_what_it_owns(name):
    stage = make_stage()
    # A trunk's blocks start as the identity, behind which nothing has a gradient.
    for network in stage.networks.values():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.ones_(module.weight)
    before = {key: values.clone() for key, network in stage.networks.items() for key, values in _named(key, network)}
    run_pass(stage, name)
    owned = parameters_of(stage, OWNED[name])
    got = with_gradient(stage)
    assert got <= owned
    # A ReLU that sleeps for the whole batch leaves a few without one.
    assert len(got) >= 0.9 * len(owned)
    after = {key: values for key, network in stage.networks.items() for key, values in _named(key, network)}
    moved = {key for key in before if not torch.equal(before[key], after[key])}
    assert moved <= owned and moved


def _named(prefix: str, network: torch.nn.Module) -> list[tuple[str, torch.Tensor]]:
    return [(f"{prefix}.{name}", values) for name, values in network.named_parameters()]


def test_the_optimisers_own_every_parameter_once():
    stage = make_stage()
    owned = [id(p) for o in stage.optimizers.values() for group in o.param_groups for p in group["params"]]
    every = [id(p) for network in stage.networks.values() for p in network.parameters()]
    assert sorted(owned) == sorted(every) and len(set(owned)) == len(owned)


def test_a_step_reports_every_loss():
    losses = make_stage().step(make_batch(), epoch=0)
    assert losses.keys() == {
        "apn_identity", "apn_parts", "apn_triplet", "attributes", "identity", "triplet", "fused", "alpha", "mean_alpha",
    }  # fmt: skip
    assert all(np.isfinite(float(loss.detach())) for loss in losses.values())


def test_an_unknown_q_counts_as_the_mean_and_teaches_alpha_nothing():
    stage = make_stage()
    assert stage.filled(stage.q[make_batch().rows]).tolist() == [9.0, 12.0, 10.0, 10.0]
    vectors = torch.randn(4, 1024)
    assert "alpha" not in stage.fusion_pass(make_batch(rows=(2, 2, 2, 2)), vectors, vectors)
    assert not with_gradient(stage) & parameters_of(stage, {"weighting"})


def test_pretrained_branches_stay_frozen_then_move_slowly():
    settings = load_preset("demo", precision="float32", weights="imagenet")
    stage = make_stage(settings)
    for branch in ("apn", "apan"):
        network = stage.networks[branch]
        before = {name: values.clone() for name, values in network.state_dict().items()}
        stage.step(make_batch(), epoch=0)
        assert all(torch.equal(before[name], values) for name, values in network.state_dict().items())
        stage.step(make_batch(), epoch=settings.joint.frozen_epochs)
        moved = {name for name, values in network.state_dict().items() if not torch.equal(before[name], values)}
        assert "trunk.stem.0.weight" in moved and "trunk.stem.1.running_mean" in moved
    assert stage.base_rate("apn") == pytest.approx(0.1 * stage.base_rate("head"))
