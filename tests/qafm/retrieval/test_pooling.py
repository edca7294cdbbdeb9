"""Several pictures as one: by a loop, by hand, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from qafm.retrieval.pooling import nearest_to_pool, pooled, weights_by

rng = np.random.default_rng(0)


def test_pooled_by_a_loop():
    descriptors, weights = rng.normal(size=(4, 6)), rng.uniform(0, 2, 4)
    sums = [0.0] * 6
    for descriptor, weight in zip(descriptors, weights, strict=True):
        length = math.sqrt(sum(value * value for value in descriptor))
        for place, value in enumerate(descriptor):
            sums[place] += weight * value / length
    length = math.sqrt(sum(value * value for value in sums))
    found = pooled(descriptors, weights)
    assert found.dtype == np.float32
    assert found == pytest.approx([value / length for value in sums], abs=1e-6)


def test_the_nearest_to_the_pool_by_a_loop():
    for _ in range(50):
        descriptors, weights = rng.normal(size=(5, 3)), rng.uniform(0, 2, 5)
        towards, best, highest = pooled(descriptors, weights), -1, -2.0
        for row, descriptor in enumerate(descriptors):
            length = math.sqrt(sum(value * value for value in descriptor))
            cosine = sum(a * b for a, b in zip(descriptor, towards.tolist(), strict=True)) / length
            if cosine > highest:
                best, highest = row, cosine
        assert nearest_to_pool(descriptors, weights) == best


def test_the_nearest_of_two_by_hand():
    two = np.array([[3.0, 0], [0, 1]])
    assert nearest_to_pool(two, weights_by(np.array([0.2, 0.6]))) == 1, "0.7 and 1.1"
    assert nearest_to_pool(two, weights_by(np.array([0.6, 0.2]))) == 0
    assert nearest_to_pool(two) == 0, "the first of equals"
    assert weights_by(np.array([0.0, 1.0])).tolist() == [0.5, 1.5]


def test_pooled_by_hand():
    two = np.array([[3.0, 0], [0, 1]])
    assert pooled(two) == pytest.approx([math.sqrt(0.5)] * 2)
    assert pooled(two, np.array([1, 0])) == pytest.approx([1, 0])
    assert pooled(two, np.zeros(2)) == pytest.approx(pooled(two)), "no picture is worth anything: all count alike"
    assert pooled(two[:1]) == pytest.approx([1, 0])
    assert pooled(two * 1e3, np.array([5, 5])) == pytest.approx(pooled(two)), "lengths and units do not count"


def test_opposite_descriptors_have_no_direction():
    assert pooled(np.array([[1.0, 0], [-1, 0]])).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("descriptors", "weights"),
    [
        (np.ones(3), None),
        (np.ones((0, 3)), None),
        (np.ones((2, 3)), np.ones(3)),
        (np.ones((2, 3)), np.array([1, -1])),
        (np.ones((2, 3)), np.array([1, np.nan])),
    ],
)
def test_what_is_refused(descriptors, weights):
    with pytest.raises(ValueError, match="expected"):
        pooled(descriptors, weights)
