"""Q of training crops, with the code that serves (`qafm.perturbations`, `qafm.identifiability`), kept in the run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from qafm.identifiability import identifiability
from qafm.market1501 import Crop
from qafm.perturbations import views
from train.data import TrainingData, read_crop
from train.networks import IQA, Pixels
from train.precision import autocast

SCORES_FILE = "identifiability.npz"
_SAVE_EVERY = 50


def crops_to_score(data: TrainingData, limit: int | None, seed: int) -> tuple[list[Crop], list[Crop]]:
    """(training, held-out) crops that get a Q: all, or `limit` in all, a third of them held out, drawn by `seed`."""
    if limit is None:
        return list(data.crops), list(data.held_out)
    held_out = min(len(data.held_out), max(2, limit // 3))
    generator = np.random.default_rng(seed)
    return (
        _sample(data.crops, limit - held_out, generator),
        _sample(data.held_out, held_out, generator),
    )


def score_crops(
    iqa: IQA, crops: Sequence[Crop], run: Path, *, precision: str, device: torch.device, console: Console
) -> np.ndarray:
    """float32 [N], Q of each crop, from the pictures as they are, not augmented.

    What was scored before is read from the run, so an interrupted call goes on where it was.
    """
    known = _read(run / SCORES_FILE)
    pixels = Pixels().to(device)
    iqa.to(device, memory_format=torch.channels_last).eval()
    todo = [crop for crop in crops if crop.path.name not in known]
    columns = (TextColumn("    Q"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress, torch.inference_mode():
        for done, crop in enumerate(progress.track(todo), start=1):
            seen = torch.from_numpy(views(read_crop(crop))).to(device)
            with autocast(precision, device):
                features = iqa(pixels(seen))
            known[crop.path.name] = identifiability(features.float().cpu().numpy())
            if done % _SAVE_EVERY == 0 or done == len(todo):
                _write(run / SCORES_FILE, known)
    return np.array([known[crop.path.name] for crop in crops], dtype=np.float32)


def _sample(crops: Sequence[Crop], count: int, generator: np.random.Generator) -> list[Crop]:
    rows = np.sort(generator.permutation(len(crops))[:count])
    return [crops[row] for row in rows]


def _read(path: Path) -> dict[str, float]:
    if not path.is_file():
        return {}
    with np.load(path, allow_pickle=False) as stored:
        return dict(zip(stored["names"].tolist(), stored["scores"].tolist(), strict=True))


def _write(path: Path, scores: dict[str, float]) -> None:
    unfinished = path.with_suffix(".partial.npz")
    np.savez(unfinished, names=np.array(list(scores)), scores=np.array(list(scores.values())))
    unfinished.replace(path)
