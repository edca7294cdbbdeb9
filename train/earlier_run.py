"""What a run takes over from an earlier one: all its networks, to fine-tune them on other people; or its quality
branch, to train the branches again on everybody."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from qafm.errors import InvalidCheckpoint, InvalidSettings
from train.checkpoint import (
    DATA_FILE,
    checkpoint_path,
    load_finished_checkpoint,
    load_networks,
    load_run_settings,
)
from train.data import TrainingData, load_training_data
from train.files import adopt
from train.networks.weighting import TrainableWeighting, reads_q
from train.quality.scores import SCORES_FILE
from train.settings import Settings, StageName
from train.stages.stage import Stage

KEPT_STAGE: StageName = "iqa"
"""What a refit keeps: Q, its mean and deviation, and α all rest on this network."""

_FINE_TUNED = {"iqa": ("iqa",), "apan": ("apan",), "joint": ("apn", "fusion")}
"""By stage, the networks that start where those of the earlier run ended. The joint stage has APAN from its own, and
without attributes takes APN alone: of one branch the FC is computed, and α is 1."""


def require_earlier_run(settings: Settings, root: Path) -> None:
    """Refuse an earlier run that cannot be built upon with these settings, on the dataset at `root`.

    Raises InvalidCheckpoint where it is not finished or not of this data, InvalidSettings where it has other networks.
    """
    if settings.fine_tunes:
        earlier = load_run_settings(Path(settings.fine_tunes))
        _require_finished(Path(settings.fine_tunes))
        compared = [("network", settings.network, earlier.network)]
        if settings.attributes:
            compared += [
                ("attributes", settings.attributes, earlier.attributes),
                ("joint.weighting", settings.joint.weighting, earlier.joint.weighting),
            ]
        for name, own, other in compared:
            if own != other:
                raise InvalidSettings(
                    f"{name} of the preset differs from that of {settings.fine_tunes}, whose networks the run is to "
                    "start from; leave --preset away to train by the settings of that run"
                )
    if settings.refits:
        folder = Path(settings.refits)
        _require_finished(folder)
        if reads_q(settings.joint.weighting) and not (folder / SCORES_FILE).is_file():
            raise InvalidCheckpoint(f"{folder}: it has no {SCORES_FILE}, the Q of its crops, which a refit keeps")
        if (earlier := load_run_settings(folder)).refits:
            raise InvalidCheckpoint(f"{folder}: refits {earlier.refits} itself; name that run")
        if not original_split(root, settings).is_described_by(json.loads((folder / DATA_FILE).read_text())):
            raise InvalidCheckpoint(
                f"{folder / DATA_FILE}: the run was trained on other data; a refit needs the same, held-out people "
                "included: give its --data"
            )


def _require_finished(run: Path) -> None:
    for stage in (KEPT_STAGE, "joint"):
        load_finished_checkpoint(run, stage)


def original_split(root: Path, settings: Settings) -> TrainingData:
    """The data of the run that is refitted, its held-out people apart."""
    return load_training_data(root, settings.seed, attributes=settings.attributes)


def adopt_quality(run: Path, earlier: Path) -> None:
    """Copy what a refit keeps into its folder: the finished IQA stage, and where α reads it every Q that is known.

    What is there already stays: the later stages of the folder were trained on it.
    """
    run.mkdir(parents=True, exist_ok=True)
    for source in (checkpoint_path(earlier, KEPT_STAGE), earlier / SCORES_FILE):
        if source.is_file():
            adopt(source, run)


def trained_weighting(earlier: Path) -> TrainableWeighting:
    """Of a finished run."""
    return load_networks(earlier).weighting


@torch.no_grad()
def start_from(earlier: Path, stage: Stage) -> None:
    """Put the networks of a stage where those of a finished run are; identity classifiers are of other people, and
    stay fresh. Of the weighting only what it learnt: mean and deviation of Q are of this run's network."""
    trained, alone = load_networks(earlier), not stage.settings.attributes
    for name in ("apn",) if alone and stage.name == "joint" else _FINE_TUNED[stage.name]:
        stage.networks[name].load_state_dict(getattr(trained, name).state_dict())
    if not alone and (weighting := stage.networks.get("weighting")):
        for own, other in zip(weighting.parameters(), trained.weighting.parameters(), strict=True):
            if own.requires_grad:  # else it is that of the run that is refitted
                own.copy_(other)
