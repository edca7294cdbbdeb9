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


def naive(query, gallery, rates):
    genuine, impostors = [], []
    for q in range(len(query)):
        for g in range(len(gallery)):
            if -1 in (query.pids[q], gallery.pids[g]):
                continue
            difference = query.descriptors[q].astype(np.float64) - gallery.descriptors[g]
            if query.pids[q] != gallery.pids[g]:
                impostors.append(np.linalg.norm(difference))
            elif query.camids[q] != gallery.camids[g]:
                genuine.append(np.linalg.norm(difference))
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


def test_a_rate_without_enough_impostors_is_left_out():
    query, gallery = descriptors([0], [1], [1]), descriptors([1, 2, 3], [1, 2, 3], [2, 2, 2])
    assert operating_points(query, gallery, (0.4, 0.5))[0].false_positive_rate == 0.5
    assert operating_points(query, gallery, (1e-4,)) == []


@pytest.mark.parametrize("pids", [[2, 3], [-1, -1]])
def test_without_a_genuine_pair_there_is_nothing_to_say(pids):
    assert operating_points(descriptors([0], [1], [1]), descriptors([1, 2], pids, [2, 2]), (0.5,)) == []


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), queries=st.integers(1, 12), images=st.integers(1, 30), block=st.integers(1, 2000))
def test_against_a_naive_loop(seed, queries, images, block):
    generator = np.random.default_rng(seed)

    def draw(count):
        points = generator.normal(size=(count, 6))
        return descriptors(points, generator.integers(-1, 4, count), generator.integers(1, 4, count))

    query, gallery = draw(queries), draw(images)
    rates = (0.3, 0.1, 0.01)
    found = operating_points(query, gallery, rates, block_bytes=block)
    expected = naive(query, gallery, rates)
    assert [point.false_positive_rate for point in found] == [rate for rate, _, _ in expected]
    for point, (_, true_positive_rate, threshold) in zip(found, expected, strict=True):
        assert point.threshold == pytest.approx(threshold, rel=1e-4)
        assert point.true_positive_rate == pytest.approx(true_positive_rate)
