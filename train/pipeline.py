"""From a dataset to a finished run: the stages in order, each from what the ones before left."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from qafm.errors import InvalidCheckpoint
from train.checkpoint import (
    DATA_FILE,
    SETTINGS_FILE,
    build_trunk,
    checkpoint_path,
    load_checkpoint,
    load_finished_checkpoint,
    load_run_settings,
)
from train.data import Batches, TrainingData, load_training_data
from train.networks import APAN, IQA, Trunk
from train.quality import SCORES_FILE, crops_to_score, score_crops
from train.settings import STAGES, Settings, StageName, save_settings
from train.stages.apan import APANStage
from train.stages.iqa import IQAStage
from train.stages.joint import JointStage
from train.stages.stage import Stage, train_stage
from train.weights import load_trunk_weights


def train(
    settings: Settings,
    root: Path,
    run: Path,
    *,
    stage: StageName | None = None,
    resume: bool = False,
    console: Console,
) -> None:
    """Train all stages, or one whose predecessors are done, on the dataset at `root` into the folder `run`.

    With `resume`, finished stages are passed over and an unfinished one goes on; without, a folder that holds a
    run already is refused, unless a single stage is asked for.
    Raises InvalidDataset, InvalidCheckpoint, TrainingFailed.
    """
    data = load_training_data(root, settings.seed)
    _prepare(run, settings, data, stage, resume)
    if data.warning:
        console.print(f"[yellow]warning:[/] {data.warning}")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    console.print(
        f"{len(data.crops)} crops of {len(data.pids)} identities, {len(data.held_out)} more held out; on {device}"
    )
    for name in (stage,) if stage else STAGES:
        if resume and checkpoint_path(run, name).is_file() and load_checkpoint(run, name).complete:
            continue
        _forget(run, name, itself=not resume)
        # The same first weights whether the stages run together or one by one.
        torch.manual_seed(settings.seed)
        built = _build(name, settings, data, run, device, console)
        train_stage(built, Batches(data, settings, name), run, data.pids, resume=resume, console=console)


def _prepare(run: Path, settings: Settings, data: TrainingData, stage: StageName | None, resume: bool) -> None:
    """Make the run's folder, or hold the one that is there against what is asked for."""
    description = data.description()
    if (run / SETTINGS_FILE).is_file():
        if not resume and stage is None:
            raise InvalidCheckpoint(f"{run} holds a run already; go on with --resume, or choose another --out")
        if load_run_settings(run) != settings:
            raise InvalidCheckpoint(
                f"{run / SETTINGS_FILE}: the run was started with other settings; use the same preset and options, "
                "or choose another --out"
            )
        # The folder may have been moved: what is in it counts.
        if json.loads((run / DATA_FILE).read_text())["sha256"] != description["sha256"]:
            raise InvalidCheckpoint(
                f"{run / DATA_FILE}: the run was started on other data; use the same --data, or choose another --out"
            )
    run.mkdir(parents=True, exist_ok=True)
    (run / DATA_FILE).write_text(json.dumps(description, indent=2) + "\n")
    save_settings(settings, run / SETTINGS_FILE)


def _forget(run: Path, stage: StageName, *, itself: bool) -> None:
    """Remove what was made from a stage that is about to be trained, and with `itself` its own checkpoint."""
    later = STAGES[STAGES.index(stage) + 1 :]
    for name in (stage, *later) if itself else later:
        checkpoint_path(run, name).unlink(missing_ok=True)
    if stage == "iqa":
        (run / SCORES_FILE).unlink(missing_ok=True)


def _build(
    name: StageName, settings: Settings, data: TrainingData, run: Path, device: torch.device, console: Console
) -> Stage:
    if name == "iqa":
        return IQAStage(settings, device, len(data.pids))
    if name == "apan":
        return APANStage(settings, device, _first_trunk(settings, run))
    iqa = IQA(build_trunk(settings.network))
    load_finished_checkpoint(run, "iqa").restore({"iqa": iqa})
    apan = APAN(build_trunk(settings.network), settings.network.channels)
    load_finished_checkpoint(run, "apan").restore({"apan": apan})

    trained, held_out = crops_to_score(data, settings.joint.q_crops, settings.seed)
    scores = score_crops(iqa, [*held_out, *trained], run, precision=settings.precision, device=device, console=console)
    unseen = scores[: len(held_out)]
    score_of = dict(zip(trained, scores[len(held_out) :].tolist(), strict=True))
    return JointStage(
        settings,
        device,
        identities=len(data.pids),
        apn_trunk=_first_trunk(settings, run),
        apan=apan,
        q=np.array([score_of.get(crop, np.nan) for crop in data.crops], dtype=np.float32),
        mu=float(unseen.mean()),
        sigma=float(unseen.std()),
    )


def _first_trunk(settings: Settings, run: Path) -> Trunk:
    """Where a branch's encoder starts: the pretrained weights, or the IQA trunk where there are none."""
    trunk = build_trunk(settings.network)
    if settings.pretrained:
        load_trunk_weights(trunk, settings.weights)
        return trunk
    iqa = IQA(trunk)
    load_finished_checkpoint(run, "iqa").restore({"iqa": iqa})
    return iqa.trunk
