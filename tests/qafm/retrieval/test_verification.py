"""Operating points against a naive loop over all pairs, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qafm.retrieval.descriptors import Descriptors
from qafm.retrieval.verification import operating_points


def descriptors(points, pids, camids):
    return Descriptors(np.array(points, np.float32).reshape(len(pids), -1), np.array(pids), np.array(camids))


def cosine_distance(a, b):
    return 1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def naive(query, gallery, rates, distance_of=lambda a, b: np.linalg.norm(a - b)):
    genuine, impostors = [], []
    for q in range(len(query)):
        for g in range(len(gallery)):
            if -1 in (query.pids[q], gallery.pids[g]):
                continue
            distance = distance_of(*(one.astype(np.float64) for one in (query.descriptors[q], gallery.descriptors[g])))
            if query.pids[q] != gallery.pids[g]:
                impostors.append(distance)
            elif query.camids[q] != gallery.camids[g]:
                genuine.append(distance)
    found = []
    for rate in rates:
        count = int(rate * len(impostors))
        if count and genuine:
            threshold = sorted(impostors)[count - 1]
            found.append((rate, np.mean([distance <= threshold for distance in genuine]), threshold))
    return found


def test_by_hand():
    # The query at 0; its own picture by its camera (at 0) does not count, nor does the junk at 1.
    query = descriptors([0], [1], [1])
    gallery = descriptors([0, 2, 5, 1, 3, 4, 6, 7], [1, 1, 1, -1, 2, 0, 3, 4], [1, 2, 3, 2, 1, 2, 2, 2])
    half, quarter = operating_points(query, gallery, (0.5, 0.25))
    assert (half.false_positive_rate, half.true_positive_rate) == (0.5, 0.5)
    assert half.threshold == pytest.approx(4)  # impostors at 3, 4, 6, 7: two of four; genuine at 2 and 5: one of two
    assert (quarter.true_positive_rate, quarter.threshold) == (0.5, pytest.approx(3))


def test_cosine_thresholds_by_hand():
    # By angle to the query: matches at 0 and 90 degrees, strangers at 45 and 180, all of other lengths.
    query = descriptors([[2, 0]], [1], [1])
    gallery = descriptors([[9, 0], [0, 1], [3, 3], [-1, 0]], [1, 1, 2, 3], [2, 3, 2, 2])
    half, all_of_them = operating_points(query, gallery, (0.5, 1), distance="cosine")
    assert (half.true_positive_rate, half.threshold) == (0.5, pytest.approx(1 - np.sqrt(0.5)))
    assert (all_of_them.true_positive_rate, all_of_them.threshold) == (1, pytest.approx(2))
    assert operating_points(query, gallery, (1,))[0].threshold == pytest.approx(np.sqrt(10))  # of (3, 3) from (2, 0)


def test_a_rate_without_enough_impostors_is_left_out():
    query, gallery = descriptors([0], [1], [1]), descriptors([1, 2, 3], [1, 2, 3], [2, 2, 2])
    assert operating_points(query, gallery, (0.4, 0.5))[0].false_positive_rate == 0.5
    assert operating_points(query, gallery, (1e-4,)) == []


@pytest.mark.parametrize("pids", [[2, 3], [-1, -1]])
def test_without_a_genuine_pair_there_is_nothing_to_say(pids):
    assert operating_points(descriptors([0], [1], [1]), descriptors([1, 2], pids, [2, 2]), (0.5,)) == []


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), queries=st.integers(1, 12), images=st.integers(1, 30), block=st.integers(1, 2000))
@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_against_a_naive_loop(distance, seed, queries, images, block):
    generator = np.random.default_rng(seed)

    def draw(count):
        points = generator.normal(size=(count, 6))
        return descriptors(points, generator.integers(-1, 4, count), generator.integers(1, 4, count))

    query, gallery = draw(queries), draw(images)
    rates = (0.3, 0.1, 0.01)
    found = operating_points(query, gallery, rates, block_bytes=block, distance=distance)
    expected = naive(query, gallery, rates, *([cosine_distance] if distance == "cosine" else []))
    assert [point.false_positive_rate for point in found] == [rate for rate, _, _ in expected]
    for point, (_, true_positive_rate, threshold) in zip(found, expected, strict=True):
        assert point.threshold == pytest.approx(threshold, rel=1e-4, abs=1e-6)
        assert point.true_positive_rate == pytest.approx(true_positive_rate)
