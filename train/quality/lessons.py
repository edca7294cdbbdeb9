"""What a utility is taught on: held-out crops as they are and made worse, described by the finished networks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from rich.console import Console
from rich.progress import track

from qafm.datasets.crops import Crop
from qafm.datasets.degradations import Degradation, undegraded
from qafm.quality import measure
from qafm.utility import direction, numbers
from synthetic.degradation import EVERY_KIND, NONE
from train.networks import Networks
from train.quality.spoilt import Spoilt
from train.quality.utility import Lessons
from train.quality.views import seen_in_views
from train.settings import LessonSettings, Settings

_WEAKEST = 0.05


def draw_pictures(crops: Sequence[Crop], settings: LessonSettings, seed: int) -> list[Spoilt]:
    """Crops drawn by `seed`, each as it is and then its copies, by other kinds of degradation as long as there are."""
    generator = np.random.default_rng(seed)
    taken = [crops[row] for row in np.sort(generator.permutation(len(crops))[: settings.crops])]
    pictures = []
    for crop in taken:
        pictures.append(Spoilt(crop, NONE, 0))
        kinds = generator.permutation(EVERY_KIND).tolist()
        for place in range(settings.copies):
            degradation = Degradation(kinds[place % len(kinds)], float(generator.uniform(_WEAKEST, 1)))
            pictures.append(Spoilt(crop, degradation, int(generator.integers(2**32))))
    return pictures


def of_undegraded(lessons: Lessons, pictures: Sequence[Spoilt], root: Path) -> Lessons:
    """Those of crops with which nothing was wrong before, as far as the dataset at `root` records that."""
    clean = set(undegraded([picture.crop for picture in pictures], root))
    return lessons.of(np.array([picture.crop in clean for picture in pictures]))


def learn(
    networks: Networks, pictures: Sequence[Spoilt], *, settings: Settings, fabric: Fabric, console: Console
) -> Lessons:
    """Describe pictures as they are served, in this process alone; α is that of the mean Q, for all.

    Raises InvalidDataset where a crop cannot be read.
    """
    device = fabric.device
    for network in networks.all():
        network.to(device, memory_format=torch.channels_last).eval()
    branches = networks.apn, networks.semantic
    seen = seen_in_views(networks.iqa, pictures, *branches, settings=settings, device=device)
    qualities, vectors = [], []
    for features, *both in track(seen, "    lessons", total=len(pictures), console=console):
        qualities.append(measure(features))
        vectors.append([torch.from_numpy(vector).to(device) for vector in both])
    with torch.inference_mode():
        mean_q = torch.tensor([np.mean([quality.identifiability for quality in qualities])], device=device)
        alpha = networks.weighting(mean_q.float())
        ends = torch.tensor([0.0, 1.0], device=device)
        descriptors = torch.cat([networks.fusion(*each, alpha) for each in vectors]).cpu().numpy()
        between = [networks.fusion.unscaled(*(vector.expand(2, -1) for vector in each), ends) for each in vectors]
    return Lessons(
        numbers=np.stack([numbers(quality) for quality in qualities]),
        directions=np.stack([direction(quality) for quality in qualities]),
        ends=torch.stack(between).cpu().numpy(),
        descriptors=descriptors,
        pids=np.array([picture.crop.pid for picture in pictures]),
        camids=np.array([picture.crop.camid for picture in pictures]),
        whole=_rows_of_crops(pictures),
        kinds=np.array([picture.degradation.kind for picture in pictures]),
        strengths=np.array([picture.degradation.strength for picture in pictures]),
    )


def _rows_of_crops(pictures: Sequence[Spoilt]) -> np.ndarray:
    """The row of the crop as it is that stands before a copy of it, int [N]; where there is none, its own."""
    rows: list[int] = []
    for row, picture in enumerate(pictures):
        crop = row and pictures[rows[-1]]
        copied = crop and crop.degradation == NONE != picture.degradation and picture.crop == crop.crop
        rows.append(rows[-1] if copied else row)
    return np.array(rows)
