"""Re-ranking with k-reciprocal encoding (Zhong et al. 2017), without a matrix of all images against all.

Two images are likely of one person if each is among the nearest of the other. The encoding of an image is a weight for
each of its reciprocal neighbours, among queries and gallery together. The distance of two encodings (Jaccard) is mixed
with the distance of the descriptors. The method looks at all queries at once: a single request cannot gain from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from qafm.retrieval.descriptors import Descriptors
from qafm.retrieval.distances import Distance, comparable, estimate, squared_distances
from qafm.retrieval.ranking import without_junk

BLOCK_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True)
class Reranking:
    """The settings of the method, with the values of its paper.

    k1: how many neighbours must be reciprocal. k2: how many neighbours' encodings are averaged. weight: of the distance
    of the descriptors, in [0,1]; the Jaccard distance has the rest.
    """

    k1: int = 20
    k2: int = 6
    weight: float = 0.3


def reranked_match_ranks(
    query: Descriptors, gallery: Descriptors, settings: Reranking, *, distance: Distance = "euclidean"
) -> list[np.ndarray]:
    """`qafm.retrieval.ranking.match_ranks`, the gallery ordered by the new distances. Junk is no one's neighbour."""
    ranks = [np.empty(0, dtype=np.int64)] * len(query)
    query, gallery = comparable(query, gallery, distance)
    searched, asked = without_junk(query)
    among, _ = without_junk(gallery)
    if not len(asked) or not len(among):
        return ranks
    # Comparable already: of length 1 where that is wanted.
    for row, distances in zip(asked, reranked_distances(searched, among, settings), strict=True):
        same_pid, same_camera = among.pids == query.pids[row], among.camids == query.camids[row]
        distances[same_pid & same_camera] = np.inf
        place = np.empty(len(among), np.int64)
        place[np.argsort(distances, kind="stable")] = np.arange(1, len(among) + 1)
        ranks[row] = np.sort(place[same_pid & ~same_camera])
    return ranks


def reranked_distances(
    query: Descriptors,
    gallery: Descriptors,
    settings: Reranking | None = None,
    block_bytes: int = BLOCK_BYTES,
    *,
    distance: Distance = "euclidean",
) -> Iterator[np.ndarray]:
    """For each query in turn, float32 [G], its distance to every gallery image.

    Both must be without junk. The squared Euclidean distances of an image (twice the cosine distances of descriptors of
    length 1) are divided by its largest one; these are mixed in, and give the weights of the encodings. Besides the
    descriptors, each image needs memory in proportion to k1. Raises as `qafm.retrieval.distances.comparable` does.
    """
    settings = settings or Reranking()
    query, gallery = comparable(query, gallery, distance)
    points = np.concatenate([query.descriptors, gallery.descriptors])
    nearest, largest = _nearest(points, settings.k1 + 1, block_bytes)
    encodings = _averaged(_encoded(points, nearest, largest, settings.k1), nearest[:, : settings.k2])
    columns = _by_column(encodings[len(query) :], len(points))
    for block in estimate(query.descriptors, gallery.descriptors, block_bytes):
        for row, relative, own in zip(range(block.rows.start, block.rows.stop), block.relative, block.own, strict=True):
            shared = np.zeros(len(gallery), np.float32)
            for neighbour, weight in zip(*encodings[row], strict=True):
                images, weights = columns[neighbour]
                shared[images] += np.minimum(weight, weights)
            jaccard = 1 - shared / (2 - shared)
            distances = (relative + own).clip(min=0)
            yield (1 - settings.weight) * jaccard + settings.weight * distances / largest[row]


Weights = tuple[np.ndarray, np.ndarray]
"""Of some images: their rows, int [K], ascending, and their weights, float32 [K]."""


def _nearest(points: np.ndarray, count: int, block_bytes: int) -> tuple[np.ndarray, np.ndarray]:
    """int [N,count], the rows nearest to each point, itself first; and float32 [N], its largest squared distance."""
    count = min(count, len(points))
    nearest = np.empty((len(points), count), np.intp)
    largest = np.empty(len(points), np.float32)
    for block in estimate(points, points, block_bytes):
        distances = block.relative
        largest[block.rows] = np.maximum(distances.max(axis=1) + block.own, np.finfo(np.float32).tiny)
        itself = np.arange(block.rows.start, block.rows.stop)
        distances[np.arange(len(distances)), itself] = -np.inf
        closest = np.argpartition(distances, count - 1, axis=1)[:, :count]
        order = np.argsort(np.take_along_axis(distances, closest, axis=1), axis=1, kind="stable")
        nearest[block.rows] = np.take_along_axis(closest, order, axis=1)
    return nearest, largest


def _encoded(points: np.ndarray, nearest: np.ndarray, largest: np.ndarray, k1: int) -> list[Weights]:
    """Each image's reciprocal neighbours and theirs, weighted by nearness; weights sum to 1."""
    near = _reciprocal(nearest)
    nearer = _reciprocal(nearest[:, : round(k1 / 2) + 1])
    encodings = []
    for row, own in enumerate(near):
        expanded = set(own)
        for candidate in own:
            theirs = nearer[candidate]
            if 3 * len(theirs & own) > 2 * len(theirs):
                expanded |= theirs
        rows = np.array(sorted(expanded))
        weights = np.exp(-squared_distances(points[row], points, rows) / largest[row])
        encodings.append((rows, weights / weights.sum()))
    return encodings


def _reciprocal(nearest: np.ndarray) -> list[set[int]]:
    """Of each image, those of its nearest that have it among theirs."""
    sets = [set(row) for row in nearest.tolist()]
    return [{other for other in own if row in sets[other]} for row, own in enumerate(sets)]


def _averaged(encodings: list[Weights], neighbours: np.ndarray) -> list[Weights]:
    """The mean of the encodings of each image's neighbours, itself among them."""
    averaged = []
    for group in neighbours.tolist():
        rows, place = np.unique(np.concatenate([encodings[image][0] for image in group]), return_inverse=True)
        weights = np.bincount(place, np.concatenate([encodings[image][1] for image in group]))
        averaged.append((rows, (weights / len(group)).astype(np.float32)))
    return averaged


def _by_column(encodings: list[Weights], count: int) -> list[Weights]:
    """For each of `count` neighbours, which images have it in their encoding, and its weight there."""
    images = np.repeat(np.arange(len(encodings)), [len(rows) for rows, _ in encodings])
    neighbours, weights = (np.concatenate(parts) for parts in zip(*encodings, strict=True))
    order = np.argsort(neighbours, kind="stable")
    ends = np.searchsorted(neighbours[order], np.arange(count + 1))
    return [(images[order[a:b]], weights[order[a:b]]) for a, b in zip(ends[:-1], ends[1:], strict=True)]
