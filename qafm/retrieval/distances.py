"""Distances between descriptors, for ranking, verification and search.

There are two ways to compute them. `estimate` takes matrix products in float32: fast enough for every query against
every gallery image, but its last bits depend on the BLAS, its threads and a row's place in the block.
`squared_distances` sums in float64 in a fixed order: slower, and the same on every machine, so equal descriptors are
at equal distances.

Cosine distance orders descriptors as Euclidean distance does once they have length 1, since then d² = 2 (1 - cos).
So `comparable` brings them to length 1, and everything after it is Euclidean; `from_squares` gives what to report.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from qafm.datasets.crops import JUNK_PID
from qafm.errors import InvalidDescriptors, InvalidSettings
from qafm.retrieval.descriptors import Descriptors, require_one_model

Distance = Literal["euclidean", "cosine"]
DISTANCES: tuple[Distance, ...] = get_args(Distance)

_FARTHEST = 1e18
"""Squares of larger distances, and sums of them, may be beyond float32."""
_CHUNK_ROWS = 1024
"""How many descriptors are turned into float64 at a time, to bound the memory that takes."""


def comparable(query: Descriptors, gallery: Descriptors, distance: Distance) -> tuple[Descriptors, Descriptors]:
    """Query and gallery such that their Euclidean distances give the order by `distance`.

    By cosine distance every descriptor is brought to length 1; those of junk images may be all zeros, and then stay so.
    Raises InvalidDescriptors where the two are of different models or sizes, or a descriptor has no direction, and
    InvalidSettings for an unknown distance.
    """
    if distance not in DISTANCES:
        raise InvalidSettings(f"distance is {distance!r}; expected one of {', '.join(DISTANCES)}")
    require_one_model(query.model, gallery.model)
    size, gallery_size = query.descriptors.shape[1], gallery.descriptors.shape[1]
    if size != gallery_size:
        raise InvalidDescriptors(
            f"query descriptors have {size} numbers, gallery descriptors {gallery_size}; "
            "expected both from the same model"
        )
    if distance == "euclidean":
        return query, gallery
    return _of_length_one("query", query), _of_length_one("gallery", gallery)


def from_squares(squares: np.ndarray, distance: Distance) -> np.ndarray:
    """The distances to report for squared Euclidean distances of comparable descriptors.

    A square that rounding made negative counts as 0.
    Euclidean: the root. Cosine: 1 - cos, which is half the square, from 0 to 2.
    """
    squares = np.maximum(squares, 0)
    return squares / 2 if distance == "cosine" else np.sqrt(squares)


def length_range(*sides: Descriptors) -> tuple[float, float]:
    """The shortest and the longest length of all descriptors that are not of junk; (0, 0) where there are none."""
    lengths = np.concatenate([_lengths(side.descriptors)[side.pids != JUNK_PID] for side in sides])
    return (float(lengths.min()), float(lengths.max())) if len(lengths) else (0.0, 0.0)


def squared_distances(point: np.ndarray, points: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
    """Squared Euclidean distances of `point`, float32 [D], from `points`, float32 [N,D]: float64 [N].

    rows: int [M], of the points that are wanted; then float64 [M]. Each is one sum in an order that depends on D alone.
    """
    count = len(points if rows is None else rows)
    squares = np.empty(count)
    for start in range(0, count, _CHUNK_ROWS):
        chunk = slice(start, start + _CHUNK_ROWS)
        wanted = points[chunk] if rows is None else points[rows[chunk]]
        difference = np.subtract(wanted, point, dtype=np.float64)
        squares[chunk] = np.square(difference, out=difference).sum(axis=1)
    return squares


@dataclass(frozen=True, eq=False)
class Block:
    """Estimated distances of B queries from all G points.

    rows: which queries. relative: float32 [B,G], the squared distances less `own`; within one query they order the
    points. own: float32 [B], the squared distance of each query from the centre of the points. slack: float64 [B]; two
    values of `relative` of one query that differ by less may stand for equal distances.
    """

    rows: slice
    relative: np.ndarray
    own: np.ndarray
    slack: np.ndarray


def estimate(queries: np.ndarray, points: np.ndarray, block_bytes: int) -> Iterator[Block]:
    """Estimate the distances of `queries`, float32 [Q,D], from `points`, float32 [G,D], in blocks of queries.

    block_bytes bounds the memory of one block, which holds at least one query. The caller may change a block's arrays.
    Raises InvalidDescriptors where one is too far from the others for float32.
    """
    if not len(points):
        return
    # Where all descriptors are similar, the rounding errors of their common part would hide their differences. So their
    # centre is subtracted first. This is rounded too, an error like the product's, and within the slack.
    centre = points.mean(axis=0, dtype=np.float64).astype(np.float32)
    centred = points - centre
    squares = _squared_lengths(centred)
    longest = _in_reach(squares)
    squares = squares.astype(np.float32)
    count = max(1, block_bytes // (4 * len(points)))
    for start in range(0, len(queries), count):
        rows = slice(start, min(start + count, len(queries)))
        asked = queries[rows] - centre
        own = _squared_lengths(asked)
        _in_reach(own)
        relative = asked @ centred.T
        relative *= -2
        relative += squares
        yield Block(rows, relative, own.astype(np.float32), _slack(points.shape[1], np.sqrt(own), longest))


def _in_reach(squares: np.ndarray) -> float:
    """The largest distance of these squares. Raises InvalidDescriptors."""
    if not (farthest := float(np.sqrt(squares.max()))) <= _FARTHEST:
        raise InvalidDescriptors(
            f"a descriptor is {farthest:.1e} away from the mean of the gallery's; expected at most {_FARTHEST:.0e}, "
            "which float32 can square; scale them, or rank by cosine distance"
        )
    return farthest


def _slack(size: int, lengths: np.ndarray, longest: float) -> np.ndarray:
    """How far two estimates may be apart although the distances they stand for are equal.

    Rounding errors of a sum are a random walk: a product of `size` terms in float32 is off by at most about
    sqrt(size) / 3 roundings of length * longest (one standard deviation, partial sums growing all the way).
    An estimate contains the product twice, and two estimates are compared: together sqrt(size) * 0.94 of them. The
    slack is more than four times that; the other terms bound the few other roundings.
    """
    rounding = 2.0**-24
    slack: np.ndarray = rounding * longest * ((4 * math.sqrt(size) + 16) * lengths + 8 * longest)
    return slack


def _of_length_one(name: str, side: Descriptors) -> Descriptors:
    lengths = _lengths(side.descriptors)
    zero = lengths == 0
    if (wrong := np.flatnonzero(zero & (side.pids != JUNK_PID))).size:
        raise InvalidDescriptors(
            f"the {name} descriptor in row {wrong[0]} is all zeros, so it has no cosine distance to anything; "
            "leave the image out, or rank by Euclidean distance"
        )
    lengths[zero] = 1
    scaled = np.empty_like(side.descriptors)
    for start in range(0, len(scaled), _CHUNK_ROWS):
        chunk = slice(start, start + _CHUNK_ROWS)
        scaled[chunk] = np.divide(side.descriptors[chunk], lengths[chunk, None], dtype=np.float64)
    return replace(side, descriptors=scaled)


def _lengths(points: np.ndarray) -> np.ndarray:
    lengths: np.ndarray = np.sqrt(_squared_lengths(points))
    return lengths


def _squared_lengths(points: np.ndarray) -> np.ndarray:
    """float64 [N] of [N,D]."""
    squares: np.ndarray = np.einsum("nd,nd->n", points, points, dtype=np.float64)
    return squares
