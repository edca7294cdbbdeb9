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
    load_run_settings,
)
from train.data import Batches, TrainingData, load_training_data
from train.networks import APAN, IQA, Trunk
from train.quality import SCORES_FILE, crops_to_score, score_crops
from train.settings import STAGES, Settings, StageName, save_settings
from train.stages.apan import APANStage
from train.stages.iqa import IQAStage
from train.stages.joint import JointStage
from train.stages.stage import METRICS_FILE, Stage, train_stage
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
    torch.manual_seed(settings.seed)
    data = load_training_data(root, settings.seed)
    _prepare(run, settings, stage, resume)
    (run / DATA_FILE).write_text(json.dumps(data.description(), indent=2) + "\n")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    console.print(
        f"{len(data.crops)} crops of {len(data.pids)} identities, {len(data.held_out)} more held out; on {device}"
    )
    for name in (stage,) if stage else STAGES:
        if resume and checkpoint_path(run, name).is_file() and load_checkpoint(run, name).complete:
            continue
        # The same first weights whether the stages run together or one by one.
        torch.manual_seed(settings.seed)
        built = _build(name, settings, data, run, device, console)
        train_stage(built, Batches(data, settings, name), run, data.pids, resume=resume, console=console)


def _prepare(run: Path, settings: Settings, stage: StageName | None, resume: bool) -> None:
    if (run / SETTINGS_FILE).is_file():
        if not resume and stage is None:
            raise InvalidCheckpoint(f"{run} holds a run already; go on with --resume, or choose another --out")
        if load_run_settings(run) != settings:
            raise InvalidCheckpoint(
                f"{run / SETTINGS_FILE}: the run was started with other settings; use the same preset and options, "
                "or choose another --out"
            )
    run.mkdir(parents=True, exist_ok=True)
    save_settings(settings, run / SETTINGS_FILE)
    if stage in (None, "iqa") and not resume:
        # What an earlier IQA network measured is not what this one would.
        (run / SCORES_FILE).unlink(missing_ok=True)
        (run / METRICS_FILE).unlink(missing_ok=True)


def _build(
    name: StageName, settings: Settings, data: TrainingData, run: Path, device: torch.device, console: Console
) -> Stage:
    if name == "iqa":
        return IQAStage(settings, device, len(data.pids))
    if name == "apan":
        return APANStage(settings, device, _first_trunk(settings, run))
    iqa = IQA(build_trunk(settings.network))
    _finished(run, "iqa").restore({"iqa": iqa})
    apan = APAN(build_trunk(settings.network), settings.network.channels)
    _finished(run, "apan").restore({"apan": apan})

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
    _finished(run, "iqa").restore({"iqa": iqa})
    return iqa.trunk


def _finished(run: Path, stage: StageName):
    checkpoint = load_checkpoint(run, stage)
    if not checkpoint.complete:
        raise InvalidCheckpoint(
            f"{checkpoint_path(run, stage)}: the {stage} stage stopped after {checkpoint.epoch} epochs; "
            "finish it first with --resume"
        )
    return checkpoint
