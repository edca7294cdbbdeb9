"""Which camera is hard to match with which: the metrics of every pair of cameras by itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qafm.retrieval.descriptors import Descriptors
from qafm.retrieval.distances import Distance
from qafm.retrieval.metrics import average_precision
from qafm.retrieval.ranking import match_ranks

MOST = 20
"""More cameras make no table that anybody reads; where each picture is its own camera there would be thousands."""


@dataclass(frozen=True, eq=False)
class CameraPairs:
    """The queries of each camera, looked for among the gallery images of each other camera alone.

    asked, searched: int64 [A], [B], the camids of queries and of gallery images, ascending. mAP: float64 [A,B], NaN
    where no query has a true match there. queries: int64 [A,B], how many have one.
    """

    asked: np.ndarray
    searched: np.ndarray
    mAP: np.ndarray  # noqa: N815
    queries: np.ndarray


def camera_pairs(query: Descriptors, gallery: Descriptors, *, distance: Distance = "euclidean") -> CameraPairs | None:
    """None where either side has more than MOST cameras. Raises as `qafm.retrieval.ranking.match_ranks` does."""
    asked, searched = np.unique(query.camids), np.unique(gallery.camids)
    if max(len(asked), len(searched)) > MOST:
        return None
    reached = np.full((len(asked), len(searched)), np.nan)
    queries = np.zeros_like(reached, np.int64)
    sides = [[_of_camera(side, camid) for camid in camids] for side, camids in ((query, asked), (gallery, searched))]
    for row, ours in enumerate(sides[0]):
        for column, theirs in enumerate(sides[1]):
            ranks = [each for each in match_ranks(ours, theirs, distance=distance) if len(each)]
            queries[row, column] = len(ranks)
            if ranks:
                reached[row, column] = np.mean([average_precision(each) for each in ranks])
    return CameraPairs(asked, searched, reached, queries)


def _of_camera(side: Descriptors, camid: int) -> Descriptors:
    rows = side.camids == camid
    return Descriptors(side.descriptors[rows], side.pids[rows], side.camids[rows], model=side.model)
