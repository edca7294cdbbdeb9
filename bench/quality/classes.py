"""How much an α could gain that knew what is wrong with each picture.

It is chosen by kind and strength on half of the people, and judged on the other half.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from itertools import product

import numpy as np

from qafm.datasets.degradations import LEVELS, Degradation, level
from qafm.retrieval.bootstrap import Difference, difference
from train.quality.alpha import CONSTANTS

SWEEPS = 2
"""So often each class gets its best α, all others kept."""


@dataclass(frozen=True, eq=False)
class Side:
    """N pictures: `ends` float [N,2,D], the descriptor at α = 0 and 1 before it gets length 1; pids, camids int [N];
    classes int [N], what is wrong with each."""

    ends: np.ndarray
    pids: np.ndarray
    camids: np.ndarray
    classes: np.ndarray

    def of(self, rows: np.ndarray) -> Side:
        return Side(self.ends[rows], self.pids[rows], self.camids[rows], self.classes[rows])


def classes_of(recorded: Sequence[Degradation]) -> np.ndarray:
    """A number for each kind and level of strength, int [N]; 0 is nothing."""
    kinds = sorted({each.kind for each in recorded if each.strength})
    places = {found: number for number, found in enumerate(product(kinds, LEVELS[1:]), start=1)}
    return np.array([places[each.kind, level(each.strength)] if each.strength else 0 for each in recorded])


class Ranking:
    """Average precision of every query by any α of each picture, many times: products of all ends are kept.

    Needs 4 Q G numbers of 4 bytes.
    """

    def __init__(self, query: Side, gallery: Side) -> None:
        self.query, self.gallery = query, gallery
        self.products = np.stack(
            [query.ends[:, one].astype(np.float32) @ gallery.ends[:, other].T.astype(np.float32)
             for one in (0, 1) for other in (0, 1)]
        )  # fmt: skip
        same = query.pids[:, None] == gallery.pids
        self.matches = same & (query.camids[:, None] != gallery.camids)
        self.ignored = same & ~self.matches

    def of(self, queries: np.ndarray) -> Ranking:
        """Of some of the queries."""
        part = copy(self)
        part.query, part.products = self.query.of(queries), self.products[:, queries]
        part.matches, part.ignored = self.matches[queries], self.ignored[queries]
        return part

    def precisions(self, of_query: np.ndarray, of_gallery: np.ndarray) -> np.ndarray:
        """α of each picture, float [Q] and [G], to float64 [Q], NaN without a match."""
        (none, all_), (left, right) = _weights(self.query, of_query), _weights(self.gallery, of_gallery)
        cosines = (
            np.outer(none, left) * self.products[0]
            + np.outer(none, right) * self.products[1]
            + np.outer(all_, left) * self.products[2]
            + np.outer(all_, right) * self.products[3]
        )
        cosines[self.ignored] = -np.inf
        found = np.full(len(cosines), np.nan)
        for row, (near, matches) in enumerate(zip(cosines, self.matches, strict=True)):
            if matches.any():
                own = np.sort(near[matches])[::-1]
                ahead = len(near) - np.searchsorted(np.sort(near), own, side="left")
                found[row] = (np.arange(1, len(own) + 1) / ahead).mean()
        return found


def chosen_by_class(ranking: Ranking, people: np.ndarray) -> np.ndarray:
    """α of each class, float [K], that is best for the queries of `people`, class by class from the best constant."""
    asked = ranking.of(np.isin(ranking.query.pids, people))
    count = 1 + max(ranking.query.classes.max(), ranking.gallery.classes.max())

    def worth(alpha: np.ndarray) -> float:
        return float(np.nanmean(asked.precisions(alpha[asked.query.classes], alpha[asked.gallery.classes])))

    best = np.full(count, max(CONSTANTS, key=lambda each: worth(np.full(count, each))))
    for _ in range(SWEEPS):
        for place in range(count):
            tried = np.repeat(best[None], len(CONSTANTS), axis=0)
            tried[:, place] = CONSTANTS
            best = max(tried, key=worth)
    return best


@dataclass(frozen=True)
class Premise:
    """mAP of the best constant in hindsight, and what α by class gains over it on people who did not choose it."""

    constant: float
    mAP: float  # noqa: N815
    gain: Difference


def premise(ranking: Ranking) -> Premise:
    """Each half of the people chooses for the other."""
    pids = ranking.query.pids
    people = np.random.default_rng(0).permutation(np.unique(pids))
    halves = people[: len(people) // 2], people[len(people) // 2 :]
    by_class = np.full(len(pids), np.nan)
    for chooses, asked in (halves, halves[::-1]):
        alpha = chosen_by_class(ranking, chooses)
        rows = np.isin(pids, asked)
        by_class[rows] = ranking.precisions(alpha[ranking.query.classes], alpha[ranking.gallery.classes])[rows]
    each = [
        ranking.precisions(np.full(len(pids), alpha), np.full(len(ranking.gallery.pids), alpha)) for alpha in CONSTANTS
    ]
    best = int(np.argmax([np.nanmean(precision) for precision in each]))
    return Premise(float(CONSTANTS[best]), float(np.nanmean(each[best])), difference(by_class, each[best], pids))


def _weights(side: Side, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the two ends count in a descriptor of length 1, float32 [N] each."""
    mixed = alpha[:, None] * side.ends[:, 1] + (1 - alpha[:, None]) * side.ends[:, 0]
    lengths = np.maximum(np.linalg.norm(mixed, axis=1), 1e-12)
    return ((1 - alpha) / lengths).astype(np.float32), (alpha / lengths).astype(np.float32)
