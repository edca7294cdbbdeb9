from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qafm.identifiability import identifiability
from qafm.quality import measure, scatter


def naive_scatter(features: np.ndarray) -> list[float]:
    """As it is defined, one view after another."""

    def direction(view: list[float]) -> list[float]:
        length = math.hypot(*view)
        return [value / length for value in view] if length else view

    original, *perturbed = (direction(view) for view in features.tolist())
    return [math.dist(original, view) for view in perturbed]


@given(st.integers(2, 35), st.integers(1, 60), st.floats(-1e3, 1e3), st.floats(1e-3, 10), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_scatter_agrees_with_a_loop(count, size, offset, spread, seed):
    """Also where the views lie close together and far from the origin, and where some are zero."""
    generator = np.random.default_rng(seed)
    features = (offset + spread * generator.normal(size=(count, size))).astype(np.float32)
    features[generator.random(count) < 0.1] = 0
    got = scatter(features)
    assert got.shape == (count - 1,) and got.dtype == np.float32
    assert got.tolist() == pytest.approx(naive_scatter(features), rel=1e-5, abs=1e-9)


def test_scatter_by_hand():
    """The original to the right; then the same twice as long, upwards, to the left, and half-way to upwards."""
    features = np.array([[3, 0], [6, 0], [0, 5], [-1, 0], [2, 2]], np.float32)
    expected = [0, math.sqrt(2), 2, math.sqrt(2 - math.sqrt(2))]
    assert scatter(features).tolist() == pytest.approx(expected)


def test_features_that_are_zero_are_at_1_from_all_others_and_at_0_from_each_other():
    features = np.array([[3, 4], [0, 0], [3, 4]], np.float32)
    assert scatter(features).tolist() == pytest.approx([1, 0])
    assert scatter(features[1:]).tolist() == [1]
    assert scatter(np.zeros((3, 2), np.float32)).tolist() == [0, 0]


@pytest.mark.parametrize("factor", [1e-38, 1e30])
def test_scatter_is_the_same_whatever_the_length(factor):
    features = np.random.default_rng(0).normal(size=(35, 2048)).astype(np.float32)
    scaled = (features * np.float32(factor)).astype(np.float32)
    assert scatter(scaled) == pytest.approx(scatter(features), rel=1e-4)


def test_the_quality_of_a_picture_has_both():
    features = np.random.default_rng(0).normal(size=(35, 2048)).astype(np.float32)
    quality = measure(features)
    assert quality.identifiability == identifiability(features)
    assert np.array_equal(quality.scatter, scatter(features)) and quality.scatter.shape == (34,)


@pytest.mark.parametrize("shape", [(1, 4), (4,), (0, 4)])
def test_refuses_what_has_no_perturbation(shape):
    for function in (scatter, measure):
        with pytest.raises(ValueError, match="expected features"):
            function(np.zeros(shape, np.float32))
