"""Ranks and metrics against the protocol written out as loops, and against cases worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from qafm.errors import InvalidDescriptors
from qafm.retrieval.descriptors import Descriptors
from qafm.retrieval.metrics import (
    average_precision,
    evaluate,
    inverse_negative_penalty,
    protocol,
    trapezoid_average_precision,
)
from qafm.retrieval.ranking import match_ranks, ranked_lists, without_junk
from qafm.retrieval.reranking import Reranking, reranked_distances, reranked_match_ranks
from qafm.retrieval.score import score
from qafm.retrieval.verification import operating_points


def described(descriptors, pids, camids) -> Descriptors:
    return Descriptors(
        np.asarray(descriptors, dtype=np.float32).reshape(len(pids), -1),
        np.asarray(pids, dtype=np.int64),
        np.asarray(camids, dtype=np.int64),
    )


# --- the protocol as loops
# -------------------------------------------------------------------------------------


def naive_list(query: Descriptors, gallery: Descriptors, row: int) -> list[tuple[float, int, bool]]:
    """For each gallery image that counts, the closest first: its squared distance, its row, is it a true match?"""
    counted = []
    for place in range(len(gallery)):
        junk = gallery.pids[place] == -1
        same_pid = gallery.pids[place] == query.pids[row]
        if junk or (same_pid and gallery.camids[place] == query.camids[row]):
            continue
        difference = [
            float(a) - float(b) for a, b in zip(query.descriptors[row], gallery.descriptors[place], strict=True)
        ]
        counted.append((math.fsum(d * d for d in difference), place, bool(same_pid)))
    return sorted(counted)


def naive_ranking(query: Descriptors, gallery: Descriptors, row: int) -> list[bool]:
    """For each gallery image that counts, the closest first: is it a true match?"""
    return [match for _, _, match in naive_list(query, gallery, row)]


def naive_metrics(query: Descriptors, gallery: Descriptors) -> dict[str, float] | None:
    rows = []
    skipped = 0
    for row in range(len(query)):
        if query.pids[row] == -1:
            continue
        ranking = naive_ranking(query, gallery, row)
        total = sum(ranking)
        if total == 0:
            skipped += 1
            continue
        hits, precisions, area, old_precision, old_recall, last = 0, [], 0.0, 1.0, 0.0, 0
        for rank, match in enumerate(ranking, start=1):
            hits += match
            precision, recall = hits / rank, hits / total
            if match:
                precisions.append(precision)
                last = rank
            area += (recall - old_recall) * (old_precision + precision) / 2
            old_precision, old_recall = precision, recall
        first = ranking.index(True) + 1
        rows.append((first <= 1, first <= 5, first <= 10, np.mean(precisions), total / last, area))
    if not rows:
        return None
    names = ("rank1", "rank5", "rank10", "mAP", "mINP", "mAP_trapezoid")
    means = dict(zip(names, np.mean(np.array(rows, dtype=np.float64), axis=0), strict=True))
    return means | {"skipped_queries": skipped, "queries": len(rows) + skipped}


# Few values, so that distances tie often; exact in float32 and in sums of their squares.
coordinates = st.integers(-2, 2).map(float)


@st.composite
def images(draw: st.DrawFn, size: int, most: int) -> Descriptors:
    rows = draw(
        st.lists(
            st.tuples(st.lists(coordinates, min_size=size, max_size=size), st.integers(-1, 3), st.integers(1, 3)),
            min_size=1,
            max_size=most,
        )
    )
    descriptors, pids, camids = zip(*rows, strict=True)
    return described(descriptors, pids, camids)


@st.composite
def searches(draw: st.DrawFn) -> tuple[Descriptors, Descriptors]:
    size = draw(st.integers(1, 3))
    return draw(images(size, 8)), draw(images(size, 24))


@given(searches(), st.sampled_from([1, 200, 1 << 20]))
@settings(max_examples=300, deadline=None)
def test_ranks_are_those_of_the_loop(search, block_bytes):
    query, gallery = search
    found = match_ranks(query, gallery, block_bytes)
    for row in range(len(query)):
        ranking = naive_ranking(query, gallery, row) if query.pids[row] != -1 else []
        assert found[row].tolist() == [rank for rank, match in enumerate(ranking, start=1) if match]


@given(searches(), st.integers(1, 6), st.sampled_from([1, 200, 1 << 20]))
@settings(max_examples=300, deadline=None)
def test_lists_are_those_of_the_loop(search, top, block_bytes):
    query, gallery = search
    rows = np.flatnonzero(query.pids != -1)[::-1]
    if not (gallery.pids != -1).any():
        return
    for row, found in zip(rows, ranked_lists(query, gallery, rows, top, block_bytes), strict=True):
        expected = naive_list(query, gallery, row)[:top]
        assert found.rows.tolist() == [place for _, place, _ in expected]
        assert found.matches.tolist() == [match for _, _, match in expected]
        assert found.distances == pytest.approx([math.sqrt(square) for square, _, _ in expected])


@given(searches())
@example((described([[0]], [-1], [1]), described([[0]], [-1], [1])))
@settings(max_examples=300, deadline=None)
def test_metrics_are_those_of_the_loop(search):
    query, gallery = search
    expected = naive_metrics(query, gallery)
    if expected is None:
        with pytest.raises(InvalidDescriptors, match="true match"):
            evaluate(query, gallery)
        return
    found = evaluate(query, gallery)
    summary = found.summary()
    assert {name: summary[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    assert found.gallery == np.count_nonzero(gallery.pids != -1)
    assert np.nanmean(found.average_precision) == pytest.approx(found.mAP)
    assert found.average_precision.shape == (len(query),)


def test_ranks_of_random_descriptors_are_those_of_a_float64_sort():
    rng = np.random.default_rng(0)
    query = described(rng.standard_normal((20, 256)), rng.integers(0, 8, 20), rng.integers(1, 4, 20))
    gallery = described(rng.standard_normal((700, 256)), rng.integers(0, 8, 700), rng.integers(1, 4, 700))
    for row, found in enumerate(match_ranks(query, gallery)):
        distance = np.square(gallery.descriptors.astype(np.float64) - query.descriptors[row]).sum(1)
        same_pid = gallery.pids == query.pids[row]
        counts = ~(same_pid & (gallery.camids == query.camids[row]))
        ranking = same_pid[counts][np.argsort(distance[counts], kind="stable")]
        assert found.tolist() == (np.flatnonzero(ranking) + 1).tolist()


@pytest.mark.parametrize("away", [0.0, 30.0, 1000.0, 1e6])
def test_a_match_far_from_all_others_changes_no_rank_but_its_own(away):
    """By 1,000 all the others are in one bin, and the estimates can still tell them apart; by a million they cannot."""
    rng = np.random.default_rng(2)
    query, points = rng.standard_normal(64), rng.standard_normal((3000, 64))
    points[7] += away
    gallery = described(points, np.where(np.arange(3000) % 150 == 7, 1, 2), np.full(3000, 2))
    distance = np.square(gallery.descriptors.astype(np.float64) - np.float32(query)).sum(1)
    expected = np.flatnonzero(gallery.pids[np.argsort(distance, kind="stable")] == 1) + 1
    (found,) = match_ranks(described(query, [1], [1]), gallery)
    assert found.tolist() == expected.tolist()
    assert (found[-1] == 3000) == bool(away)


@pytest.mark.parametrize("spread", [1.0, 1e-5], ids=["spread out", "all nearly alike"])
@pytest.mark.parametrize("block_bytes", [1, 50_000, 1 << 25])
def test_equal_descriptors_tie_by_gallery_order_whatever_the_block(spread, block_bytes):
    """Each descriptor stands in the gallery 40 times, at places that a matrix product treats differently."""
    rng = np.random.default_rng(1)
    centre = rng.standard_normal(333)
    descriptors = (centre + spread * rng.standard_normal((6, 333))).astype(np.float32)
    query = described(descriptors + np.float32(spread), np.arange(6), np.ones(6))
    gallery = described(np.tile(descriptors, (40, 1)), np.tile(np.arange(6), 40), np.full(240, 2))
    # One of the copies is somebody else's, and comes before or after the rest by its place alone.
    gallery.pids[6 * 7 : 6 * 8] = 99
    for row, found in enumerate(match_ranks(query, gallery, block_bytes)):
        assert np.diff(found).tolist() == [1] * 6 + [2] + [1] * 31, row


@given(st.integers(0, 2**32), st.integers(1, 12), st.sampled_from([1, 200, 1 << 20]))
@settings(max_examples=100, deadline=None)
def test_cosine_order_is_that_of_the_loop(seed, size, block_bytes):
    """Descriptors of any length, so that the Euclidean order is another one."""
    generator = np.random.default_rng(seed)

    def draw(count):
        points = generator.standard_normal((count, size)) * np.exp(2 * generator.standard_normal((count, 1)))
        return described(points, generator.integers(-1, 4, count), generator.integers(1, 4, count))

    query, gallery = draw(6), draw(25)
    ranks = match_ranks(query, gallery, block_bytes, distance="cosine")
    rows = np.flatnonzero(query.pids != -1)
    lists = dict(zip(rows, ranked_lists(query, gallery, rows, 5, block_bytes, distance="cosine"), strict=False))
    for row in rows:
        counted = []
        for place in range(len(gallery)):
            same_pid = gallery.pids[place] == query.pids[row]
            if gallery.pids[place] == -1 or (same_pid and gallery.camids[place] == query.camids[row]):
                continue
            a, b = (side.descriptors[i].tolist() for side, i in ((query, row), (gallery, place)))
            product = math.fsum(x * y for x, y in zip(a, b, strict=True))
            cosine = product / math.hypot(*a) / math.hypot(*b)
            counted.append((1 - cosine, place, same_pid))
        # In one dimension there are only two directions, and rounding decides.
        counted.sort(key=lambda image: (round(image[0], 6), image[1]) if size == 1 else image)
        assert ranks[row].tolist() == [rank for rank, (_, _, match) in enumerate(counted, start=1) if match]
        if row in lists:
            assert lists[row].rows.tolist() == [place for _, place, _ in counted[:5]]
            assert lists[row].distances == pytest.approx([distance for distance, _, _ in counted[:5]], abs=1e-6)


def test_descriptors_of_one_direction_tie_by_cosine_whatever_their_length():
    rng = np.random.default_rng(1)
    point = rng.standard_normal(333)
    lengths = 2.0 ** rng.integers(-60, 60, 40)
    gallery = described(lengths[:, None] * np.float32(point), [1] * 20 + [2] * 20, np.full(40, 2))
    query = described(rng.standard_normal(333), [2], [1])
    assert match_ranks(query, gallery, distance="cosine")[0].tolist() == list(range(21, 41))


# --- by hand
# ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ranks", "precision", "trapezoid", "penalty"),
    [
        ([1], 1.0, 1.0, 1.0),
        ([2], 0.5, 0.25, 0.5),  # precision 0 before the hit, 1/2 at it
        ([1, 3], (1 + 2 / 3) / 2, (1 + (1 / 2 + 2 / 3) / 2) / 2, 2 / 3),
        ([2, 3], (1 / 2 + 2 / 3) / 2, (1 / 4 + (1 / 2 + 2 / 3) / 2) / 2, 2 / 3),
        ([4], 0.25, 0.125, 0.25),
    ],
)
def test_one_query_by_hand(ranks, precision, trapezoid, penalty):
    ranks = np.array(ranks)
    assert average_precision(ranks) == pytest.approx(precision)
    assert trapezoid_average_precision(ranks) == pytest.approx(trapezoid)
    assert inverse_negative_penalty(ranks) == pytest.approx(penalty)


def test_protocol_by_hand():
    # The query is person 5 at camera 1, at 0. By distance: own camera (left out), junk (dropped), distractor,
    # match, stranger, match. Ranks of the matches: 2 and 4.
    query = described([0, 0, 0], [5, 7, -1], [1, 1, 1])
    gallery = described([1, 2, 3, 4, 5, 6], [5, -1, 0, 5, 9, 5], [1, 2, 3, 2, 3, 3])
    found = evaluate(query, gallery)
    assert match_ranks(query, gallery)[0].tolist() == [2, 4]
    assert (found.rank1, found.rank5, found.rank10) == (0, 1, 1)
    assert found.cmc.tolist() == [0] + [1] * 49
    assert (found.queries, found.skipped_queries, found.gallery) == (2, 1, 5)  # 7 has no match, -1 is nobody
    assert found.mAP == pytest.approx(0.5)
    assert np.isnan(found.average_precision).tolist() == [False, True, True]
    assert found.first_match.tolist() == [2, 0, 0]


def test_the_two_orders_by_hand():
    # The match points where the query does, far away; the stranger is near, at 45 degrees.
    query, gallery = described([[1, 0]], [1], [1]), described([[3, 0], [1, 1]], [1, 2], [2, 2])
    assert match_ranks(query, gallery)[0].tolist() == [2]
    assert match_ranks(query, gallery, distance="cosine")[0].tolist() == [1]
    (nearest,) = ranked_lists(query, gallery, np.array([0]), 2, distance="cosine")
    assert nearest.rows.tolist() == [0, 1]
    assert nearest.distances == pytest.approx([0, 1 - math.sqrt(0.5)])
    assert evaluate(query, gallery).mAP == 0.5 and evaluate(query, gallery, distance="cosine").mAP == 1


def test_the_protocol_names_the_distance():
    assert "ranked by Euclidean distance, exactly" in protocol() and "cosine" not in protocol("euclidean")
    assert "ranked by cosine distance" in protocol("cosine") and "Euclidean" not in protocol("cosine")


def test_leaving_junk_out_keeps_the_model():
    side = replace(described([0, 1], [1, -1], [1, 1]), model="kudu/qafm")
    kept, rows = without_junk(side)
    assert (kept.model, rows.tolist(), len(kept)) == ("kudu/qafm", [0], 1)
    assert without_junk(kept)[0] is kept


WAYS = {
    "evaluate": evaluate,
    "evaluate, re-ranked": lambda query, gallery: evaluate(query, gallery, Reranking()),
    "match_ranks": match_ranks,
    "ranked_lists": lambda query, gallery: list(ranked_lists(query, gallery, np.array([0]), 1)),
    "reranked_match_ranks": lambda query, gallery: reranked_match_ranks(query, gallery, Reranking()),
    "reranked_distances": lambda query, gallery: list(reranked_distances(query, gallery)),
    "operating_points": lambda query, gallery: operating_points(query, gallery, (0.5,)),
    "score": score,
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_nothing_compares_two_models(way):
    query, gallery = described([0], [1], [1]), described([1, 2, 3], [1, 2, 3], [2, 2, 2])
    for names in ((None, None), ("kudu/qafm", None), (None, "heron/qafm"), ("kudu/qafm", "kudu/qafm")):
        way(*(replace(side, model=name) for side, name in zip((query, gallery), names, strict=True)))
    with pytest.raises(InvalidDescriptors, match="model kudu/qafm, the gallery by heron/qafm"):
        way(replace(query, model="kudu/qafm"), replace(gallery, model="heron/qafm"))
    with pytest.raises(InvalidDescriptors, match="model kudu/qafm, the gallery by kudu/qafm@0.5"):
        way(replace(query, model="kudu/qafm"), replace(gallery, model="kudu/qafm@0.5"))


def test_a_tie_goes_to_the_earlier_gallery_image():
    query = described([0], [1], [1])
    assert match_ranks(query, described([1, 1], [1, 2], [2, 2]))[0].tolist() == [1]
    assert match_ranks(query, described([1, 1], [2, 1], [2, 2]))[0].tolist() == [2]


@pytest.mark.parametrize("place", ["query", "gallery"])
def test_descriptors_too_far_for_float32_are_refused(place):
    near, far = described([[0, 1]], [1], [1]), described([[0, 1e19], [1, 1]], [1, 2], [2, 2])
    sides = (far, near) if place == "query" else (near, far)
    with pytest.raises(InvalidDescriptors, match="away from the mean of the gallery's; expected at most 1e"):
        match_ranks(*sides)
    assert [len(ranks) for ranks in match_ranks(*sides, distance="cosine")][0] == 1


def test_descriptors_of_different_lengths_are_refused():
    with pytest.raises(InvalidDescriptors, match="have 2 numbers, gallery descriptors 3"):
        evaluate(described([[0, 0]], [1], [1]), described([[0, 0, 0]], [1], [2]))
