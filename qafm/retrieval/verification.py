"""One distance threshold for all pairs of pictures: how many pairs it accepts, rightly and wrongly.

A pair is a query and a gallery image that count for each other by the protocol of `qafm.retrieval.ranking`: genuine
where they show one person, an impostor otherwise. Distractors are impostors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qafm.retrieval.descriptors import Descriptors
from qafm.retrieval.distances import Distance, comparable, estimate, from_squares
from qafm.retrieval.ranking import without_junk

FALSE_POSITIVE_RATES = (1e-2, 1e-3, 1e-4)
BLOCK_BYTES = 8 * 1024 * 1024
"""Of the distances of one block of queries; what is picked out of them takes several times as much."""


@dataclass(frozen=True)
class OperatingPoint:
    """Accepting pairs up to the distance `threshold` accepts these fractions of the impostors and of the genuine pairs.

    The threshold is the distance of the last impostor that is accepted.
    """

    false_positive_rate: float
    true_positive_rate: float
    threshold: float


def operating_points(
    query: Descriptors,
    gallery: Descriptors,
    rates: tuple[float, ...] = FALSE_POSITIVE_RATES,
    block_bytes: int = BLOCK_BYTES,
    *,
    distance: Distance = "euclidean",
) -> list[OperatingPoint]:
    """An operating point for each false positive rate that there are enough impostors for.

    Empty where there is no genuine pair. Thresholds are Euclidean distances, or cosine distances 1 - cos. In blocks of
    queries: memory does not grow with the number of pairs. Distances are estimated in float32. Raises as
    `qafm.retrieval.distances.comparable` does.
    """
    query, gallery = comparable(query, gallery, distance)
    (query, _), (gallery, _) = without_junk(query), without_junk(gallery)
    impostors = _impostors(gallery.pids, query.pids)
    accepted = {rate: int(rate * impostors) for rate in rates}
    most = max(accepted.values(), default=0)
    if not most:
        return []
    genuine: list[np.ndarray] = []
    nearest = np.empty(0, np.float32)
    for block in estimate(query.descriptors, gallery.descriptors, block_bytes):
        squares = block.relative
        squares += block.own[:, None]
        same_pid = query.pids[block.rows, None] == gallery.pids
        genuine.append(squares[same_pid & (query.camids[block.rows, None] != gallery.camids)])
        # Of the impostors only the nearest so far can matter.
        nearest = np.concatenate([nearest, squares[~same_pid]])
        if len(nearest) > most:
            nearest = np.partition(nearest, most - 1)[:most]
    matched = np.concatenate(genuine)
    if not len(matched):
        return []
    nearest.sort()
    limits = {rate: nearest[count - 1] for rate, count in accepted.items() if count}
    return [
        OperatingPoint(
            false_positive_rate=rate,
            true_positive_rate=float((matched <= limit).mean()),
            threshold=float(from_squares(limit, distance)),
        )
        for rate, limit in limits.items()
    ]


def _impostors(pids: np.ndarray, asked_pids: np.ndarray) -> int:
    """How many pairs show two people."""
    known, counts = np.unique(pids, return_counts=True)
    count_of = dict(zip(known.tolist(), counts.tolist(), strict=True))
    return sum(len(pids) - count_of.get(pid, 0) for pid in asked_pids.tolist())
