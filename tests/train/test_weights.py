"""Trunk weights in the names under which others publish them: made here, with exactly those keys."""

from __future__ import annotations

import pytest
import torch
from torchvision.models.resnet import Bottleneck, ResNet

from qafm.errors import InvalidCheckpoint
from train.networks import Trunk
from train.weights import load_trunk_weights

DEMO = {"blocks": (1, 1, 1, 1), "width_per_group": 16}


def published() -> dict[str, torch.Tensor]:
    """A state dictionary of torchvision's own network, random, in its names."""
    torch.manual_seed(7)
    state = ResNet(Bottleneck, [1, 1, 1, 1], width_per_group=16).state_dict()
    return {name: torch.rand_like(v) if v.is_floating_point() else v for name, v in state.items()}


def below(prefix: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {prefix + name: values for name, values in state.items() if not name.startswith("fc.")}


def in_our_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """As a checkpoint of the IQA stage has them."""
    stem = {"conv1.": "trunk.stem.0.", "bn1.": "trunk.stem.1."}
    return {
        next((name.replace(old, new, 1) for old, new in stem.items() if name.startswith(old)), f"trunk.{name}"): values
        for name, values in below("", state).items()
    }


FORMATS = {
    "torchvision": lambda state: state,
    "BoT": lambda state: {
        **below("base.", state),
        "bottleneck.weight": torch.ones(2048),
        "classifier.weight": torch.ones(751, 2048),
    },
    "several processes": lambda state: {"state_dict": below("module.base.", state)},
    "fast-reid": lambda state: {
        "model": {
            **below("backbone.", state),
            "pixel_mean": torch.zeros(1, 3, 1, 1),
            "heads.bottleneck.0.weight": torch.ones(2048),
            "heads.weight": torch.ones(751, 2048),
        },
        "iteration": 7,
    },
    "ours": lambda state: {
        "complete": True,
        "networks": {"iqa": in_our_names(state), "neck": {"classify.weight": torch.ones(810, 2048)}},
    },
}


@pytest.mark.parametrize("names", FORMATS)
def test_published_names_load_strictly(tmp_path, names):
    state, trunk = published(), Trunk(**DEMO)
    torch.save(FORMATS[names](state), tmp_path / "weights.pth")
    load_trunk_weights(trunk, str(tmp_path / "weights.pth"))
    loaded = trunk.state_dict()
    assert torch.equal(loaded["stem.0.weight"], state["conv1.weight"])
    assert torch.equal(loaded["stem.1.running_var"], state["bn1.running_var"])
    for name, values in loaded.items():
        if not name.startswith("stem."):
            assert torch.equal(values, state[name])


@pytest.mark.parametrize(
    "checkpoint",
    [
        {"stage": "apan", "epoch": 4, "complete": True, "networks": {"apan": {}}},
        {"stage": "iqa", "epoch": 4, "complete": False, "networks": {"iqa": {}}},
    ],
)
def test_only_a_finished_iqa_stage_has_weights_to_start_from(tmp_path, checkpoint):
    torch.save(checkpoint, tmp_path / "run.pt")
    said = f"of the {checkpoint['stage']} stage after 4 epochs; expected the iqa.pt"
    with pytest.raises(InvalidCheckpoint, match=said):
        load_trunk_weights(Trunk(**DEMO), str(tmp_path / "run.pt"))


def test_instance_norm_has_its_published_names(tmp_path):
    trunk, other = Trunk(**DEMO, instance_norm=True), Trunk(**DEMO, instance_norm=True)
    state = {
        name.replace("stem.0.", "conv1.").replace("stem.1.", "bn1."): values
        for name, values in trunk.state_dict().items()
    }
    assert {"layer1.0.bn1.IN.weight", "layer1.0.bn1.BN.running_mean"} <= state.keys()
    torch.save(state, tmp_path / "ibn.pth")
    load_trunk_weights(other, str(tmp_path / "ibn.pth"))
    assert torch.equal(other.layer2[0].bn1.IN.weight, trunk.layer2[0].bn1.IN.weight)
    with pytest.raises(InvalidCheckpoint, match=r"(?s)ibn\.pth: the weights do not fit .* instance_norm"):
        load_trunk_weights(Trunk(**DEMO), str(tmp_path / "ibn.pth"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: {k: v for k, v in state.items() if k != "layer4.0.conv3.weight"}, "layer4.0.conv3.weight"),
        (lambda state: state | {"layer9.weight": torch.ones(1)}, "layer9"),
        (lambda state: [1, 2], "expected a dictionary of tensors"),
        (lambda state: {"optimizer": {"lr": 1.0}}, "expected a dictionary of tensors"),
    ],
    ids=["missing", "left over", "a list", "no weights"],
)
def test_what_does_not_fit_is_refused_by_name(tmp_path, change, message):
    torch.save(change(published()), tmp_path / "weights.pth")
    with pytest.raises(InvalidCheckpoint, match=message):
        load_trunk_weights(Trunk(**DEMO), str(tmp_path / "weights.pth"))
