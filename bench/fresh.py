"""What can be timed without a training: drawn people, stages with fresh networks, and networks to serve."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from google.protobuf import text_format
from lightning_fabric import Fabric

from export.variants import read_config
from qafm.contract import MANIFEST_PARAMETER
from qafm.known_answer import KNOWN_ANSWER
from qafm.utility import Utility
from synthetic import Recipe, make_dataset
from train.networks import Networks, QualityNetwork, build_apan, build_trunk
from train.presets import load_preset
from train.settings import Settings, StageName
from train.stages.apan import APANStage
from train.stages.iqa import IQAStage
from train.stages.joint import JointStage
from train.stages.stage import Stage


def draw_people(root: Path, settings: Settings, steps: int) -> Path:
    """A drawn dataset at `root` with at least `steps` batches of the settings' size."""
    identities = 2 * settings.identities_per_batch
    images = -(-steps * settings.batch_size // identities) + 1
    # A tenth of the identities is held out.
    make_dataset(Recipe(train_identities=identities + 2, images_per_identity=images, test_identities=2), root)
    return root


def build_stage(name: StageName, settings: Settings, fabric: Fabric, *, identities: int, crops: int) -> Stage:
    """A stage at its beginning, from random weights, for so many training crops."""
    if name == "iqa":
        return IQAStage(settings.model_copy(update={"weights": "none"}), fabric, identities)
    trunk = build_trunk(settings.network)
    if name == "apan":
        return APANStage(settings, fabric, trunk, np.zeros((crops, 12), np.int8))
    return JointStage(
        settings,
        fabric,
        identities=identities,
        apn_trunk=trunk,
        apan=build_apan(build_trunk(settings.network), settings.network),
        q=np.zeros(crops, np.float32),
        held_out_q=np.zeros(crops, np.float32),
        mu=0.0,
        sigma=1.0,
    )


def untrained_networks() -> Networks:
    """Full ResNet-50s from random weights, whose outputs vary with the picture."""
    torch.manual_seed(0)
    settings = load_preset("synthetic").network
    networks = Networks.untrained(settings)
    for module in (module for network in networks.all() for module in network.modules()):
        # Untrained, a block of a trunk is the identity.
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.ones_(module.weight)
    return networks


def with_quality(networks: Networks) -> Networks:
    """The same with a quality network, which has learnt nothing if it is not there already."""
    return replace(networks, quality=networks.quality or QualityNetwork(copy.deepcopy(networks.iqa.trunk)).eval())


def untaught_utility() -> Utility:
    """One that says the same of every picture."""
    arrays = {name: np.zeros(shape) for name, shape in Utility.shapes.items()}
    return Utility(**arrays | {"spread": np.ones(Utility.shapes["spread"])})


def promise_nothing(repository: Path) -> None:
    """Take out of a manifest what holds a server to the graphs that were exported: others are served here."""
    for path in repository.glob("*/config.pbtxt"):
        config = read_config(path)
        if MANIFEST_PARAMETER not in config.parameters:
            continue
        content = json.loads(config.parameters[MANIFEST_PARAMETER].string_value)
        kept = {name: about for name, about in content.items() if name not in ("graphs", KNOWN_ANSWER)}
        config.parameters[MANIFEST_PARAMETER].string_value = json.dumps(kept)
        path.write_text(text_format.MessageToString(config))
