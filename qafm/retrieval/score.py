"""What `client score` says of descriptors: metrics, one threshold for all pairs, and warnings."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from qafm.retrieval.descriptors import Descriptors
from qafm.retrieval.distances import Distance, length_range
from qafm.retrieval.metrics import Metrics, evaluate, protocol
from qafm.retrieval.reranking import Reranking
from qafm.retrieval.verification import OperatingPoint, operating_points

FORMAT = 2
"""Of the JSON: since 2 it has `distance`, and thresholds are of that distance."""
_SAME_LENGTH = 1.01
"""The longest descriptor over the shortest, up to which they count as of one length."""


@dataclass(frozen=True, eq=False)
class Score:
    """The result of ranking one gallery for all queries by one distance.

    reranked: the metrics after k-reciprocal re-ranking, where asked for. verification: thresholds are of `distance`.
    model: the name of what made the descriptors, where known. warnings: what a person should know before trusting the
    result.
    """

    metrics: Metrics
    reranked: Metrics | None
    verification: list[OperatingPoint]
    distance: Distance
    model: str | None
    warnings: tuple[str, ...]

    def summary(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "format": FORMAT,
            **self.metrics.summary(),
            **reranked_summary(self.reranked),
            "verification": [asdict(point) for point in self.verification],
            "distance": self.distance,
            "protocol": protocol(self.distance),
            **({"model": self.model} if self.model else {}),
        }


def score(query: Descriptors, gallery: Descriptors, *, distance: Distance = "euclidean", rerank: bool = False) -> Score:
    """Rank the gallery for every query and measure the result. Raises as `qafm.retrieval.metrics.evaluate` does."""
    metrics = evaluate(query, gallery, distance=distance)
    shortest, longest = length_range(query, gallery)
    differ = distance == "euclidean" and longest > _SAME_LENGTH * shortest
    warning = (
        f"descriptors are not of one length ({shortest:.3g} to {longest:.3g}): Euclidean and cosine order differ; "
        "--distance cosine ranks by the other"
    )
    return Score(
        metrics=metrics,
        reranked=evaluate(query, gallery, Reranking(), distance=distance) if rerank else None,
        verification=operating_points(query, gallery, distance=distance),
        distance=distance,
        model=query.model or gallery.model,
        warnings=(warning,) if differ else (),
    )


def reranked_summary(reranked: Metrics | None) -> dict[str, Any]:
    """What JSON says of metrics after re-ranking: nothing where that was not asked for."""
    return {"reranked": {**asdict(Reranking()), **reranked.summary()}} if reranked else {}
