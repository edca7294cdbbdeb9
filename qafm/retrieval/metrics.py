"""Retrieval metrics from the ranks of the true matches: CMC, mAP in both of its forms, mINP.

Throughout, `ranks` are those of one query's M true matches, int64 [M], from 1, ascending:
`qafm.retrieval.ranking.match_ranks`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qafm.datasets.crops import JUNK_PID
from qafm.errors import InvalidDescriptors
from qafm.retrieval.bootstrap import RESAMPLES
from qafm.retrieval.descriptors import Descriptors
from qafm.retrieval.distances import Distance
from qafm.retrieval.ranking import match_ranks
from qafm.retrieval.reranking import Reranking, reranked_match_ranks

CMC_LENGTH = 50
_NAMED = {"euclidean": "Euclidean distance", "cosine": "cosine distance (of descriptors brought to length 1)"}


def protocol(distance: Distance = "euclidean") -> str:
    """The protocol in words, for every report of a result."""
    return (
        "Market-1501 single-query. Gallery images with pid -1 (junk) are dropped, pid 0 (distractors) stay. "
        "For each query, gallery images with the same identity and the same camera are left out. The gallery "
        f"is ranked by {_NAMED[distance]}, exactly, ties by gallery order. Rank-k: the first true match is "
        "among the first k. mAP: mean over queries of the mean precision at the true matches. mAP_trapezoid: "
        "the area under the precision-recall curve by trapezoids, as in the original MATLAB code. mINP: mean "
        "of the number of true matches over the rank of the last one. Queries without a true match are left "
        "out of every mean and counted as skipped_queries. Intervals: 95 %, by bootstrap over the identities of the "
        f"queries, {RESAMPLES:,} resamples, percentiles; those of differences are paired."
    )


PROTOCOL = protocol()
"""Of Euclidean distance."""

METRIC_LABELS = {
    "rank1": "Rank-1",
    "rank5": "Rank-5",
    "rank10": "Rank-10",
    "mAP": "mAP",
    "mINP": "mINP",
    "mAP_trapezoid": "mAP (trapezoid)",
}
"""The headline metrics, in the order in which every table shows them."""


@dataclass(frozen=True, eq=False)
class Metrics:
    """The result of ranking a gallery for every query. Means are over the queries that have a true match.

    rank1, rank5, rank10, mAP, mINP, mAP_trapezoid: fractions in [0,1].
    queries: queries that are not junk; skipped_queries: how many of them have no true match; identities: how many
    identities the others are of. gallery: gallery images that are not junk. cmc: float64 [50], cmc[k-1] is Rank-k.
    average_precision: float64 [N], one a row of the query descriptors, NaN where the row is junk or was skipped.
    first_match: int64 [N], the rank of its first true match, from 1; 0 where there is none.
    """

    rank1: float
    rank5: float
    rank10: float
    mAP: float  # noqa: N815, the name every report of this metric uses
    mINP: float  # noqa: N815
    mAP_trapezoid: float  # noqa: N815
    queries: int
    gallery: int
    skipped_queries: int
    identities: int
    cmc: np.ndarray
    average_precision: np.ndarray
    first_match: np.ndarray

    def summary(self) -> dict[str, float | int]:
        """The metrics and the counts by name, for JSON."""
        return {name: value for name, value in vars(self).items() if not isinstance(value, np.ndarray)}


def evaluate(
    query: Descriptors,
    gallery: Descriptors,
    reranking: Reranking | None = None,
    *,
    distance: Distance = "euclidean",
) -> Metrics:
    """Rank the gallery for every query and measure the result, by `protocol`; with `reranking`, by its distances.

    Raises InvalidDescriptors where no query has a true match, and as `qafm.retrieval.distances.comparable` does: for
    descriptors of two models or sizes.
    """
    if reranking:
        ranks = reranked_match_ranks(query, gallery, reranking, distance=distance)
    else:
        ranks = match_ranks(query, gallery, distance=distance)
    evaluated = [row for row, own in enumerate(ranks) if len(own)]
    queries, images = (int(np.count_nonzero(side.pids != JUNK_PID)) for side in (query, gallery))
    if not evaluated:
        raise InvalidDescriptors(
            f"none of the {queries} queries has a true match among the {images} gallery images "
            "(same pid, another camid); expected the query and the gallery of one dataset"
        )
    precision = np.full(len(query), np.nan)
    precision[evaluated] = [average_precision(ranks[row]) for row in evaluated]
    first = np.array([own[0] if len(own) else 0 for own in ranks], dtype=np.int64)
    cmc = (first[evaluated, None] <= np.arange(1, CMC_LENGTH + 1)).mean(axis=0)
    return Metrics(
        rank1=float(cmc[0]),
        rank5=float(cmc[4]),
        rank10=float(cmc[9]),
        mAP=float(precision[evaluated].mean()),
        mINP=float(np.mean([inverse_negative_penalty(ranks[row]) for row in evaluated])),
        mAP_trapezoid=float(np.mean([trapezoid_average_precision(ranks[row]) for row in evaluated])),
        queries=queries,
        gallery=images,
        skipped_queries=queries - len(evaluated),
        identities=len(np.unique(query.pids[evaluated])),
        cmc=cmc,
        average_precision=precision,
        first_match=first,
    )


def average_precision(ranks: np.ndarray) -> float:
    """Mean of the precision at each hit: the i-th hit, at rank r_i, has precision i / r_i. A hit at rank 2:
    0.5."""
    return float(np.mean(np.arange(1, len(ranks) + 1) / ranks))


def trapezoid_average_precision(ranks: np.ndarray) -> float:
    """Area under the precision-recall curve by trapezoids, as Market-1501's MATLAB code has it.

    Each hit adds 1/M of the mean of its precision and the precision one rank before it, which is 1 before the
    first rank. A single hit at rank 2: (0 + 0.5) / 2 = 0.25.
    """
    hits = np.arange(1, len(ranks) + 1)
    before = np.where(ranks == 1, 1.0, (hits - 1) / np.maximum(ranks - 1, 1))
    return float(np.mean((before + hits / ranks) / 2))


def inverse_negative_penalty(ranks: np.ndarray) -> float:
    """Number of true matches over the rank of the last one: 1 when nothing wrong comes before it."""
    return float(len(ranks) / ranks[-1])
