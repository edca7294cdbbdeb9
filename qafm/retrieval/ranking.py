"""Exact ranks of the true matches of every query, without sorting the gallery.

Market-1501's single-query protocol: the gallery is ordered by Euclidean distance to the query (for
descriptors of length 1 that is the order of cosine distance), ties by place in the gallery; images of the
query's identity taken by the query's own camera are left out; images with pid -1 never count.

A metric needs only the ranks of the true matches, and a rank is a count of closer images. One matrix product
a block of queries estimates all distances in float32. Its last bits depend on the BLAS, its threads and a
row's place in the block, so images that the estimate cannot tell from a true match are compared again by a
sum in float64 whose order is fixed: equal descriptors tie exactly, and ranks are the same on every machine
and for every block size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from qafm.datasets.crops import JUNK_PID
from qafm.errors import InvalidDescriptors
from qafm.retrieval.descriptors import Descriptors

BLOCK_BYTES = 32 * 1024 * 1024
"""Memory for the estimated distances of one block of queries."""
_COMPARED_ROWS = 1024
_COMPARED_MATCHES = 32
"""How many rows are compared in float64 at a time, and for how many matches, to bound the memory that
takes."""


@dataclass(frozen=True, eq=False)
class RankedList:
    """The gallery images nearest to one query, nearest first.

    rows: int64 [K], of the gallery descriptors. distances: float64 [K], Euclidean. matches: bool [K], whether an image
    is a true match.
    """

    rows: np.ndarray
    distances: np.ndarray
    matches: np.ndarray


def match_ranks(query: Descriptors, gallery: Descriptors, block_bytes: int = BLOCK_BYTES) -> list[np.ndarray]:
    """Ranks of each query's true matches among the gallery images that count for it, from 1.

    Returns one ascending int64 array a query, in the queries' order; it is empty for a query with pid -1 or
    without a true match. Raises InvalidDescriptors when the descriptors of query and gallery differ in
    length.
    """
    ranks = [np.empty(0, dtype=np.int64)] * len(query)
    gallery, _ = without_junk(gallery)
    for row, estimate, matches, slack in _estimates(query, gallery, np.arange(len(query)), block_bytes):
        if len(matches):
            ranks[row] = _ranks(query.descriptors[row], gallery.descriptors, estimate, matches, slack)
    return ranks


def ranked_lists(
    query: Descriptors, gallery: Descriptors, rows: np.ndarray, top: int, block_bytes: int = BLOCK_BYTES
) -> Iterator[RankedList]:
    """For each of some queries in turn, the first `top` gallery images of those that count for it.

    rows: int [N], of the query descriptors, none of them junk. Raises as `match_ranks` does.
    """
    gallery, places = without_junk(gallery)
    for row, estimate, matches, slack in _estimates(query, gallery, rows, block_bytes):
        last = min(top, int(np.isfinite(estimate).sum())) - 1
        limit = np.partition(estimate, last)[last] + slack if last >= 0 else -np.inf
        candidates = np.flatnonzero(estimate <= limit)
        squares = _squared_distances(query.descriptors[row], gallery.descriptors, candidates)
        order = np.argsort(squares, kind="stable")[:top]
        found = candidates[order]
        yield RankedList(places[found], np.sqrt(squares[order]), np.isin(found, matches))


def without_junk(side: Descriptors) -> tuple[Descriptors, np.ndarray]:
    """The images that count, at least with what ranking needs of them, and int64 [N], which rows they are."""
    rows = np.flatnonzero(side.pids != JUNK_PID)
    if len(rows) == len(side):
        return side, rows  # hundreds of megabytes that need not be copied
    return Descriptors(side.descriptors[rows], side.pids[rows], side.camids[rows]), rows


def _estimates(
    query: Descriptors, gallery: Descriptors, rows: np.ndarray, block_bytes: int
) -> Iterator[tuple[int, np.ndarray, np.ndarray, float]]:
    """For each of some queries: its row, what orders a gallery without junk, its true matches there, and the slack.

    What orders is float32 [G], the squared distances less the query's own square; infinite where an image does not
    count for the query.
    """
    size, gallery_size = query.descriptors.shape[1], gallery.descriptors.shape[1]
    if size != gallery_size:
        raise InvalidDescriptors(
            f"query descriptors have {size} numbers, gallery descriptors {gallery_size}; "
            "expected both from the same model"
        )
    if not len(gallery):
        return
    # Without its junk the gallery has no match for a junk query either.
    points, pids, camids = gallery.descriptors, gallery.pids, gallery.camids

    # Descriptors that are all alike would drown in their common part: differences from the centre keep the
    # estimate sharp. Rounding them is an error of the same kind as the product's, and within the slack.
    centre = points.mean(axis=0, dtype=np.float64).astype(np.float32)
    centred = points - centre
    squares = np.einsum("gd,gd->g", centred, centred, dtype=np.float64).astype(np.float32)
    longest = float(np.sqrt(squares.max()))

    block = max(1, block_bytes // (4 * len(points)))
    for start in range(0, len(rows), block):
        block_rows = rows[start : start + block]
        block_centred = query.descriptors[block_rows] - centre
        estimates = block_centred @ centred.T
        estimates *= -2
        estimates += squares
        lengths = np.linalg.norm(block_centred, axis=1)
        for row, estimate, length in zip(block_rows.tolist(), estimates, lengths, strict=True):
            same_pid = pids == query.pids[row]
            same_camera = camids == query.camids[row]
            estimate[same_pid & same_camera] = np.inf
            yield row, estimate, np.flatnonzero(same_pid & ~same_camera), _slack(size, float(length), longest)


def _slack(size: int, length: float, longest: float) -> float:
    """How far two estimates may be apart although the distances they stand for are equal.

    Rounding errors of a sum are a random walk: a product of `size` terms in float32 is off by at most about
    sqrt(size) / 3 roundings of length * longest (one standard deviation, partial sums growing all the way).
    An estimate holds it twice, and two are compared: 0.94 of them. This is more than four standard
    deviations; what is added is a bound on the few other roundings.
    """
    rounding = 2.0**-24
    return rounding * longest * ((4 * math.sqrt(size) + 16) * length + 8 * longest)


def _ranks(
    point: np.ndarray, points: np.ndarray, estimate: np.ndarray, matches: np.ndarray, slack: float
) -> np.ndarray:
    """Ascending int64 [M], the ranks of `matches`, rows of `points` [G,D], by distance from `point` [D]."""
    ordered = np.sort(estimate)
    closer = np.searchsorted(ordered, estimate[matches] - slack, side="left")
    unsure = np.flatnonzero(np.searchsorted(ordered, estimate[matches] + slack, side="right") - closer > 1)
    for start in range(0, len(unsure), _COMPARED_MATCHES):
        chunk = unsure[start : start + _COMPARED_MATCHES]
        own = matches[chunk, None]
        near = (estimate >= estimate[own] - slack) & (estimate <= estimate[own] + slack)
        # Much faster than np.nonzero in two dimensions.
        which, candidates = np.divmod(np.flatnonzero(near), len(points))
        rows, place = np.unique(candidates, return_inverse=True)
        distances = _squared_distances(point, points, rows)
        own_distances = distances[np.searchsorted(rows, matches[chunk])][which]
        before = (distances[place] < own_distances) | (
            (distances[place] == own_distances) & (candidates < matches[chunk][which])
        )
        closer[chunk] += np.bincount(which[before], minlength=len(chunk))
    return np.sort(closer) + 1


def _squared_distances(point: np.ndarray, points: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """float64 [len(rows)]: each is one sum in an order that depends on D alone."""
    distances = np.empty(len(rows))
    for start in range(0, len(rows), _COMPARED_ROWS):
        chunk = slice(start, start + _COMPARED_ROWS)
        difference = np.subtract(points[rows[chunk]], point, dtype=np.float64)
        distances[chunk] = np.square(difference, out=difference).sum(axis=1)
    return distances
