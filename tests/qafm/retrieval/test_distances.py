"""Distances against naive loops, and what is refused because no distance would mean anything."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qafm.errors import InvalidDescriptors, InvalidSettings
from qafm.retrieval.descriptors import Descriptors
from qafm.retrieval.distances import comparable, estimate, from_squares, length_range, squared_distances


def described(points, pids=None, model=None) -> Descriptors:
    points = np.asarray(points, np.float32)
    ids = np.ones(len(points), np.int64)
    return Descriptors(points, ids if pids is None else np.asarray(pids), ids, model=model)


def naive(a, b) -> float:
    return math.fsum((float(x) - float(y)) ** 2 for x, y in zip(a, b, strict=True))


seeds = st.integers(0, 2**32)


@given(seeds, st.integers(1, 40), st.integers(1, 70), st.floats(-20, 20))
@settings(max_examples=60, deadline=None)
def test_squared_distances_are_those_of_the_loop(seed, size, count, exponent):
    generator = np.random.default_rng(seed)
    point, points = (
        (10**exponent * generator.standard_normal(shape)).astype(np.float32) for shape in (size, (count, size))
    )
    rows = generator.integers(0, count, 5)
    expected = [naive(point, other) for other in points]
    assert squared_distances(point, points) == pytest.approx(expected, rel=1e-12)
    assert squared_distances(point, points, rows) == pytest.approx([expected[row] for row in rows], rel=1e-12)


def test_a_distance_does_not_depend_on_its_place():
    """Past the first chunk, and beside others or alone."""
    points = np.random.default_rng(0).standard_normal((2500, 33), np.float32)
    points[2300] = points[5]
    squares = squared_distances(points[7], points)
    assert squares[2300] == squares[5] == squared_distances(points[7], points, np.array([2300]))[0]
    assert squares[7] == 0


@given(seeds, st.integers(1, 300), st.floats(0, 1e4), st.sampled_from([1, 300, 1 << 20]))
@settings(max_examples=60, deadline=None)
def test_estimates_are_as_near_as_they_say(seed, size, common, block_bytes):
    """Also where all descriptors are nearly alike: what they have in common does not count."""
    generator = np.random.default_rng(seed)
    centre = common * generator.standard_normal(size)
    queries, points = ((centre + generator.standard_normal((n, size))).astype(np.float32) for n in (5, 20))
    seen = []
    for block in estimate(queries, points, block_bytes):
        for row, relative, own, slack in zip(
            range(block.rows.start, block.rows.stop), block.relative, block.own, block.slack, strict=True
        ):
            seen.append(row)
            exact = squared_distances(queries[row], points)
            # Two of one query may differ by the slack from what their exact distances differ by.
            assert np.ptp(relative.astype(np.float64) - exact) <= slack
            assert own + relative == pytest.approx(exact, abs=slack + 1e-6 * float(own))
    assert seen == list(range(5))


def test_what_all_descriptors_have_in_common_does_not_blur_the_estimate():
    generator = np.random.default_rng(0)
    queries, points = ((1 + 1e-3 * generator.standard_normal((n, 100))).astype(np.float32) for n in (3, 50))
    (block,) = estimate(queries, points, 1 << 20)
    exact = np.stack([squared_distances(query, points) for query in queries])
    assert (block.slack < 0.01 * exact.mean()).all()


def test_no_points_no_estimates():
    assert list(estimate(np.ones((2, 3), np.float32), np.empty((0, 3), np.float32), 100)) == []


def test_reported_distances_by_hand():
    # At right angles: d\u00b2 = 2, cos = 0. Opposite: d\u00b2 = 4, cos = -1.
    squares = np.array([0, 2, 4, -1e-9])
    assert from_squares(squares, "cosine").tolist() == [0, 1, 2, 0]
    assert from_squares(squares, "euclidean").tolist() == [0, math.sqrt(2), 2, 0]


@given(seeds, st.integers(1, 30), st.integers(1, 30))
@settings(max_examples=60, deadline=None)
def test_cosine_distances_are_those_of_the_loop(seed, size, count):
    generator = np.random.default_rng(seed)
    query, gallery = (
        described(generator.standard_normal((n, size)) * np.exp(3 * generator.standard_normal((n, 1))))
        for n in (1, count)
    )
    ready, points = comparable(query, gallery, "cosine")
    found = from_squares(squared_distances(ready.descriptors[0], points.descriptors), "cosine")
    for distance, other in zip(found, gallery.descriptors, strict=True):
        a, b = query.descriptors[0].astype(np.float64), other.astype(np.float64)
        cosine = sum(a * b) / math.sqrt(sum(a * a)) / math.sqrt(sum(b * b))
        assert distance == pytest.approx(1 - cosine, abs=1e-6)


@pytest.mark.parametrize("length", [1e-44, 1e-30, 1, 1e30, 3e38])
def test_any_length_becomes_one(length):
    ready, _ = comparable(described([[length, -length, length]]), described([[1, 0, 0]]), "cosine")
    assert ready.descriptors == pytest.approx(np.array([[1, -1, 1]]) / math.sqrt(3), rel=1e-6)
    assert ready.descriptors.dtype == np.float32


def test_by_euclidean_distance_nothing_is_copied():
    query, gallery = described([[2, 0]]), described([[0, 3]])
    assert comparable(query, gallery, "euclidean") == (query, gallery)


def test_what_comparing_keeps():
    query, gallery = comparable(described([[2, 0]], model="a"), described([[0, 3]]), "cosine")
    assert (query.model, gallery.model) == ("a", None)


@pytest.mark.parametrize("side", ["query", "gallery"])
def test_zeros_have_no_direction(side):
    sides = {"query": described([[1, 0], [2, 0]]), "gallery": described([[1, 0], [2, 0]])}
    sides[side].descriptors[1] = 0
    with pytest.raises(InvalidDescriptors, match=f"{side} descriptor in row 1 is all zeros"):
        comparable(**sides, distance="cosine")
    comparable(**sides, distance="euclidean")


def test_zeros_of_junk_do_not_matter():
    _, gallery = comparable(described([[1, 0]]), described([[0, 0], [2, 0]], pids=[-1, 1]), "cosine")
    assert gallery.descriptors.tolist() == [[0, 0], [1, 0]]


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_two_models_or_sizes_are_not_comparable(distance):
    with pytest.raises(InvalidDescriptors, match="model kudu, the gallery by heron"):
        comparable(described([[1, 0]], model="kudu"), described([[1, 0]], model="heron"), distance)
    with pytest.raises(InvalidDescriptors, match="have 2 numbers, gallery descriptors 3"):
        comparable(described([[1, 0]]), described([[1, 0, 0]]), distance)


def test_an_unknown_distance():
    with pytest.raises(InvalidSettings, match="distance is 'manhattan'; expected one of euclidean, cosine"):
        comparable(described([[1]]), described([[1]]), "manhattan")


def test_range_of_lengths_by_hand():
    assert length_range(described([[3, 4], [0, 1]]), described([[6, 8], [100, 0]], pids=[1, -1])) == (1, 10)
    assert length_range(described([[1, 0]], pids=[-1])) == (0, 0)
