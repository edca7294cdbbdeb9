"""Which crops a report shows: whom the server takes for whom, and which pictures it calls good and poor."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qafm.retrieval.descriptors import Descriptors
from qafm.retrieval.discard import quality_signals
from qafm.retrieval.metrics import Metrics
from qafm.retrieval.ranking import ranked_lists

LIST_LENGTH = 10
EXTREMES = 8
MOST_LISTS = 350
"""Of identities that the report shows; of more, the worst. Eleven pictures each, of 2 kB: a page that can be mailed."""
BEST = 6
"""How many queries of the highest average precision are shown."""


@dataclass(frozen=True)
class Listed:
    """An image of the gallery in a ranked list. distance: Euclidean, from 0 to 2. match: whether it is the person."""

    path: str
    camid: int
    distance: float
    match: bool


@dataclass(frozen=True)
class OtherQuery:
    """Another query of the same person. average_precision: in [0,1]. first_match: its rank, from 1."""

    path: str
    camid: int
    average_precision: float
    first_match: int


@dataclass(frozen=True)
class RankedQuery:
    """A query and what is nearest to it in the gallery.

    average_precision: in [0,1], over the whole gallery. first_match: the rank of its first true match, from 1. others:
    the other queries of the person.
    """

    path: str
    pid: int
    camid: int
    average_precision: float
    first_match: int
    nearest: tuple[Listed, ...]
    others: tuple[OtherQuery, ...] = ()


@dataclass(frozen=True)
class Scored:
    """An image, and what a signal says of its quality: higher is better."""

    path: str
    quality: float


@dataclass(frozen=True)
class Examples:
    """What to show of a dataset at `root`; paths are relative to it.

    queries: of each identity the query with the lowest average precision, the lowest of all first, at most MOST_LISTS.
    identities: how many there are. best: queries with the highest, of as many identities. signal: the name of what says
    the quality of images, as `qafm.retrieval.discard.quality_signals` has it; None where nothing does. finest, poorest:
    images by it, the extreme first.
    """

    root: Path
    queries: tuple[RankedQuery, ...]
    identities: int
    best: tuple[RankedQuery, ...] = ()
    signal: str | None = None
    finest: tuple[Scored, ...] = ()
    poorest: tuple[Scored, ...] = ()


def choose_examples(root: Path, query: Descriptors, gallery: Descriptors, metrics: Metrics) -> Examples:
    """metrics: of this query and gallery, which must have paths."""
    assert query.paths is not None and gallery.paths is not None, "described images have paths"
    worst = worst_of_each_identity(query.pids, metrics.average_precision)
    shown = worst[:MOST_LISTS]
    best = worst_of_each_identity(query.pids, -metrics.average_precision)[:BEST]
    lists = [
        replace(ranked, others=_others(query, metrics, row))
        for row, ranked in zip(shown.tolist(), _ranked(query, gallery, metrics, shown), strict=True)
    ]
    examples = Examples(root, tuple(lists), len(worst), tuple(_ranked(query, gallery, metrics, best)))
    ours, theirs = quality_signals(query), quality_signals(gallery)
    signal = next((name for name in ours if name in theirs), None)
    if signal is None:
        return examples
    scores, paths = np.concatenate([ours[signal], theirs[signal]]), np.concatenate([query.paths, gallery.paths])
    order = np.argsort(scores, kind="stable")
    poorest, finest = (
        tuple(Scored(str(paths[row]), float(scores[row])) for row in extreme)
        for extreme in (order[:EXTREMES], order[::-1][:EXTREMES])
    )
    return replace(examples, signal=signal, finest=finest, poorest=poorest)


def worst_of_each_identity(pids: NDArray[np.int64], average_precision: NDArray[np.float64]) -> NDArray[np.intp]:
    """For each pid its row of the lowest average precision, the lowest of all first. Rows of NaN do not count."""
    rows = np.flatnonzero(~np.isnan(average_precision))
    rows = rows[np.argsort(average_precision[rows], kind="stable")]
    _, first = np.unique(pids[rows], return_index=True)
    return rows[np.sort(first)]


def _ranked(query: Descriptors, gallery: Descriptors, metrics: Metrics, rows: NDArray[np.intp]) -> list[RankedQuery]:
    """The queries of some rows, with their lists."""
    assert query.paths is not None and gallery.paths is not None
    return [
        RankedQuery(
            path=str(query.paths[row]),
            pid=int(query.pids[row]),
            camid=int(query.camids[row]),
            average_precision=float(metrics.average_precision[row]),
            first_match=int(metrics.first_match[row]),
            nearest=tuple(
                Listed(str(gallery.paths[place]), int(gallery.camids[place]), float(distance), bool(match))
                for place, distance, match in zip(ranked.rows, ranked.distances, ranked.matches, strict=True)
            ),
        )
        for row, ranked in zip(rows, ranked_lists(query, gallery, rows, LIST_LENGTH), strict=True)
    ]


def _others(query: Descriptors, metrics: Metrics, row: int) -> tuple[OtherQuery, ...]:
    """The other queries of the person in a row, the worst first."""
    assert query.paths is not None
    same = np.flatnonzero((query.pids == query.pids[row]) & ~np.isnan(metrics.average_precision))
    same = same[same != row]
    return tuple(
        OtherQuery(
            str(query.paths[other]),
            int(query.camids[other]),
            float(metrics.average_precision[other]),
            int(metrics.first_match[other]),
        )
        for other in same[np.argsort(metrics.average_precision[same], kind="stable")]
    )
