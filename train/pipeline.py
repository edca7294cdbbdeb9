"""From a dataset to a finished run: the stages in order, each from what the ones before left."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from rich.console import Console

from qafm.errors import InvalidCheckpoint, InvalidSettings
from train.batches import Batches
from train.checkpoint import (
    DATA_FILE,
    SETTINGS_FILE,
    checkpoint_path,
    load_checkpoint,
    load_finished_checkpoint,
    load_run_settings,
)
from train.data import TrainingData, load_data_of
from train.earlier_run import (
    KEPT_STAGE,
    adopt_quality,
    original_split,
    require_earlier_run,
    start_from,
    trained_weighting,
)
from train.files import whole_file
from train.launch import launch
from train.metrics_log import forget_metrics
from train.networks import APAN, IQA, Trunk, build_apan, build_trunk
from train.networks.apan import attribute_priors
from train.networks.weighting import reads_q
from train.precision import require_precision, usable_precision
from train.presets import save_settings
from train.quality.scores import Scores, crops_to_score, forget_scores, score_crops
from train.quality.teacher import forget_answers
from train.quality.teaching import forget_quality, is_taught, teach_network, teach_quality
from train.settings import QUALITY, STAGES, WEIGHTING, Settings, StageName
from train.stages.apan import APANStage
from train.stages.iqa import IQAStage
from train.stages.joint import JointStage
from train.stages.loop import train_stage
from train.stages.stage import Stage
from train.weights import load_trunk_weights
from train.workers import bytes_per_worker, shared_memory_left, too_little_room, workers_that_fit


def train(
    settings: Settings,
    root: Path,
    run: Path,
    *,
    stage: StageName | None = None,
    resume: bool = False,
    console: Console,
) -> None:
    """Train all stages on the dataset at `root` into the folder `run`, or one whose predecessors are done.

    With `resume`, finished stages are passed over and an unfinished one goes on; without, a folder that holds a
    run already is refused, unless a single stage is asked for.
    Raises InvalidSettings, InvalidDataset, InvalidCheckpoint, TrainingFailed.
    """
    fabric = launch()
    require_precision(settings.precision, fabric.device)
    data = load_data_of(settings, root)
    if settings.attributes:
        data.require_attributes()
    stages = () if stage in (WEIGHTING, QUALITY) else _stages(settings, stage)
    usable = _usable(settings, fabric, console)
    place = {"device": fabric.device, "rank": fabric.global_rank, "processes": fabric.world_size}
    batches = {name: Batches(data, usable, name, **place) for name in stages}
    # What can be refused is refused before the folder holds a run.
    if stage:
        for name in _predecessors(stage, settings):
            if not (settings.refits and name == KEPT_STAGE):
                load_finished_checkpoint(run, name)
    if settings.weights != "none" and (KEPT_STAGE in stages or not _starts_from_iqa(settings)):
        load_trunk_weights(build_trunk(settings.network), settings.weights)
    require_earlier_run(settings, root)
    if fabric.is_global_zero:
        _prepare(run, settings, data, stage, resume)
    fabric.barrier()
    for warning in (data.warning, _standing_still(settings)):
        if warning:
            console.print(f"[yellow]warning:[/] {warning}")
    console.print(_told(data, fabric))
    for name in stages:
        if resume and checkpoint_path(run, name).is_file() and load_checkpoint(run, name).complete:
            continue
        if fabric.is_global_zero:
            _forget(run, name, itself=not resume)
        fabric.barrier()
        # The same first weights whether the stages run together or one by one.
        torch.manual_seed(settings.seed)
        built = _build(name, usable, data, run, fabric, console)
        train_stage(built, batches.pop(name), run, resume=resume, console=console)
        # Its batches end here, and their workers: found later by a worker of the next stage, these cannot be ended.
        gc.collect()
    if fabric.is_global_zero:
        if stage in (None, WEIGHTING) and not (resume and is_taught(run, settings)):
            teach_quality(usable, data, run, fabric, console)
        if stage in (None, QUALITY) and settings.quality.pictures:
            teach_network(usable, data, run, fabric, resume=resume, console=console)
    fabric.barrier()


def _told(data: TrainingData, fabric: Fabric) -> str:
    processes = f", in {fabric.world_size} processes" if fabric.world_size > 1 else ""
    return (
        f"{len(data.crops)} crops of {len(data.pids)} identities, {len(data.held_out)} more held out; "
        f"on {fabric.device.type}{processes}"
    )


def _usable(settings: Settings, fabric: Fabric, console: Console) -> Settings:
    """The settings as this machine can run them, which says what it cannot. The run keeps those that were asked for."""
    precision = usable_precision(settings.precision, fabric.device)
    if precision != settings.precision:
        console.print(f"[yellow]warning:[/] this GPU has no {settings.precision}: training in {precision}")
    each, left = bytes_per_worker(settings, fabric.world_size), shared_memory_left()
    workers = workers_that_fit(settings.workers, each, None if left is None else left // fabric.world_size)
    if left is not None and workers < settings.workers:
        console.print(f"[yellow]warning:[/] {too_little_room(settings.workers, workers, each, left)}")
    return settings.model_copy(update={"precision": precision, "workers": workers})


def _standing_still(settings: Settings) -> str | None:
    """What to warn of where pretrained trunks would stand still throughout the joint stage."""
    joint = settings.joint
    if not settings.pretrained or joint.frozen_epochs + joint.settling_epochs < joint.epochs:
        return None
    return (
        f"joint.frozen_epochs ({joint.frozen_epochs}) leaves none of the joint stage's {joint.epochs} epochs for the "
        "pretrained trunks of both branches to move in: only what is new in them learns; lower it for them to follow"
    )


def _stages(settings: Settings, stage: StageName | None) -> tuple[StageName, ...]:
    """What is to be trained: `stage` alone, or all; a refit keeps the IQA network, on which Q and α rest."""
    kept = (KEPT_STAGE,) if settings.refits else ()
    if stage in kept:
        raise InvalidSettings(
            f"a refit keeps the {stage} stage of {settings.refits}; expected another --stage, or none"
        )
    without = () if settings.attributes else ("apan",)
    if stage in without:
        raise InvalidSettings(f"without attributes there is no stage {stage}; expected another --stage, or none")
    return (stage,) if stage else tuple(name for name in STAGES if name not in (*kept, *without))


def _predecessors(stage: StageName, settings: Settings) -> tuple[StageName, ...]:
    """The stages that a stage starts from."""
    if stage in (WEIGHTING, QUALITY):
        return ("iqa", "joint")
    if stage == "joint":
        return ("iqa", "apan") if settings.attributes else ("iqa",)
    return ("iqa",) if stage == "apan" and _starts_from_iqa(settings) else ()


def _starts_from_iqa(settings: Settings) -> bool:
    """Whether the branches' trunks start where IQA's ended; else from the pretrained weights, as in the paper."""
    return not settings.freezes_branches


def _prepare(run: Path, settings: Settings, data: TrainingData, stage: StageName | None, resume: bool) -> None:
    """Make the run's folder; if it is there already, check that its settings and data are those asked for."""
    if (run / SETTINGS_FILE).is_file():
        if not resume and stage is None:
            raise InvalidCheckpoint(f"{run} holds a run already; go on with --resume, or choose another --out")
        # What the last stage alone reads, it may be given anew.
        own = {"quality"} if stage == QUALITY else set()
        if differing := [name for name in _differing(load_run_settings(run), settings) if name not in own]:
            raise InvalidCheckpoint(
                f"{run / SETTINGS_FILE}: the run was started with other settings ({', '.join(differing)}); use the "
                "same preset and options, or choose another --out"
            )
        # The folder may have been moved: what is in it counts.
        if not data.is_described_by(json.loads((run / DATA_FILE).read_text())):
            raise InvalidCheckpoint(
                f"{run / DATA_FILE}: the run was started on other data: other pictures, labels or attributes; use the "
                "same --data, or choose another --out"
            )
    run.mkdir(parents=True, exist_ok=True)
    if settings.refits:
        adopt_quality(run, Path(settings.refits))
    # In today's format, where an earlier version made the run.
    with whole_file(run / DATA_FILE) as file:
        file.write(json.dumps(data.description(), indent=2).encode())
    # Last: with it the folder holds a run.
    save_settings(settings, run / SETTINGS_FILE)


def _differing(one: Settings, other: Settings) -> list[str]:
    """The names of the settings that two trainings differ in."""
    return [name for name in Settings.model_fields if getattr(one, name) != getattr(other, name)]


def _forget(run: Path, stage: StageName, *, itself: bool) -> None:
    """Remove what later stages made from a stage that is about to be trained, and with `itself` its own files too."""
    later = STAGES[STAGES.index(stage) + 1 :]
    for name in (stage, *later) if itself else later:
        for best in (False, True):
            checkpoint_path(run, name, best=best).unlink(missing_ok=True)
        forget_metrics(run, name)
    if stage == "iqa":
        forget_scores(run)
        forget_answers(run)
    forget_quality(run)


def _build(
    name: StageName, settings: Settings, data: TrainingData, run: Path, fabric: Fabric, console: Console
) -> Stage:
    stage = _fresh(name, settings, data, run, fabric, console)
    if settings.fine_tunes:
        start_from(Path(settings.fine_tunes), stage)
    return stage


def _fresh(
    name: StageName, settings: Settings, data: TrainingData, run: Path, fabric: Fabric, console: Console
) -> Stage:
    if name == "iqa":
        return IQAStage(settings, fabric, len(data.pids))
    if name == "apan":
        return APANStage(settings, fabric, _first_trunk(settings, run), data.attributes)
    # Built whatever is done with it: networks of one seed are to begin alike.
    iqa = IQA(build_trunk(settings.network))
    apan, apan_optimizer = _finished_apan(settings, run) if settings.attributes else (None, None)
    scores = Scores.unread(data)
    if reads_q(settings.joint.weighting):
        scores = _scores(iqa, settings, data, run, fabric, console)
    return JointStage(
        settings,
        fabric,
        identities=len(data.pids),
        apn_trunk=_first_trunk(settings, run),
        apan=apan,
        **vars(scores),
        apan_optimizer=apan_optimizer,
        priors=attribute_priors(data.attributes),
        weighting=trained_weighting(Path(settings.refits)) if settings.refits else None,
    )


def _finished_apan(settings: Settings, run: Path) -> tuple[APAN, dict[str, Any]]:
    """APAN as its own stage ended, and the state of its optimiser."""
    apan = build_apan(build_trunk(settings.network), settings.network)
    stage = load_finished_checkpoint(run, "apan")
    stage.restore({"apan": apan})
    return apan, stage.optimizers["apan"]


def _scores(iqa: IQA, settings: Settings, data: TrainingData, run: Path, fabric: Fabric, console: Console) -> Scores:
    """Q by the finished IQA network, of as many crops as the settings say."""
    load_finished_checkpoint(run, "iqa").restore({"iqa": iqa})
    scored = original_split(data.folder, settings) if settings.refits else data
    trained, held_out = crops_to_score(scored, settings.joint.q_crops, settings.seed)
    crops = [*trained, *held_out]
    found = score_crops(iqa, crops, run, settings=settings, fabric=fabric, console=console)
    return Scores.of(data, dict(zip(crops, found.tolist(), strict=True)), unseen=found[len(trained) :])


def _first_trunk(settings: Settings, run: Path) -> Trunk:
    """Where a branch's encoder starts: the finished IQA trunk, or as the paper has it the pretrained weights."""
    trunk = build_trunk(settings.network)
    if not _starts_from_iqa(settings):
        load_trunk_weights(trunk, settings.weights)
        return trunk
    iqa = IQA(trunk)
    load_finished_checkpoint(run, "iqa").restore({"iqa": iqa})
    return iqa.trunk
