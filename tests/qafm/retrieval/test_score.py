"""What `client score` says: both distances, re-ranking, and when it warns."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from qafm.errors import InvalidDescriptors, InvalidSettings
from qafm.retrieval.descriptors import Descriptors
from qafm.retrieval.metrics import evaluate
from qafm.retrieval.reranking import Reranking
from qafm.retrieval.score import score


def described(points, pids, camids, model=None) -> Descriptors:
    return Descriptors(np.array(points, np.float32), np.array(pids), np.array(camids), model=model)


@pytest.fixture
def sides():
    """The match has the query's direction but is far away; a stranger is near, at 45 degrees to it."""
    query = described([[1, 0]], [1], [1], "kudu/qafm")
    return query, described([[3, 0], [1, 1], [0, 2]], [1, 2, 3], [2, 2, 2])


def test_the_two_orders_by_hand(sides):
    euclidean, cosine = score(*sides), score(*sides, distance="cosine")
    assert (euclidean.metrics.rank1, euclidean.metrics.mAP) == (0, 0.5)
    assert (cosine.metrics.rank1, cosine.metrics.mAP) == (1, 1)
    assert (euclidean.model, cosine.model) == ("kudu/qafm", "kudu/qafm")


def test_json(sides):
    summary = score(*sides, distance="cosine").summary()
    assert summary == json.loads(json.dumps(summary))
    assert "ranked by cosine distance" in summary.pop("protocol")
    expected = {"rank1": 1, "rank5": 1, "rank10": 1, "mAP": 1, "mINP": 1, "mAP_trapezoid": 1}
    assert summary == {
        **expected,
        **{"queries": 1, "gallery": 3, "skipped_queries": 0, "identities": 1, "verification": []},
        **{"format": 2, "distance": "cosine", "vectors": "descriptors", "model": "kudu/qafm"},
        "intervals": {"rank1": [1, 1], "mAP": [1, 1]},
    }


def test_json_names_neither_a_model_nor_a_reranking_that_there_is_not(sides):
    query, gallery = sides
    summary = score(dataclasses.replace(query, model=None), gallery).summary()
    assert "ranked by Euclidean distance, exactly" in summary["protocol"]
    assert summary["distance"] == "euclidean" and not {"model", "reranked"} & summary.keys()


def test_reranked_beside_the_others(sides):
    result = score(*sides, rerank=True, distance="cosine")
    assert result.reranked.mAP == evaluate(*sides, Reranking(), distance="cosine").mAP
    assert result.summary()["reranked"]["k1"] == 20


@pytest.mark.parametrize(("longest", "warned"), [(1.005, False), (1.02, True)])
def test_it_warns_where_lengths_differ_by_over_a_hundredth(longest, warned):
    query = described([[1, 0]], [1], [1])
    gallery = described([[0, longest], [9, 0]], [1, -1], [2, 2])
    warnings = score(query, gallery).warnings
    assert len(warnings) == warned
    if warned:
        assert "not of one length (1 to 1.02)" in warnings[0] and "--distance cosine" in warnings[0]
    assert score(query, gallery, distance="cosine").warnings == ()


def test_random_descriptors_rank_otherwise_by_cosine():
    """On descriptors of any length, each of the two orders is that of its own full sort."""
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(20, 16))

    def draw(count):
        pids = generator.integers(0, 20, count)
        points = (centres[pids] + generator.normal(size=(count, 16))) * np.exp(0.5 * generator.normal(size=(count, 1)))
        return described(points, pids, generator.integers(1, 4, count))

    query, gallery = draw(30), draw(200)
    a, b = query.descriptors.astype(np.float64), gallery.descriptors.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=1)
    by_sorting = {"euclidean": np.square(a[:, None] - b).sum(axis=2), "cosine": 1 - a @ b.T / lengths}
    results = {}
    for name, distances in by_sorting.items():
        precisions = []
        for row in range(30):
            same = gallery.pids == query.pids[row]
            counts = ~(same & (gallery.camids == query.camids[row]))
            ranks = np.flatnonzero(same[counts][np.argsort(distances[row, counts])]) + 1
            if len(ranks):
                precisions.append(np.mean(np.arange(1, len(ranks) + 1) / ranks))
        results[name] = score(query, gallery, distance=name).metrics.mAP
        assert results[name] == pytest.approx(np.mean(precisions))
    assert results["cosine"] > results["euclidean"] + 0.05


def test_by_cosine_only_directions_count():
    """Everything is what it is for descriptors brought to length 1, but for thresholds: 1 - cos is half of d²."""
    generator = np.random.default_rng(1)

    def draw(count):
        lengths = np.exp(generator.normal(size=(count, 1)))
        points = generator.normal(size=(count, 8)) * lengths
        return described(points, generator.integers(0, 6, count), generator.integers(1, 4, count))

    query, gallery = draw(20), draw(90)
    directions = [
        dataclasses.replace(
            side, descriptors=side.descriptors / np.linalg.norm(side.descriptors, axis=1, keepdims=True)
        )
        for side in (query, gallery)
    ]
    cosine, expected = score(query, gallery, distance="cosine", rerank=True), score(*directions, rerank=True)
    assert cosine.metrics.summary() == expected.metrics.summary()
    assert cosine.reranked.summary() == pytest.approx(expected.reranked.summary())
    assert expected.reranked.summary() != pytest.approx(evaluate(query, gallery, Reranking()).summary())
    assert len(cosine.verification) == len(expected.verification) > 0
    for point, of_direction in zip(cosine.verification, expected.verification, strict=True):
        assert point.threshold == pytest.approx(of_direction.threshold**2 / 2, rel=1e-4)
        assert point.true_positive_rate == of_direction.true_positive_rate


def test_intervals_contain_what_they_are_of_and_are_of_identities():
    """Each of 40 people has four queries, near each other: as if all were of another person, too narrow."""
    generator = np.random.default_rng(2)
    centres, own = generator.normal(size=(40, 4)), generator.normal(size=(40, 4))
    pids = np.arange(40).repeat(4)
    points = centres[pids] + 0.8 * own[pids] + 0.01 * generator.normal(size=(160, 4))
    query, gallery = described(points, pids, np.ones(160, int)), described(centres, np.arange(40), np.full(40, 2))
    result = score(query, gallery)
    for name, (low, high) in result.intervals.items():
        reached = getattr(result.metrics, name)
        assert low < reached < high and result.summary()["intervals"][name] == [low, high]
        # A share p of 40 independent people.
        if name == "rank1":
            assert high - low == pytest.approx(2 * 1.96 * np.sqrt(reached * (1 - reached) / 40), rel=0.15)


def test_another_vector_of_the_file_is_ranked_by():
    """By what the first branch says the match is nearest; by the fused descriptor and the other branch it is not."""
    first, second = (np.zeros((2, 1024), np.float32) for _ in range(2))
    first[0, 0] = second[1, 0] = 1
    query = dataclasses.replace(
        described([[1, 0]], [1], [1]), visual=np.zeros((1, 1024), np.float32), semantic=first[:1]
    )
    gallery = dataclasses.replace(described([[0, 1], [1, 0]], [1, 2], [2, 2]), visual=second, semantic=second)
    reached = {vectors: score(query, gallery, vectors=vectors) for vectors in ("descriptors", "visual", "semantic")}
    assert [result.metrics.rank1 for result in reached.values()] == [0, 1, 0]
    assert all(result.summary()["vectors"] == name for name, result in reached.items())
    with pytest.raises(InvalidDescriptors, match="the gallery has no array visual to rank by"):
        score(query, dataclasses.replace(gallery, visual=None), vectors="visual")
    with pytest.raises(InvalidSettings, match="'fused'; expected one of descriptors, visual, semantic"):
        score(query, gallery, vectors="fused")


def test_two_models_are_refused(sides):
    query, gallery = sides
    with pytest.raises(InvalidDescriptors, match="kudu/qafm, the gallery by heron/qafm"):
        score(query, dataclasses.replace(gallery, model="heron/qafm"))
