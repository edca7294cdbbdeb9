from __future__ import annotations

import numpy as np
import pytest

from client.evaluation.ablation import correlation


def test_correlation_agrees_with_its_definition():
    x, y = np.random.default_rng(0).normal(size=(2, 20))
    dx, dy = x - x.mean(), y - y.mean()
    assert correlation(x, y) == pytest.approx((dx * dy).sum() / np.sqrt((dx**2).sum() * (dy**2).sum()))
    assert correlation(np.array([1, 2, 3]), np.array([6, 4, 2])) == pytest.approx(-1)
    assert correlation(x, np.ones(20)) is None
