"""Which images there are: one Shot for each file, from the recipe alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qafm.datasets.crops import DISTRACTOR_PID, JUNK_PID, Split
from qafm.datasets.folders import FOLDERS
from synthetic.recipe import Recipe
from synthetic.worlds import WORLDS

_FRAMES_PER_SECOND = 25
# What random numbers are for: no two kinds coincide.
_KINDS = ATTRIBUTES, CAMERAS_SEEN, PERSON, IMAGE, SCENE, STRANGER = range(6)
TRAIN, TEST = 0, 1


@dataclass(frozen=True)
class Shot:
    """One image to draw. `person` seeds who is in it, `index` counts this identity's images in this split."""

    split: Split
    pid: int
    camid: int
    index: int
    path: str
    """Relative to the dataset's folder, with forward slashes."""
    person: tuple[int, ...]


def seed(recipe: Recipe, kind: int, *words: int) -> tuple[int, ...]:
    """The seed of one kind of random numbers, of a thing that `words` number. Other worlds have other ones."""
    return (recipe.seed, kind + len(_KINDS) * WORLDS[recipe.world].number, *words)


def identities(recipe: Recipe) -> tuple[range, range]:
    """The pids of the training and of the test split."""
    first_test = recipe.train_identities + 1
    return range(1, first_test), range(first_test, first_test + recipe.test_identities)


def shots(recipe: Recipe) -> list[Shot]:
    """Every image of the dataset, by identity, so that one person is drawn in one go."""
    train, test = identities(recipe)
    cameras_there = len(WORLDS[recipe.world].cameras)
    planned: list[Shot] = []
    for half, pids, images in ((TRAIN, train, recipe.train_images), (TEST, test, recipe.gallery_images)):
        rng = np.random.default_rng(seed(recipe, CAMERAS_SEEN, half))
        seen_by = _allot(round(len(pids) * recipe.cameras_per_identity), len(pids), 2, cameras_there, rng)
        counts = _allot(images, len(pids), 2, images, rng)
        for pid, cameras, count in zip(pids, seen_by, counts, strict=True):
            camids = rng.permutation(cameras_there)[:cameras] + 1
            # Each camera once, then any of them: so the gallery has every query's identity under two cameras.
            extra = rng.choice(camids, max(0, count - cameras))
            person = seed(recipe, PERSON, int(pid))
            if half == TEST:
                planned += [_shot("query", pid, camid, i, person) for i, camid in enumerate(camids)]
            split: Split = "train" if half == TRAIN else "gallery"
            planned += [_shot(split, pid, camid, i, person) for i, camid in enumerate([*camids[:count], *extra])]
    for pid, count in ((DISTRACTOR_PID, recipe.distractors), (JUNK_PID, recipe.junk)):
        for i in range(count):
            person = seed(recipe, STRANGER, 2 * i + (pid == JUNK_PID))
            planned.append(_shot("gallery", pid, i % cameras_there + 1, i, person))
    return planned


def _shot(split: Split, pid: int, camid: int, index: int, person: tuple[int, ...]) -> Shot:
    name = "-1" if pid == JUNK_PID else f"{pid:04d}"
    sequence = 1 + index % 6
    frame = 151 + _FRAMES_PER_SECOND * (index * 7 % 4000)
    # Two digits for the box as published, and enough frames that no name occurs twice.
    box = 0 if split == "query" else 1 + index // 4000
    file = f"{name}_c{camid}s{sequence}_{frame:06d}_{box:02d}.jpg"
    return Shot(split, int(pid), int(camid), index, f"{FOLDERS[split]}/{file}", person)


def _allot(total: int, parts: int, low: int, high: int, rng: np.random.Generator) -> list[int]:
    """`parts` whole numbers from low to high that sum to `total`, unevenly."""
    shares = np.full(parts, low)
    weights = rng.gamma(12.0, size=parts)
    for _ in range(total - low * parts):
        free = np.where(shares < high, weights, 0)
        cumulative = np.cumsum(free)
        shares[np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right")] += 1
    return shares.tolist()
