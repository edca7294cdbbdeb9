"""Q of training crops, with the code that serves (`qafm.perturbations`, `qafm.identifiability`), kept in the run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from lightning_fabric import Fabric
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from qafm.datasets.crops import Crop
from qafm.identifiability import identifiability
from synthetic.degradation import NONE
from train.data import TrainingData
from train.files import whole_file
from train.networks import IQA
from train.quality.spoilt import Spoilt
from train.quality.views import seen_in_views
from train.settings import Settings

SCORES_FILE = "identifiability.npz"
_PARTS = "identifiability-*.npz"
_SAVE_EVERY = 50


@dataclass(frozen=True, eq=False)
class Scores:
    """Q of the crops of TrainingData as the joint stage reads it.

    q, held_out_q: float32 [N], NaN where it was not computed. mu, sigma: mean and standard deviation over people whom
    the IQA network did not see.
    """

    q: np.ndarray
    held_out_q: np.ndarray
    mu: float
    sigma: float

    @classmethod
    def of(cls, data: TrainingData, score_of: Mapping[Crop, float], unseen: np.ndarray) -> Scores:
        """From those that are known, and float [N], those of unseen people."""
        q, held_out_q = (
            np.array([score_of.get(crop, np.nan) for crop in crops], dtype=np.float32)
            for crops in (data.crops, data.held_out)
        )
        return cls(q, held_out_q, float(unseen.mean()), float(unseen.std()))

    @classmethod
    def unread(cls, data: TrainingData) -> Scores:
        """Where α does not depend on Q: zeros, and nothing is computed."""
        return cls(np.zeros(len(data.crops), np.float32), np.zeros(len(data.held_out), np.float32), 0.0, 1.0)


def crops_to_score(data: TrainingData, limit: int | None, seed: int) -> tuple[list[Crop], list[Crop]]:
    """(training, held-out) crops that get a Q: all, or `limit` of both, at most a third held out, drawn by `seed`."""
    if limit is None:
        return list(data.crops), list(data.held_out)
    held_out = min(len(data.held_out), max(2, limit // 3))
    generator = np.random.default_rng(seed)
    return (
        _sample(data.crops, limit - held_out, generator),
        _sample(data.held_out, held_out, generator),
    )


def score_crops(
    iqa: IQA, crops: Sequence[Crop], run: Path, *, settings: Settings, fabric: Fabric, console: Console
) -> np.ndarray:
    """float32 [N], Q of each crop, from the pictures as they are, not augmented.

    What was scored before is read from the run, so an interrupted call goes on where it was, with as many processes
    as there are now: each scores its share into a file of its own.
    """
    known, name_of = _read(run), dict(zip(crops, _names(crops), strict=True))
    fabric.barrier()
    todo = [crop for crop in crops if name_of[crop] not in known][fabric.global_rank :: fabric.world_size]
    part = run / _PARTS.replace("*", str(fabric.global_rank))
    mine = _read_file(part)
    pictures = [Spoilt(crop, NONE, 0) for crop in todo]
    seen = seen_in_views(iqa, pictures, settings=settings, device=fabric.device)
    columns = (TextColumn("    Q"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        tracked = progress.track(seen, total=len(todo))
        for done, (crop, (features,)) in enumerate(zip(todo, tracked, strict=True), start=1):
            mine[name_of[crop]] = identifiability(features)
            if done % _SAVE_EVERY == 0 or done == len(todo):
                _write(part, mine)
    fabric.barrier()
    if fabric.is_global_zero:
        _write(run / SCORES_FILE, _read(run))
        for path in run.glob(_PARTS):
            path.unlink()
    fabric.barrier()
    known = _read(run)
    return np.array([known[name_of[crop]] for crop in crops], dtype=np.float32)


def forget_scores(run: Path) -> None:
    for path in (run / SCORES_FILE, *run.glob(_PARTS)):
        path.unlink(missing_ok=True)


def _names(crops: Sequence[Crop]) -> list[str]:
    """What tells each crop from the others: the name of its file, and where two share one, as in a dataset of one's
    own, the path below the folder that all share."""
    names = [crop.path.name for crop in crops]
    if len(set(names)) == len(names):
        return names
    shared = os.path.commonpath([crop.path.parent for crop in crops])
    return [crop.path.relative_to(shared).as_posix() for crop in crops]


def _sample(crops: Sequence[Crop], count: int, generator: np.random.Generator) -> list[Crop]:
    rows = np.sort(generator.permutation(len(crops))[:count])
    return [crops[row] for row in rows]


def _read(run: Path) -> dict[str, float]:
    """All scores of a run, those included that an interrupted call left in parts."""
    scores: dict[str, float] = {}
    for path in (run / SCORES_FILE, *run.glob(_PARTS)):
        scores |= _read_file(path)
    return scores


def _read_file(path: Path) -> dict[str, float]:
    if not path.is_file():
        return {}
    with np.load(path, allow_pickle=False) as stored:
        return dict(zip(stored["names"].tolist(), stored["scores"].tolist(), strict=True))


def _write(path: Path, scores: dict[str, float]) -> None:
    with whole_file(path) as file:
        np.savez(file, names=np.array(list(scores)), scores=np.array(list(scores.values())))
