"""Re-ranking against the formulas of its paper, written densely, and what it is for."""

from __future__ import annotations

import numpy as np
import pytest

from qafm.retrieval.descriptors import Descriptors
from qafm.retrieval.metrics import evaluate
from qafm.retrieval.reranking import Reranking, reranked_distances


def descriptors(points):
    ids = np.ones(len(points), np.int64)
    return Descriptors(np.asarray(points, np.float32), ids, ids)


def dense(query, gallery, settings):
    """Zhong et al. 2017, equations 2 to 12, one matrix of all images against all."""
    points = np.concatenate([query, gallery]).astype(np.float64)
    count = len(points)
    distances = ((points[:, None] - points[None]) ** 2).sum(axis=2)
    distances /= distances.max(axis=1, keepdims=True)
    np.fill_diagonal(distances, -1)  # an image is its own nearest, also where another is equal
    order = np.argsort(distances, axis=1, kind="stable")
    np.fill_diagonal(distances, 0)

    def reciprocal(row, k):
        return {j for j in order[row, : k + 1] if row in order[j, : k + 1]}

    weights = np.zeros((count, count))
    for row in range(count):
        own = reciprocal(row, settings.k1)
        expanded = set(own)
        for candidate in own:
            theirs = reciprocal(candidate, round(settings.k1 / 2))
            if len(theirs & own) > 2 / 3 * len(theirs):
                expanded |= theirs
        for j in expanded:
            weights[row, j] = np.exp(-distances[row, j])
        weights[row] /= weights[row].sum()
    weights = np.stack([weights[order[row, : settings.k2]].mean(axis=0) for row in range(count)])
    found = np.empty((len(query), len(gallery)))
    for i in range(len(query)):
        for g in range(len(gallery)):
            low = np.minimum(weights[i], weights[len(query) + g]).sum()
            high = np.maximum(weights[i], weights[len(query) + g]).sum()
            found[i, g] = (1 - settings.weight) * (1 - low / high)
            found[i, g] += settings.weight * distances[i, len(query) + g]
    return found


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("settings", [Reranking(), Reranking(k1=6, k2=1), Reranking(k1=5, k2=3, weight=0.8)])
@pytest.mark.parametrize("block", [1, 5_000])
def test_against_the_dense_formulas(seed, settings, block):
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(8, 10))
    query, gallery = (
        centres[generator.integers(0, 8, count)] + 0.4 * generator.normal(size=(count, 10)) for count in (9, 40)
    )
    found = np.stack(list(reranked_distances(descriptors(query), descriptors(gallery), settings, block)))
    np.testing.assert_allclose(found, dense(np.float32(query), np.float32(gallery), settings), atol=2e-5)


@pytest.mark.parametrize("seed", range(4))
def test_by_cosine_against_the_dense_formulas_of_the_directions(seed):
    generator = np.random.default_rng(seed)
    query, gallery = (
        generator.normal(size=(count, 10)) * np.exp(generator.normal(size=(count, 1))) for count in (5, 30)
    )
    directions = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in (query, gallery)]
    settings = Reranking(k1=6, k2=3)
    found = reranked_distances(descriptors(query), descriptors(gallery), settings, distance="cosine")
    np.testing.assert_allclose(np.stack(list(found)), dense(*directions, settings), atol=2e-5)


def test_fewer_images_than_neighbours():
    query, gallery = descriptors(np.eye(3)[:1]), descriptors(np.eye(3)[1:])
    (found,) = reranked_distances(query, gallery)
    assert found.shape == (2,) and np.isfinite(found).all()


def test_without_the_jaccard_distance_it_is_the_plain_one():
    generator = np.random.default_rng(0)
    query, gallery = generator.normal(size=(2, 5)), generator.normal(size=(9, 5))
    for row, found in enumerate(reranked_distances(descriptors(query), descriptors(gallery), Reranking(weight=1))):
        plain = np.linalg.norm(gallery - query[row], axis=1)
        assert np.array_equal(np.argsort(found), np.argsort(plain))


def test_a_stranger_that_is_near_falls_behind_a_friend_of_friends():
    """The query's person drifts away along a line; strangers are nearer than the line's end, but among themselves."""
    line = [[0.1 * step, 0] for step in range(1, 8)]
    strangers = [[0.3, 0.55 + 0.01 * step] for step in range(7)]
    query, gallery = descriptors([[0, 0]]), descriptors([*line, *strangers])
    (found,) = reranked_distances(query, gallery, Reranking(k1=6, k2=3))
    plain = np.linalg.norm(gallery.descriptors, axis=1)
    assert plain[6] > plain[7] and found[6] < found[7]


def test_metrics_of_reranked_distances_follow_the_protocol():
    """Junk and the query's own camera do not count, whatever their distance; the rest is ranked by the new one."""
    generator = np.random.default_rng(1)
    centres = generator.normal(size=(5, 6))

    def draw(count):
        pids = generator.integers(-1, 5, count)
        points = centres[pids] + 0.8 * generator.normal(size=(count, 6))
        return Descriptors(points.astype(np.float32), pids, generator.integers(1, 4, count))

    query, gallery = draw(8), draw(40)
    found = evaluate(query, gallery, Reranking(k1=6, k2=2))
    searched, among = (
        Descriptors(side.descriptors[side.pids >= 0], side.pids[side.pids >= 0], side.camids[side.pids >= 0])
        for side in (query, gallery)
    )
    precision = []
    for row, distances in enumerate(reranked_distances(searched, among, Reranking(k1=6, k2=2))):
        counts = ~((among.pids == searched.pids[row]) & (among.camids == searched.camids[row]))
        hits = (among.pids == searched.pids[row])[counts][np.argsort(distances[counts], kind="stable")]
        if hits.any():
            ranks = np.flatnonzero(hits) + 1
            precision.append(np.mean(np.arange(1, len(ranks) + 1) / ranks))
    assert found.mAP == pytest.approx(np.mean(precision))
    assert found.queries == (query.pids != -1).sum() and len(found.average_precision) == len(query)
    assert found.mAP != evaluate(query, gallery).mAP
