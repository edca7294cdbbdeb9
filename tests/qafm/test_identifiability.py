from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qafm.identifiability import identifiability


def naive(features: np.ndarray, pairs: str) -> float:
    """Eq. 1 as it is written."""
    count = len(features)
    total, taken = 0.0, 0
    for i in range(count):
        for j in range(i + 1, count):
            if pairs == "all" or i == 0:
                total += math.dist(features[i].tolist(), features[j].tolist())
                taken += 1
    return total / taken


@pytest.mark.parametrize("pairs", ["all", "original"])
@given(st.integers(2, 35), st.integers(1, 60), st.floats(0, 1e3), st.floats(1e-3, 10), st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_agrees_with_eq_1(pairs, count, size, offset, scatter, seed):
    """Far from the origin too, where |a|^2 + |b|^2 - 2ab would cancel."""
    features = (offset + scatter * np.random.default_rng(seed).normal(size=(count, size))).astype(np.float32)
    assert identifiability(features, pairs) == pytest.approx(naive(features, pairs), rel=1e-6, abs=1e-9)


def test_by_hand():
    triangle = np.array([[0, 0], [3, 0], [0, 4]], np.float32)
    assert identifiability(triangle) == pytest.approx((3 + 4 + 5) / 3)
    assert identifiability(triangle, "original") == pytest.approx((3 + 4) / 2)
    assert identifiability(np.ones((35, 2048), np.float32)) == 0


@pytest.mark.parametrize("shape", [(1, 4), (4,), (0, 4)])
def test_refuses_what_has_no_pairs(shape):
    with pytest.raises(ValueError, match="expected features"):
        identifiability(np.zeros(shape, np.float32))
