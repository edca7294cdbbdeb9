"""A training run on disk, and reading it back.

RUN/settings.yaml            the resolved settings
RUN/iqa.pt apan.pt joint.pt  one checkpoint a stage, replaced as a whole after each epoch
RUN/iqa.best.pt ...          the networks of the epoch with the best validation mAP, the later of equals
RUN/data.json                what it was trained on: name, folder, counts, fingerprint
RUN/identifiability.npz      where α reads it, Q of the training and held-out crops, as many as `joint.q_crops` says
RUN/weighting.npz utility.npz diagnosis.json   what the stage `weighting` learnt: see `train.quality.teaching`
RUN/teacher.npz quality.pt   what the stage `quality` was taught by, and its network
RUN/metrics.jsonl            one line a step, one more an epoch with its validation
RUN/tensorboard/             the same as curves
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qafm.errors import InvalidCheckpoint
from train.files import whole_file
from train.networks import Networks, QualityNetwork, build_trunk
from train.presets import load_settings
from train.settings import QUALITY, Settings, StageName

FORMAT = 3
SETTINGS_FILE = "settings.yaml"
DATA_FILE = "data.json"


@dataclass(frozen=True)
class Checkpoint:
    """One stage of a run. `epoch` counts finished epochs; `complete` says whether it was the last one.

    `best_mAP` is the best validation mAP of any epoch so far. `networks` has the weights that count. `trained`,
    `optimizers` and `scaler` are what resuming needs; `trained` is empty unless `networks` are averages of weights.
    """

    stage: StageName
    epoch: int
    complete: bool
    best_mAP: float  # noqa: N815, the name every report of this metric uses
    pids: tuple[int, ...]
    networks: dict[str, dict[str, Tensor]]
    trained: dict[str, dict[str, Tensor]]
    optimizers: dict[str, dict[str, Any]]
    scaler: dict[str, Any]

    def restore(self, networks: Mapping[str, nn.Module]) -> None:
        """Load the weights. All of them must be there and fit, and none may be left over. Raises InvalidCheckpoint."""
        for name, network in networks.items():
            if name not in self.networks:
                raise InvalidCheckpoint(f"the {self.stage} checkpoint has no network {name!r}")
            try:
                network.load_state_dict(self.networks[name], strict=True)
            except RuntimeError as error:
                raise InvalidCheckpoint(
                    f"the {self.stage} checkpoint does not fit the {name} network of these settings: {error}"
                ) from error


def checkpoint_path(run: Path, stage: StageName, *, best: bool = False) -> Path:
    return run / (f"{stage}.best.pt" if best else f"{stage}.pt")


def save_checkpoint(run: Path, checkpoint: Checkpoint, *, best: bool, durable: bool = True) -> None:
    """Write a stage's checkpoint, and with `best` its networks as the best so far.

    A crash in the middle leaves the files before it intact; so does one of the machine where they are `durable`, which
    waits for the disk. Raises TrainingFailed where there is no room.
    """
    if best:
        # Resuming needs only the last one's optimisers.
        alone = replace(checkpoint, trained={}, optimizers={}, scaler={})
        _write(checkpoint_path(run, checkpoint.stage, best=True), alone, durable)
    _write(checkpoint_path(run, checkpoint.stage), checkpoint, durable)


def _write(path: Path, checkpoint: Checkpoint, durable: bool) -> None:
    with whole_file(path, durable=durable) as file:
        try:
            torch.save({"format": FORMAT, **vars(checkpoint)}, file)
        except RuntimeError as error:  # torch's writer wraps what the file said
            raise error.__context__ if isinstance(error.__context__, OSError) else error from None


def load_checkpoint(run: Path, stage: StageName, *, best: bool = False) -> Checkpoint:
    """Read a stage's last checkpoint, or its best. Raises InvalidCheckpoint where it is missing, damaged or of
    another format."""
    path = checkpoint_path(run, stage, best=best)
    if not path.is_file():
        raise InvalidCheckpoint(
            f"{path}: no such checkpoint; train it with `python -m train --stage {stage} --out {run} ...`"
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types on a damaged file
        raise InvalidCheckpoint(f"{path}: damaged or not a checkpoint ({error}); train the stage again") from error
    if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
        raise InvalidCheckpoint(f"{path}: not a checkpoint of format {FORMAT}; it was written by another version")
    return Checkpoint(**content)


def load_finished_checkpoint(run: Path, stage: StageName) -> Checkpoint:
    """Read the checkpoint of a stage that trained to its end. Raises InvalidCheckpoint as `load_checkpoint` does."""
    checkpoint = load_checkpoint(run, stage)
    if not checkpoint.complete:
        raise InvalidCheckpoint(
            f"{checkpoint_path(run, stage)}: the {stage} stage stopped after {checkpoint.epoch} epochs; "
            f"finish it with `python -m train --out {run} --resume ...`"
        )
    return checkpoint


def load_run_settings(run: Path) -> Settings:
    """The settings of a run. Raises InvalidCheckpoint where `run` is not one."""
    path = run / SETTINGS_FILE
    if not path.is_file():
        raise InvalidCheckpoint(f"{run}: not a training run (no {SETTINGS_FILE}); make one with `python -m train`")
    return load_settings(path, of_a_run=True)


def load_networks(run: Path, *, best: bool = False, quality: bool = False) -> Networks:
    """The trained networks of a finished run; with `best`, those of the joint stage's best epoch, not of its last; with
    `quality` the quality network too, where the run has one.

    Raises InvalidCheckpoint.
    """
    settings = load_run_settings(run)
    networks = Networks.untrained(settings.network, settings.joint.weighting, attributes=settings.attributes)
    # α and both branches learnt with Q as the last IQA network gives it.
    iqa, joint = load_finished_checkpoint(run, "iqa"), load_finished_checkpoint(run, "joint")
    if best:
        joint = load_checkpoint(run, "joint", best=True)
    iqa.restore({"iqa": networks.iqa})
    branches = ("apn", "apan") if settings.attributes else ("apn",)
    joint.restore({name: getattr(networks, name) for name in (*branches, "fusion", "weighting")})
    if quality and checkpoint_path(run, QUALITY).is_file():
        network = QualityNetwork(build_trunk(settings.network))
        checkpoint = load_finished_checkpoint(run, QUALITY)
        try:
            checkpoint.restore({QUALITY: network})
        except InvalidCheckpoint as error:
            path = checkpoint_path(run, QUALITY)
            raise InvalidCheckpoint(
                f"{path}: another version taught this quality network; teach it again: --stage {QUALITY}"
            ) from error
        return replace(networks, quality=network.eval())
    return networks
