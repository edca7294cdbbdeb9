"""Exact ranks of the true matches of every query.

Market-1501's single-query protocol: the gallery is ordered by distance to the query, ties by place in the gallery;
images of the query's identity taken by the query's own camera are left out; images with pid -1 never count.

A metric needs only the ranks of the true matches, and a rank is a count of closer images. The distances are estimated
first (`qafm.retrieval.distances`) and sorted coarsely, as numbers of 16 bits: what comes well before a true match is
counted, and what comes near it is looked at. Images that the estimate cannot tell from the match are compared again by
sums whose order is fixed: equal descriptors tie exactly, and ranks are the same on every machine and for every block
size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from qafm.datasets.crops import JUNK_PID
from qafm.retrieval.descriptors import Descriptors
from qafm.retrieval.distances import Distance, comparable, estimate, from_squares, squared_distances

BLOCK_BYTES = 32 * 1024 * 1024
"""Memory for the estimated distances of one block of queries."""
_COMPARED_MATCHES = 32
"""How many matches are compared exactly with other images at a time, to bound the memory that takes."""
_LAST_BIN = 2**16 - 1
_NO_RANGE = 1e-30
"""The least range of distances, so that the scale of the bins stays finite."""


@dataclass(frozen=True, eq=False)
class RankedList:
    """The gallery images nearest to one query, nearest first.

    rows: int64 [K], of the gallery descriptors. distances: float64 [K], of the kind that was asked for. matches: bool
    [K], whether an image is a true match.
    """

    rows: np.ndarray
    distances: np.ndarray
    matches: np.ndarray


def match_ranks(
    query: Descriptors, gallery: Descriptors, block_bytes: int = BLOCK_BYTES, *, distance: Distance = "euclidean"
) -> list[np.ndarray]:
    """Ranks of each query's true matches among the gallery images that count for it, from 1.

    Returns one ascending int64 array a query, in the queries' order; it is empty for a query with pid -1 or
    without a true match. Raises as `qafm.retrieval.distances.comparable` does.
    """
    ranks = [np.empty(0, dtype=np.int64)] * len(query)
    query, gallery = comparable(query, gallery, distance)
    gallery, _ = without_junk(gallery)
    for search in _searches(query, gallery, np.arange(len(query)), block_bytes):
        if len(search.matches):
            ranks[search.row] = _ranks(query.descriptors[search.row], gallery.descriptors, search)
    return ranks


def ranked_lists(
    query: Descriptors,
    gallery: Descriptors,
    rows: np.ndarray,
    top: int,
    block_bytes: int = BLOCK_BYTES,
    *,
    distance: Distance = "euclidean",
) -> Iterator[RankedList]:
    """The nearest gallery images of some queries: one list for each of `rows`, in that order.

    rows: int [N], of the query descriptors, none of them junk. A list has the first `top` gallery images that count for
    its query, or all of them where there are fewer. Raises as `match_ranks` does.
    """
    query, gallery = comparable(query, gallery, distance)
    gallery, places = without_junk(gallery)
    for search in _searches(query, gallery, rows, block_bytes):
        last = min(top, int(np.isfinite(search.estimate).sum())) - 1
        limit = np.partition(search.estimate, last)[last] + search.slack if last >= 0 else -np.inf
        candidates = np.flatnonzero(search.estimate <= limit)
        squares = squared_distances(query.descriptors[search.row], gallery.descriptors, candidates)
        order = np.argsort(squares, kind="stable")[:top]
        nearest = candidates[order]
        yield RankedList(places[nearest], from_squares(squares[order], distance), np.isin(nearest, search.matches))


def without_junk(side: Descriptors) -> tuple[Descriptors, np.ndarray]:
    """The images that are not junk, with at least the arrays that ranking needs; and int64 [N], which rows they are."""
    rows = np.flatnonzero(side.pids != JUNK_PID)
    if len(rows) == len(side):
        return side, rows  # hundreds of megabytes that need not be copied
    return Descriptors(side.descriptors[rows], side.pids[rows], side.camids[rows], model=side.model), rows


class _Search(NamedTuple):
    """One query and a gallery of G images without junk.

    row: of the query. estimate: float32 [G], orders the images by their distance to the query; infinite for an image
    that does not count for it. matches: int64 [M], the gallery's rows of the true matches. slack: two estimates that
    differ by less may stand for equal distances.
    """

    row: int
    estimate: np.ndarray
    matches: np.ndarray
    slack: float


def _searches(query: Descriptors, gallery: Descriptors, rows: np.ndarray, block_bytes: int) -> Iterator[_Search]:
    """A search for each of `rows`, int [N], of the query descriptors, in that order. The gallery is without junk."""
    by_pid = np.argsort(gallery.pids, kind="stable")
    pids = gallery.pids[by_pid]
    for block in estimate(query.descriptors[rows], gallery.descriptors, block_bytes):
        asked = rows[block.rows]
        # Where in `by_pid` each query's person stands. A junk query has none: the gallery has no junk.
        first, past = (np.searchsorted(pids, query.pids[asked], side).tolist() for side in ("left", "right"))
        each = zip(asked.tolist(), first, past, block.relative, block.slack.tolist(), strict=True)
        for row, start, stop, distances, slack in each:
            same_pid = by_pid[start:stop]
            same_camera = gallery.camids[same_pid] == query.camids[row]
            distances[same_pid[same_camera]] = np.inf
            yield _Search(row, distances, same_pid[~same_camera], slack)


def _ranks(point: np.ndarray, points: np.ndarray, search: _Search) -> np.ndarray:
    """The ranks of a search's matches among `points`, [G,D], by distance from `point`, [D]: ascending int64 [M]."""
    _, estimated, matches, slack = search
    own = estimated[matches]
    bins, first, last = _in_bins(estimated, own - slack, own + slack)
    # Of 16 bits this is a radix sort, several times as fast as one of the estimates themselves.
    order = np.argsort(bins, kind="stable")
    closer = np.searchsorted(bins, first, side="left", sorter=order)
    past = np.searchsorted(bins, last, side="right", sorter=order)
    unsure = np.flatnonzero(past - closer > 1)
    for start in range(0, len(unsure), _COMPARED_MATCHES):
        chunk = unsure[start : start + _COMPARED_MATCHES]
        which = np.repeat(np.arange(len(chunk)), past[chunk] - closer[chunk])
        candidates = np.concatenate([order[a:b] for a, b in zip(closer[chunk], past[chunk], strict=True)])
        # Where one match is far from all others, a bin holds much that the estimates can tell apart.
        gap = estimated[candidates] - own[chunk][which]
        closer[chunk] += np.bincount(which[gap < -slack], minlength=len(chunk))
        alike = np.abs(gap) <= slack
        which, candidates = which[alike], candidates[alike]
        rows, place = np.unique(candidates, return_inverse=True)
        squares = squared_distances(point, points, rows)
        own_squares = squares[np.searchsorted(rows, matches[chunk])][which]
        before = (squares[place] < own_squares) | (
            (squares[place] == own_squares) & (candidates < matches[chunk][which])
        )
        closer[chunk] += np.bincount(which[before], minlength=len(chunk))
    return np.sort(closer) + 1


def _in_bins(estimated: np.ndarray, nearest: np.ndarray, farthest: np.ndarray) -> list[np.ndarray]:
    """All three, float32 [G], [M] and [M], as uint16: what is larger never has a smaller number. The numbers are as
    fine as they can be between the nearest and the farthest of all; what lies outside has the first or the last."""
    lowest = nearest.min()
    scale = np.float32((_LAST_BIN - 2) / max(farthest.max() - lowest, _NO_RANGE))
    bins = []
    for values in (estimated, nearest, farthest):
        scaled = values - lowest
        scaled *= scale
        scaled += 1
        bins.append(scaled.clip(0, _LAST_BIN, out=scaled).astype(np.uint16))
    return bins
