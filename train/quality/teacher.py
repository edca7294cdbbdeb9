"""What teaches the quality network: what the 35 views say of training crops, and of strangers made of two of these, as
they are and made worse at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from lightning_fabric import Fabric
from rich.console import Console
from rich.progress import track

from qafm.contract import FEATURE_SIZE, PERTURBATION_COUNT
from qafm.datasets.crops import Crop
from qafm.datasets.degradations import Degradation
from qafm.quality import Quality, measure
from synthetic.degradation import NONE
from train.files import whole_file
from train.networks import IQA
from train.quality.spoilt import Spoilt, Stranger
from train.quality.views import seen_in_views
from train.settings import QualitySettings, Settings

TEACHER_FILE = "teacher.npz"
_SAVE_EVERY = 200
_AS_THEY_ARE = 0.2
"""So many pictures are not made worse."""
_STRANGERS = 0.5
"""So many are of strangers: the IQA network knows the people of the training split, and not those whom it serves."""
_WEAKEST = 0.05


@dataclass(frozen=True, eq=False)
class Answers:
    """What the views of N pictures say: identifiability float32 [N], scatter float32 [N,34], and of each picture itself
    the features, original float16 [N,2048]."""

    identifiability: np.ndarray
    scatter: np.ndarray
    original: np.ndarray

    @property
    def qualities(self) -> list[Quality]:
        """As a weighting and a utility read them."""
        return [Quality(float(q), *rest) for q, *rest in zip(*vars(self).values(), strict=True)]


def draw_pictures(crops: Sequence[Crop], settings: QualitySettings, seed: int) -> list[Spoilt]:
    """`settings.pictures` of them: crops by turns, half of them made strangers; a fifth of all as they are, the others
    worse by a random kind and strength.

    Of a larger number the first ones are the same.
    """
    generator = np.random.default_rng(seed)
    pictures, deck = list[Spoilt](), list[int]()
    for _ in range(settings.pictures):
        deck = deck or generator.permutation(len(crops)).tolist()
        kind, strength = str(generator.choice(settings.kinds)), float(generator.uniform(_WEAKEST, 1))
        degradation = NONE if generator.random() < _AS_THEY_ARE else Degradation(kind, strength)
        upper, lower = crops[deck.pop()], crops[int(generator.integers(len(crops)))]
        seed_of_picture = int(generator.integers(2**32))
        if generator.random() < _STRANGERS:
            pictures.append(Stranger(upper, degradation, seed_of_picture, lower))
        else:
            pictures.append(Spoilt(upper, degradation, seed_of_picture))
    return pictures


def ask(
    iqa: IQA, pictures: Sequence[Spoilt], run: Path, *, settings: Settings, fabric: Fabric, console: Console
) -> Answers:
    """What the finished IQA network makes of pictures, in this process alone.

    What it was asked before is read from the run, so an interrupted call goes on where it was. Raises InvalidDataset
    where a crop cannot be read.
    """
    names = np.array([_name(picture) for picture in pictures])
    known = _read(run / TEACHER_FILE, names)
    done = len(known.scatter)
    found: list[Quality] = []
    seen = seen_in_views(iqa, pictures[done:], settings=settings, device=fabric.device)
    for (features,) in track(seen, "    35 views", total=len(pictures), completed=done, console=console):
        found.append(measure(features))
        # Each time all is written anew: forty thousand answers are 180 MB.
        if len(found) >= max(_SAVE_EVERY, done // 10) or done + len(found) == len(pictures):
            known, found = _joined(known, found), []
            done = len(known.scatter)
            with whole_file(run / TEACHER_FILE) as file:
                np.savez(file, names=names[:done], **vars(known))
    return known


def _name(picture: Spoilt) -> str:
    """What tells a picture from every other one of the run."""
    lower = picture.lower.path.name if isinstance(picture, Stranger) else ""
    return f"{picture.crop.path.name} {lower} {picture.degradation} {picture.seed}"


def forget_answers(run: Path) -> None:
    (run / TEACHER_FILE).unlink(missing_ok=True)


def _read(path: Path, names: np.ndarray) -> Answers:
    """The answers that are kept for the first of the pictures."""
    if not path.is_file():
        return Answers(
            np.zeros(0, np.float32), np.zeros((0, PERTURBATION_COUNT), np.float32), np.zeros((0, FEATURE_SIZE))
        )
    with np.load(path, allow_pickle=False) as stored:
        kept = stored["names"][: len(names)]
        differing = np.flatnonzero(kept != names[: len(kept)])
        same = int(differing[0]) if len(differing) else len(kept)
        return Answers(*(stored[name][:same] for name in ("identifiability", "scatter", "original")))


def _joined(known: Answers, found: Sequence[Quality]) -> Answers:
    return Answers(
        np.append(known.identifiability, np.array([quality.identifiability for quality in found], np.float32)),
        np.concatenate([known.scatter, np.stack([quality.scatter for quality in found])]),
        np.concatenate([known.original, np.stack([quality.original for quality in found])]).astype(np.float16),
    )
