"""The four backward passes: each gives gradients to exactly what it owns."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from qafm.attributes import SCHEMA
from tests.support.stages import joint_stage
from train.augmentation import untouched
from train.batches import Batch
from train.launch import launch
from train.losses import attribute_loss
from train.networks.weighting import build_weighting
from train.presets import load_preset
from train.settings import Settings
from train.stages.joint import LEVEL_RATE, SLOPE_RATE, JointStage
from train.stages.loop import set_rates
from train.stages.stage import rate_factor

IDENTITIES = 4
OWNED = {
    "apn": {"apn", "classifiers"},
    "apan": {"apan"},
    "head": {"fusion.compress", "fusion.neck", "classifier", "judge_visual", "judge_semantic"},
    "fusion": {"weighting", "fusion.projections"},
}


def make_stage(settings: Settings | None = None, **options: Any) -> JointStage:
    torch.manual_seed(0)
    settings = settings or load_preset("demo", precision="float32", joint={"epochs": 3})
    stage = joint_stage(
        settings,
        launch(),
        identities=IDENTITIES,
        q=np.array([9.0, 12.0, np.nan, 10.0], np.float32),
        held_out_q=np.array([11.0, np.nan], np.float32),
        **options,
    )
    if settings.joint.weighting == "paper" and "weighting" not in options:
        # Untrained, it is a constant, behind which nothing has a gradient.
        torch.nn.init.normal_(stage.weighting.output.weight)
    return stage


def make_batch(rows: tuple[int, ...] = (0, 1, 2, 3)) -> Batch:
    generator = np.random.default_rng(0)
    return Batch(
        crops=torch.from_numpy(generator.integers(0, 256, (4, 384, 128, 3), dtype=np.uint8)),
        labels=torch.tensor([0, 0, 1, 1]),
        attributes=torch.from_numpy(np.stack([generator.integers(0, len(a.values), 4) for a in SCHEMA], axis=1)),
        rows=torch.tensor(rows),
        augmentation=untouched(4),
    )


def with_gradient(stage: JointStage) -> set[str]:
    """The parameters that a backward pass reached."""
    return {name for name, values in _parameters(stage) if values.grad is not None}


def parameters_of(stage: JointStage, owned: set[str]) -> set[str]:
    return {name for name, _ in _parameters(stage) if any(name.startswith(prefix + ".") for prefix in owned)}


def run_pass(stage: JointStage, name: str) -> None:
    batch = make_batch()
    crops = stage.network_input(batch, 0)
    vectors = torch.randn(4, 1024, generator=torch.Generator().manual_seed(1))
    others = torch.randn(4, 1024, generator=torch.Generator().manual_seed(2))
    {
        "apn": lambda: stage.apn_pass(batch, crops, 0),
        "apan": lambda: stage.apan_pass(batch, crops, 0),
        "head": lambda: stage.head_pass(batch, vectors, others),
        "fusion": lambda: stage.fusion_pass(batch, vectors, others),
    }[name]()


@pytest.mark.parametrize(("name", "weighting"), [*((name, "paper") for name in OWNED), ("fusion", "constant")])
def test_a_pass_gives_gradients_to_exactly_what_it_owns(name, weighting):
    stage = make_stage(load_preset("demo", precision="float32", joint={"epochs": 3, "weighting": weighting}))
    # A trunk's blocks start as the identity, behind which nothing has a gradient.
    for network in stage.networks.values():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.ones_(module.weight)
    before = {key: values.clone() for key, values in _parameters(stage)}
    run_pass(stage, name)
    owned = parameters_of(stage, OWNED[name])
    got = with_gradient(stage)
    assert got == owned
    # A ReLU that sleeps for the whole batch leaves a few at 0.
    alive = {key for key, values in _parameters(stage) if values.grad is not None and values.grad.any()}
    assert len(alive) >= 0.9 * len(owned)
    moved = {key for key, values in _parameters(stage) if not torch.equal(before[key], values)}
    assert moved <= owned and moved


def _parameters(stage: JointStage) -> list[tuple[str, torch.Tensor]]:
    return [
        (f"{name}.{parameter}", values)
        for name, network in stage.networks.items()
        for parameter, values in network.named_parameters()
    ]


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


def test_an_fc_that_is_computed_leaves_two_passes():
    joint = {"epochs": 3, "fc": "principal", "weighting": "retrieval"}
    stage = make_stage(load_preset("demo", precision="float32", joint=joint))
    before = {key: values.clone() for key, values in _parameters(stage)}
    losses = stage.step(make_batch(), epoch=0)
    assert losses.keys() == {"apn_identity", "apn_parts", "apn_triplet", "attributes"}
    moved = {key for key, values in _parameters(stage) if not torch.equal(before[key], values)}
    assert moved & parameters_of(stage, {"apn"}) and not moved & parameters_of(stage, {"fusion", "weighting"})
    assert stage.optimizers.keys() == {"apn", "apan"}


@pytest.mark.parametrize("weighting", ["paper", "constant"])
def test_an_unknown_q_counts_as_the_mean_and_teaches_alpha_nothing(weighting):
    stage = make_stage(load_preset("demo", precision="float32", joint={"epochs": 3, "weighting": weighting}))
    assert stage.filled(stage.q[make_batch().rows]).tolist() == [9.0, 12.0, 10.0, 10.0]
    vectors = torch.randn(4, 1024)
    assert stage.fusion_pass(make_batch(rows=(2, 2, 2, 2)), vectors, vectors)["alpha"] == 0
    own = parameters_of(stage, {"weighting"})
    assert own and not any(values.grad.any() for name, values in _parameters(stage) if name in own)


def test_branches_stay_frozen_then_move_slowly_as_in_the_paper():
    settings = load_preset("demo", precision="float32", weights="imagenet", joint={"epochs": 12, "frozen": "branches"})
    stage = make_stage(settings)
    for branch in ("apn", "apan"):
        network = stage.networks[branch]
        before = {name: values.clone() for name, values in network.state_dict().items()}
        stage.step(make_batch(), epoch=0)
        assert all(torch.equal(before[name], values) for name, values in network.state_dict().items())
        stage.step(make_batch(), epoch=settings.joint.frozen_epochs)
        moved = {name for name, values in network.state_dict().items() if not torch.equal(before[name], values)}
        assert "trunk.stem.0.weight" in moved and "trunk.stem.1.running_mean" in moved
    assert stage.rate("head", 1) == pytest.approx(0.1 * settings.learning_rate)  # in the warm-up
    assert stage.rate("apn", 1) == stage.rate("apn_trunk", 1) == 0
    assert stage.rate("apn", 11) == stage.rate("apn_trunk", 11) == pytest.approx(0.1 * stage.rate("head", 11))


def test_only_the_pretrained_trunks_stay_frozen_and_new_layers_learn_from_the_first_step():
    settings = load_preset("demo", precision="float32", weights="imagenet", joint={"epochs": 12, "warmup_epochs": 0})
    stage = make_stage(settings)
    for branch in ("apn", "apan"):
        network = stage.networks[branch]
        before = {name: values.clone() for name, values in network.state_dict().items()}
        set_rates(stage, 0)
        stage.step(make_batch(), epoch=0)
        moved = {name for name, values in network.state_dict().items() if not torch.equal(before[name], values)}
        assert moved and not any(name.startswith("trunk.") for name in moved)
        assert {"apn": "embed.weight", "apan": "heads.0.bias"}[branch] in moved
        set_rates(stage, settings.joint.frozen_epochs)
        stage.step(make_batch(), epoch=settings.joint.frozen_epochs)
        assert not torch.equal(before["trunk.stem.0.weight"], network.trunk.stem[0].weight)
    assert [stage.rate(group, 0) for group in ("apn", "apn_trunk")] == [settings.learning_rate, 0]
    assert stage.rate("apn_trunk", 10) == pytest.approx(0.1 * stage.rate("apn", 10))


def test_without_pretrained_weights_nothing_stands_still():
    stage = make_stage(load_preset("demo", joint={"epochs": 12, "frozen": "branches"}))
    assert not stage.frozen(0) and stage.rate("apn_trunk", 5) == stage.rate("apn", 5) > 0


def test_apan_can_have_a_rate_of_its_own():
    joint = {"epochs": 12, "warmup_epochs": 0}
    same, lower = (make_stage(load_preset("demo", joint=joint | change)) for change in ({}, {"apan_rate": 0.25}))
    for group in ("apan", "apan_trunk"):
        assert lower.rate(group, 5) == pytest.approx(0.25 * same.rate(group, 5))
    for group in ("apn", "apn_trunk", "head"):
        assert lower.rate(group, 5) == same.rate(group, 5)


def test_adjusted_heads_learn_what_is_left_once_the_frequencies_are_known():
    """Heads of logits 0 answer as if all values were as frequent; with the frequencies added, as well as these do."""
    priors = torch.linspace(-2, 2, 30)
    batch = make_batch()
    for kind, added in (("start", torch.zeros(30)), ("adjust", priors)):
        stage = make_stage(load_preset("demo", apan={"priors": kind}), priors=priors)
        for logits in (torch.zeros(4, 30), torch.randn(4, 30)):
            expected = attribute_loss(logits + added, batch.attributes)
            assert stage.attribute_loss(logits, batch.attributes).item() == pytest.approx(expected.item())


def test_whatever_gives_alpha_all_other_networks_begin_alike():
    stages = [
        make_stage(load_preset("demo", precision="float32", joint={"epochs": 3, "weighting": kind}))
        for kind in ("paper", "constant", "retrieval", "visual")
    ]
    for name, network in stages[0].networks.items():
        for other in stages[1:]:
            if name != "weighting":
                theirs = other.networks[name].state_dict()
                assert all(torch.equal(values, theirs[key]) for key, values in network.state_dict().items()), name


def test_each_branch_is_shown_its_own_crops(monkeypatch):
    degraded = {"degraded": {"apn": 0.2, "apan": 0.7}}
    stage = make_stage(load_preset("demo", precision="float32", joint={"epochs": 3}, augmentation=degraded))
    shown = {}
    for name in ("apn", "apan"):
        whole = getattr(stage, f"{name}_pass")

        def listening(batch, crops, epoch, name=name, whole=whole):
            shown[name] = crops
            return whole(batch, crops, epoch)

        monkeypatch.setattr(stage, f"{name}_pass", listening)
    batch = make_batch()
    worse, chance = 255 - batch.crops, torch.tensor([0.1, 0.5, 0.6, 0.9])
    stage.step(replace(batch, worse=worse, chance=chance), epoch=0)
    for name, rows in (("apn", [True, False, False, False]), ("apan", [True, True, True, False])):
        taken = torch.tensor(rows)[:, None, None, None]
        expected = stage.network_input(replace(batch, crops=torch.where(taken, worse, batch.crops)), 0)
        assert torch.equal(shown[name], expected), name


def test_a_target_that_does_not_depend_on_q_leaves_no_trace_of_it():
    """As in the preset `market1501`, but for fewer steps: targets move from a half to 0.3 while α learns, and differ
    from crop to crop, by chance. α ends at their mean, and varies by less than 0.02 over two deviations of Q."""
    settings = load_preset("market1501")
    steps, z = 1500, torch.linspace(-2, 2, 41)
    for seed in range(30):
        torch.manual_seed(seed)
        weighting = build_weighting("paper", mu=0.0, sigma=1.0)
        groups = ((weighting.slope(), SLOPE_RATE), (weighting.level(), LEVEL_RATE))
        optimizer = torch.optim.Adam([{"params": parameters} for parameters, _ in groups])
        q, chance = torch.randn(12_936), 0.15 * torch.randn(12_936)
        for step in range(steps):
            for group, (_, rate) in zip(optimizer.param_groups, groups, strict=True):
                group["lr"] = settings.learning_rate * rate * rate_factor(120 * step / steps, settings.joint)
            rows = torch.randint(0, len(q), (32,))
            target = (0.5 - 0.2 * min(1, 3 * step / steps) + chance[rows]).clamp(0.01, 0.99)
            loss = F.binary_cross_entropy_with_logits(weighting.logits(q[rows]), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            alpha = weighting(z)
        assert alpha.max() - alpha.min() < 0.02, seed
        assert alpha.mean() == pytest.approx(0.3, abs=0.02), seed


def test_a_weighting_that_is_given_stays_as_it_is():
    given = build_weighting("paper", mu=10.0, sigma=1.0)
    before = [values.clone() for values in given.parameters()]
    stage = make_stage(weighting=given)
    projections = stage.fusion.projections.visual.weight.detach().clone()
    for _ in range(2):
        stage.step(make_batch(), epoch=0)
    assert all(torch.equal(one, other) for one, other in zip(before, given.parameters(), strict=True))
    assert not torch.equal(projections, stage.fusion.projections.visual.weight)


def test_the_attribute_stage_hands_its_optimiser_on():
    """With a fresh one, the first step of Adam moves every weight by the whole rate; with the old one by far less."""
    settings = load_preset("demo", precision="float32", joint={"epochs": 3, "warmup_epochs": 0})
    old = make_stage(settings)
    for _ in range(3):
        old.apan_pass(make_batch(), old.network_input(make_batch(), 0), 0)
    state = old.optimizers["apan"].state_dict()
    kept, fresh = make_stage(settings, apan_optimizer=state), make_stage(settings)
    assert [p["step"] for p in kept.optimizers["apan"].state_dict()["state"].values()] == [
        p["step"] for p in state["state"].values()
    ]
    assert not fresh.optimizers["apan"].state_dict()["state"]


def test_the_head_settles_on_branches_that_stand_still():
    joint = {"epochs": 4, "warmup_epochs": 0, "small_epochs": 4, "settling_epochs": 2, "head_rate": 0.35}
    stage = make_stage(load_preset("demo", precision="float32", learning_rate=1e-3, joint=joint))
    assert [stage.frozen(epoch) for epoch in range(4)] == [False, False, True, True]
    rates = [(stage.rate("apn", at), stage.rate("head", at)) for at in (0, 1, 2, 3, 4)]
    assert [apn for apn, _ in rates] == pytest.approx([1e-3, 5e-4, 0, 0, 0])
    assert [head for _, head in rates] == pytest.approx([3.5e-4, 3.5e-4, 3.5e-4, 1.75e-4, 0])
    before = {name: values.clone() for name, values in _parameters(stage)}
    stage.step(make_batch(), epoch=2)
    moved = {name for name, values in _parameters(stage) if not torch.equal(before[name], values)}
    assert not moved & parameters_of(stage, {"apn", "apan"})
    assert moved & parameters_of(stage, {"fusion.compress"}) and moved & parameters_of(stage, {"weighting"})


def test_loss_scaling_changes_no_update():
    scaled, plain = make_stage(), make_stage()
    scaled.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for stage in (scaled, plain):
        stage.step(make_batch(), epoch=0)
    expected = dict(_parameters(plain))
    for name, values in _parameters(scaled):
        torch.testing.assert_close(values, expected[name], rtol=1e-3, atol=1e-4, msg=name)


def test_an_overflow_in_one_pass_costs_that_pass_its_step_only():
    stage = make_stage()
    stage.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    before = {name: values.clone() for name, values in _parameters(stage)}
    stage.classifier.weight.register_hook(lambda gradient: gradient * torch.inf)
    stage.step(make_batch(), epoch=0)
    moved = {name for name, values in _parameters(stage) if not torch.equal(before[name], values)}
    assert not moved & parameters_of(stage, OWNED["head"])
    assert all(moved & parameters_of(stage, OWNED[name]) for name in ("apn", "apan", "fusion"))
    assert stage.scaler.get_scale() == 2.0**9
