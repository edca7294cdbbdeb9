"""What quality is judged on: test pictures as they are, the same ones worse and worse, and walks of four."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qafm.datasets.crops import Crop
from qafm.datasets.degradations import Degradation
from synthetic.degradation import EVERY_KIND, NONE
from train.quality.spoilt import Spoilt

STRENGTHS = (0.2, 0.4, 0.6, 0.8, 1.0)
"""Of a ladder."""
LADDERS = 40
WALKS, WALK = 640, 4
"""How many walks, and of how many pictures each."""


def as_they_are(crops: Sequence[Crop]) -> list[Spoilt]:
    return [Spoilt(crop, NONE, 0) for crop in crops]


def ladders(crops: Sequence[Crop], seed: int) -> list[Spoilt]:
    """Of LADDERS people one crop as it is, and then at each strength of each kind."""
    generator = np.random.default_rng(seed)
    pictures = []
    for crop in _one_each(crops, LADDERS, generator):
        pictures.append(Spoilt(crop, NONE, 0))
        for kind in EVERY_KIND:
            noise = int(generator.integers(2**32))
            pictures.extend(Spoilt(crop, Degradation(kind, strength), noise) for strength in STRENGTHS)
    return pictures


def walks(crops: Sequence[Crop], seed: int, *, severe: bool) -> list[Spoilt]:
    """WALKS people, one walk each, its WALK pictures after each other: their crops before one camera in turns, by a
    random kind of any strength; with `severe` two of the four are strong (above 2/3) and two hardly (below 1/3)."""
    generator = np.random.default_rng([seed, int(severe)])
    places: dict[tuple[int, int], list[Crop]] = {}
    for crop in crops:
        places.setdefault((crop.pid, crop.camid), []).append(crop)
    # Where a person has most pictures; of equals, the first.
    best: dict[int, list[Crop]] = {}
    for (pid, _), found in sorted(places.items()):
        if len(found) > len(best.get(pid, ())):
            best[pid] = found
    people = np.sort(generator.permutation(sorted(best))[:WALKS]).tolist()
    pictures = []
    for pid in people:
        ranges = [(0.05, 1.0)] * WALK
        if severe:
            ranges = [(0.05, 1 / 3), (0.05, 1 / 3), (2 / 3, 1.0), (2 / 3, 1.0)]
            generator.shuffle(ranges)
        for place, (low, high) in enumerate(ranges):
            degradation = Degradation(str(generator.choice(EVERY_KIND)), float(generator.uniform(low, high)))
            pictures.append(Spoilt(best[pid][place % len(best[pid])], degradation, int(generator.integers(2**32))))
    return pictures


def _one_each(crops: Sequence[Crop], count: int, generator: np.random.Generator) -> list[Crop]:
    drawn = [crops[row] for row in generator.permutation(len(crops))]
    one_each = {crop.pid: crop for crop in drawn}
    return list(one_each.values())[:count]
