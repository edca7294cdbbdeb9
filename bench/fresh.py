"""What a training can be timed on: drawn people, and stages with fresh networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from lightning_fabric import Fabric

from synthetic import Recipe, make_dataset
from train.networks import build_apan, build_trunk
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
