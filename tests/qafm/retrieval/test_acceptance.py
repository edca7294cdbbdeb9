"""What thresholds accept, against a naive loop over all pairs, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qafm.retrieval.acceptance import acceptance
from qafm.retrieval.descriptors import Descriptors
from qafm.retrieval.verification import operating_points


def descriptors(points, pids, camids):
    return Descriptors(np.array(points, np.float32).reshape(len(pids), -1), np.array(pids), np.array(camids))


def naive(query, gallery, thresholds):
    found = np.zeros((2, len(query), len(thresholds)), int)
    for q in range(len(query)):
        for g in range(len(gallery)):
            same = query.pids[q] == gallery.pids[g]
            if -1 in (query.pids[q], gallery.pids[g]) or (same and query.camids[q] == gallery.camids[g]):
                continue
            distance = abs(float(query.descriptors[q, 0]) - float(gallery.descriptors[g, 0]))
            for place, threshold in enumerate(thresholds):
                found[0 if same else 1, q, place] += distance <= threshold
    return found


def drawn(data, count):
    ids = st.lists(st.integers(-1, 3), min_size=count, max_size=count)
    return descriptors(
        data.draw(st.lists(st.integers(-9, 9), min_size=count, max_size=count)),
        data.draw(ids),
        data.draw(st.lists(st.integers(1, 3), min_size=count, max_size=count)),
    )


@given(st.data(), st.integers(1, 6), st.integers(1, 9))
@settings(max_examples=200, deadline=None)
def test_counts_are_those_of_a_loop_for_any_block_size(data, queries, images):
    query, gallery = drawn(data, queries), drawn(data, images)
    thresholds = np.array([0.5, 2.5, 7.25])
    for block_bytes in (1, 2**20):
        found = acceptance(query, gallery, thresholds, block_bytes)
        np.testing.assert_array_equal([found.genuine, found.impostors], naive(query, gallery, thresholds))
        whole = naive(query, gallery, [99])[..., 0]
        np.testing.assert_array_equal([found.genuine_pairs, found.impostor_pairs], whole)


def test_rates_by_hand():
    # Two people with a query each at 0; matches at 1 and 3; strangers to the first at 3, 5, to the second at 1, 5.
    query = descriptors([0, 0, 0], [1, 2, -1], [1, 1, 1])
    gallery = descriptors([1, 3, 5], [1, 2, 3], [2, 2, 2])
    found = acceptance(query, gallery, np.array([2.0, 4.0]))
    false, true = found.roc()
    assert true.tolist() == [0.5, 1] and false.tolist() == [0.25, 0.5]
    first = found.rates(0, np.array([True, False, False]), query.pids)
    assert (first.identities, first.true_positive.value, first.false_positive.value) == (1, 1, 0)
    both = found.rates(0, np.array([True, True, True]), query.pids)
    assert both.true_positive.value == 0.5 and tuple(both.true_positive.interval) == (0, 1)
    assert found.rates(0, np.array([False, False, True]), query.pids) is None


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_an_operating_points_threshold_accepts_what_it_says(distance):
    generator = np.random.default_rng(0)
    query, gallery = (
        descriptors(
            generator.standard_normal((count, 8)), generator.integers(0, 9, count), generator.integers(1, 4, count)
        )
        for count in (60, 400)
    )
    points = operating_points(query, gallery, (1e-1, 1e-2, 1e-3), distance=distance)
    thresholds = np.sort([point.threshold for point in points])
    found = acceptance(query, gallery, thresholds, distance=distance)
    accepted = found.impostors.sum(axis=0)[::-1].tolist()
    assert accepted == [int(rate * found.impostor_pairs.sum()) for rate in (1e-1, 1e-2, 1e-3)]
    assert found.roc()[1][::-1].tolist() == pytest.approx([point.true_positive_rate for point in points])


def test_an_interval_narrows_with_people_and_holds_the_value():
    generator = np.random.default_rng(1)
    widths = []
    for people in (10, 160):
        pids = np.repeat(np.arange(1, people + 1), 2)
        query = descriptors(generator.standard_normal((2 * people, 1)), pids, np.ones(2 * people, int))
        gallery = descriptors(generator.standard_normal((2 * people, 1)), pids, np.full(2 * people, 2))
        rates = acceptance(query, gallery, np.array([1.0])).rates(0, np.ones(2 * people, bool), pids)
        low, high = rates.true_positive.interval
        assert low <= rates.true_positive.value <= high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2
