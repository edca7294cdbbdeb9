"""What `client score` says of descriptors: metrics, their intervals, one threshold for all pairs, and warnings."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from qafm.datasets.crops import JUNK_PID
from qafm.errors import InvalidDescriptors, InvalidSettings
from qafm.retrieval.abstention import Abstention, abstain, abstention_summary
from qafm.retrieval.bootstrap import Interval
from qafm.retrieval.comparison import (
    Differences,
    differences,
    differences_summary,
    gallery_warning,
    intervals,
    same_queries,
)
from qafm.retrieval.descriptors import Descriptors
from qafm.retrieval.discard import DiscardCurve, discard_curves
from qafm.retrieval.distances import Distance, length_range
from qafm.retrieval.metrics import Metrics, evaluate, protocol
from qafm.retrieval.reranking import Reranking
from qafm.retrieval.verification import OperatingPoint, operating_points

FORMAT = 2
"""Of the JSON: since 2 it has `distance`, and thresholds are of that distance."""
_SAME_LENGTH = 1.01
"""The longest descriptor over the shortest, up to which they count as of one length."""

Vectors = Literal["descriptors", "visual", "semantic"]
VECTORS: tuple[Vectors, ...] = get_args(Vectors)
"""What images can be ranked by: the fused descriptor, or what one of the branches says."""


@dataclass(frozen=True, eq=False)
class Score:
    """The result of ranking one gallery for all queries by one distance.

    intervals: 95 %, of rank1 and mAP. reranked: the metrics after k-reciprocal re-ranking, where asked for. abstained:
    those without the queries of the worst quality, likewise. verification: thresholds are of `distance`. discard: by
    signal of quality, where the queries have any. vectors: what was ranked by. model: the name of what made the
    descriptors, where known. warnings: what a person should know before trusting the result.
    """

    metrics: Metrics
    intervals: dict[str, Interval]
    reranked: Metrics | None
    abstained: Abstention | None
    verification: list[OperatingPoint]
    discard: dict[str, DiscardCurve]
    distance: Distance
    vectors: Vectors
    model: str | None
    warnings: tuple[str, ...]

    def summary(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "format": FORMAT,
            **self.metrics.summary(),
            "intervals": {name: list(ends) for name, ends in self.intervals.items()},
            **reranked_summary(self.reranked),
            **abstention_summary(self.abstained),
            "verification": [asdict(point) for point in self.verification],
            **discard_summary(self.discard),
            "distance": self.distance,
            "vectors": self.vectors,
            "protocol": protocol(self.distance),
            **({"model": self.model} if self.model else {}),
        }


@dataclass(frozen=True, eq=False)
class Comparison:
    """A result beside another one of the same queries.

    differences: by how much its rank1 and mAP exceed the other's, with paired intervals. warnings: what else differs.
    """

    against: Score
    differences: Differences
    warnings: tuple[str, ...]

    def summary(self) -> dict[str, Any]:
        """For JSON, beside the result's own."""
        return {"against": self.against.summary(), "difference": differences_summary(self.differences)}


def score(
    query: Descriptors,
    gallery: Descriptors,
    *,
    distance: Distance = "euclidean",
    vectors: Vectors = "descriptors",
    rerank: bool = False,
    abstaining: float | None = None,
) -> Score:
    """Rank the gallery for every query and measure the result.

    abstaining: also the metrics without this share of the queries, those of the worst quality.
    Raises as `qafm.retrieval.metrics.evaluate` and `qafm.retrieval.abstention.abstain` do, InvalidDescriptors where a
    side lacks the vectors or nobody in the queries is known, and InvalidSettings where they are not one of `VECTORS`.
    """
    query, gallery = _with_vectors("query", query, vectors), _with_vectors("gallery", gallery, vectors)
    if len(query) and (query.pids == JUNK_PID).all():
        raise InvalidDescriptors(
            "every pid is -1: nothing says who is in the queries, so no rank can be right or wrong. Say it when they "
            "are described (`client embed --name-pattern`), or look for one person (`client search`)"
        )
    metrics = evaluate(query, gallery, distance=distance)
    shortest, longest = length_range(query, gallery)
    differ = distance == "euclidean" and longest > _SAME_LENGTH * shortest
    warning = (
        f"descriptors are not of one length ({shortest:.3g} to {longest:.3g}): Euclidean and cosine order differ; "
        "--distance cosine ranks by the other"
    )
    return Score(
        metrics=metrics,
        intervals=intervals(metrics, query.pids),
        reranked=evaluate(query, gallery, Reranking(), distance=distance) if rerank else None,
        abstained=None if abstaining is None else abstain(query, gallery, abstaining, distance=distance),
        verification=operating_points(query, gallery, distance=distance),
        discard=discard_curves(query, metrics),
        distance=distance,
        vectors=vectors,
        model=query.model or gallery.model,
        warnings=(warning,) if differ else (),
    )


def compare(result: Score, query: Descriptors, against: Score, its_query: Descriptors) -> Comparison:
    """Compare a result with another one, query by query. query, its_query: what the two were measured on.

    Raises InvalidDescriptors where the queries are not the same pictures, or one has a true match in one result only.
    """
    rows = same_queries(query, its_query)
    warning = gallery_warning(result.metrics.gallery, against.metrics.gallery)
    return Comparison(
        against=against,
        differences=differences(result.metrics, against.metrics, query.pids, rows),
        warnings=(warning,) if warning else (),
    )


def discard_summary(discard: dict[str, DiscardCurve]) -> dict[str, Any]:
    """What JSON says of discard curves: nothing where the queries have no signal of quality."""
    return {"discard": {name: curve.summary() for name, curve in discard.items()}} if discard else {}


def reranked_summary(reranked: Metrics | None) -> dict[str, Any]:
    """What JSON says of metrics after re-ranking: nothing where that was not asked for."""
    return {"reranked": {**asdict(Reranking()), **reranked.summary()}} if reranked else {}


def _with_vectors(name: str, side: Descriptors, vectors: Vectors) -> Descriptors:
    """The same images with the wanted vectors as their descriptors. name: of the side, for errors."""
    if vectors not in VECTORS:
        raise InvalidSettings(f"the vectors to rank by are {vectors!r}; expected one of {', '.join(VECTORS)}")
    wanted: np.ndarray | None = getattr(side, vectors)
    if wanted is None:
        raise InvalidDescriptors(
            f"the {name} has no array {vectors} to rank by; expected descriptors that `client eval` wrote, which keeps "
            "it. Name such a file, or rank by descriptors"
        )
    return replace(side, descriptors=wanted)
