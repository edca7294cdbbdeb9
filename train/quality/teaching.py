"""The last stages. `weighting`: α is fitted where the settings say so, and the utility is taught; no network learns.
`quality`: a network is taught to say all this of a picture in one look.

RUN/weighting.npz   α as it was fitted, as `alpha.npz` has it; none where the joint stage's own stays
RUN/utility.npz     the utility, its arrays as `alpha.npz` has them
RUN/diagnosis.json  what tells what is wrong with a picture, as the manifest has it
RUN/quality.pt      the quality network; see also `train.quality.teacher`
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from rich.console import Console

from qafm import weighting
from qafm.diagnosis import Diagnosis
from qafm.errors import InvalidCheckpoint
from qafm.utility import Utility
from qafm.weighting import Weighting
from qafm.weighting.retrieval import Retrieval
from train.checkpoint import checkpoint_path, load_checkpoint, load_networks, load_run_settings
from train.data import TrainingData
from train.files import adopt, whole_file, writing
from train.metrics_log import forget_metrics
from train.networks import QualityNetwork
from train.quality import teacher
from train.quality.alpha import CONSTANTS, Fitted, alphas, fit
from train.quality.diagnosis import teach_diagnosis
from train.quality.lessons import draw_pictures, learn, of_undegraded
from train.quality.student import said_of, train_network
from train.quality.utility import Lessons, correlations, teach, worth
from train.settings import QUALITY, WEIGHTING, Settings

WEIGHTING_FILE, UTILITY_FILE, DIAGNOSIS_FILE = "weighting.npz", "utility.npz", "diagnosis.json"
_FILES = (WEIGHTING_FILE, UTILITY_FILE, DIAGNOSIS_FILE)


def teach_quality(settings: Settings, data: TrainingData, run: Path, fabric: Fabric, console: Console) -> None:
    """Fit and teach, in this process alone, by the networks of a finished run and its held-out people.

    A refit keeps what its run had: that reads the IQA network, and the branches have seen who would teach it.
    Raises InvalidDataset where a crop cannot be read.
    """
    if settings.refits:
        for name in _FILES:
            if (kept := Path(settings.refits) / name).is_file():
                adopt(kept, run)
        return
    # What is left of an earlier time must not pass for the end of this one.
    forget_quality(run)
    if not settings.lessons.crops:
        return
    pictures = draw_pictures(data.held_out, settings.lessons, settings.seed)
    lessons = learn(load_networks(run), pictures, settings=settings, fabric=fabric, console=console)
    if not np.isfinite(worth(lessons)).any():
        console.print(
            "[yellow]warning:[/] no utility, and α as the joint stage left it: none of the held-out people has two "
            "pictures to be found by"
        )
        return
    if settings.joint.weighting == Retrieval.kind:
        lessons = _fit_weighting(lessons, run, console)
    # What else is wrong with a crop would be taken for what was done to it.
    diagnosis = teach_diagnosis(of_undegraded(lessons, pictures, data.root))
    _write(run, teach(lessons), diagnosis)
    told = ", ".join(f"{kind} {told:+.2f}" for kind, told in correlations(lessons).items())
    console.print(
        f"utility: taught by {len(pictures)} pictures. Its rank correlation with how badly pictures of people are "
        f"degraded who did not teach it: {told or 'too few people to say'}",
        soft_wrap=True,
    )
    named = ", ".join(name for name, defect in diagnosis.defects.items() if defect.reliable)
    console.print(f"what is wrong with a picture is told of: {named or 'nothing reliably'}", soft_wrap=True)


def teach_network(
    settings: Settings, data: TrainingData, run: Path, fabric: Fabric, *, resume: bool, console: Console
) -> None:
    """Teach the quality network of a finished run on its training crops, in this process alone.

    A refit keeps what its run had. With `resume` a network that is taught already stays, and an unfinished one goes on.
    Raises InvalidDataset where a crop cannot be read.
    """
    path = checkpoint_path(run, QUALITY)
    if settings.refits:
        if (kept := checkpoint_path(Path(settings.refits), QUALITY)).is_file():
            adopt(kept, run)
        return
    if not resume:
        path.unlink(missing_ok=True)
        forget_metrics(run, QUALITY)
    elif path.is_file() and load_checkpoint(run, QUALITY).complete:
        return
    if (utility := load_utility(run)) is None:
        console.print("[yellow]warning:[/] no quality network: no utility was taught, which it is to say")
        return
    networks = load_networks(run)
    pictures = teacher.draw_pictures(data.crops, settings.quality, settings.seed)
    answers = teacher.ask(networks.iqa, pictures, run, settings=settings, fabric=fabric, console=console)
    numbers = said_of(answers.qualities, load_fitted_weighting(run) or networks.weighting.served(), utility)
    torch.manual_seed(settings.seed)
    network = QualityNetwork(networks.iqa.trunk)
    train_network(network, pictures, numbers, run, settings=settings, fabric=fabric, resume=resume, console=console)


def is_taught(run: Path, settings: Settings) -> bool:
    """Whether the run has all that this stage would give it."""
    fitted = settings.joint.weighting != Retrieval.kind or (run / WEIGHTING_FILE).is_file()
    return fitted and (run / UTILITY_FILE).is_file()


def forget_quality(run: Path) -> None:
    """Remove what both stages made, but not what teaches the quality network: that rests on the IQA network alone."""
    for path in (*(run / name for name in _FILES), checkpoint_path(run, QUALITY)):
        path.unlink(missing_ok=True)
    forget_metrics(run, QUALITY)


def load_fitted_weighting(run: Path) -> Weighting | None:
    """α as it was fitted; None where it is as the joint stage left it. Raises InvalidCheckpoint for a damaged file."""
    path = run / WEIGHTING_FILE
    if not path.is_file():
        return None
    try:
        return weighting.load_weighting(path)
    except InvalidCheckpoint as error:
        raise InvalidCheckpoint(f"{error}; fit it again: --stage {WEIGHTING}") from error


def unfitted(run: Path, *, best: bool = False) -> str | None:
    """What to know before the α of a run is served, where it was to be fitted.

    best: whether the networks are those of the epoch with the best validation mAP.
    """
    if load_run_settings(run).joint.weighting != Retrieval.kind:
        return None
    if not (run / WEIGHTING_FILE).is_file():
        return f"{run}: α is a half for every picture, it was not fitted; fit it: python -m train --stage {WEIGHTING}"
    return f"{run}: α was fitted to the last epoch's networks, not to those of the best one" if best else None


def load_utility(run: Path) -> Utility | None:
    """The utility of a run, or None where none was taught. Raises InvalidCheckpoint for a damaged file."""
    path = run / UTILITY_FILE
    if not path.is_file():
        return None
    try:
        return weighting.load_utility(path)
    except InvalidCheckpoint as error:
        raise InvalidCheckpoint(
            f"{path}: damaged or not a utility ({error}); teach it again: --stage {WEIGHTING}"
        ) from error


def load_diagnosis(run: Path) -> Diagnosis | None:
    """The diagnosis of a run, or None where none was taught. Raises InvalidCheckpoint for a damaged file."""
    path = run / DIAGNOSIS_FILE
    if not path.is_file():
        return None
    try:
        return Diagnosis.from_content(json.loads(path.read_bytes()))
    except (ValueError, InvalidCheckpoint) as error:
        raise InvalidCheckpoint(f"{path}: {error}; teach it again: --stage {WEIGHTING}") from error


def _write(run: Path, utility: Utility, diagnosis: Diagnosis) -> None:
    with whole_file(run / DIAGNOSIS_FILE) as file:
        file.write(json.dumps(diagnosis.content()).encode())
    # Last: with it the stage is done.
    with whole_file(run / UTILITY_FILE) as file:
        np.savez(file, **utility.arrays())


def _fit_weighting(lessons: Lessons, run: Path, console: Console) -> Lessons:
    """Fit α and keep it. Returns the lessons as they are described by it."""
    if (fitted := fit(lessons)) is None:
        console.print(
            "[yellow]warning:[/] α as the joint stage left it: no held-out picture has another one of its person and "
            "another camera"
        )
        return lessons
    with writing(run / WEIGHTING_FILE):
        weighting.save_weighting(run / WEIGHTING_FILE, fitted.weighting)
    console.print(f"α: {_told(fitted)}", soft_wrap=True)
    return replace(lessons, descriptors=lessons.described(alphas(fitted.weighting, lessons)))


def _told(fitted: Fitted) -> str:
    steps = "".join(
        f"; by {step.reads} {step.gain.in_per_cent()}, {'kept' if step.kept else 'not kept'}" for step in fitted.steps
    )
    best = fitted.by_constant.argmax()
    return (
        f"{float(fitted.constant.value):.3f} for every picture. On held-out pictures, half of them made worse, the "
        f"best constant ({CONSTANTS[best]:.2f}) has mAP {100 * fitted.by_constant[best]:.2f}, APN alone "
        f"{100 * fitted.by_constant[-1]:.2f}. Gained on people who did not teach it"
        f"{steps or ': too few people to say'}"
    )
