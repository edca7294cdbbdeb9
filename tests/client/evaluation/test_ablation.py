from __future__ import annotations

import json

import numpy as np
import pytest

from client.evaluation.ablation import correlation, level, read_degradations
from qafm.errors import InvalidDataset


def test_levels_by_hand():
    assert [level(strength) for strength in (0, 0.05, 1 / 3, 0.34, 2 / 3, 0.67, 1)] == [
        "none", "slight", "slight", "medium", "medium", "severe", "severe",
    ]  # fmt: skip


def test_correlation_agrees_with_its_definition():
    x, y = np.random.default_rng(0).normal(size=(2, 20))
    dx, dy = x - x.mean(), y - y.mean()
    assert correlation(x, y) == pytest.approx((dx * dy).sum() / np.sqrt((dx**2).sum() * (dy**2).sum()))
    assert correlation(np.array([1, 2, 3]), np.array([6, 4, 2])) == pytest.approx(-1)
    assert correlation(x, np.ones(20)) is None


def test_degradations_are_read_by_path(tmp_path):
    path = tmp_path / "degradations.json"
    path.write_text(json.dumps({"version": 1, "images": {"query/a.jpg": {"kind": "blur", "strength": 0.5}}}))
    assert read_degradations(path) == {"query/a.jpg": ("blur", 0.5)}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"images": {"a": 1}}', '{"images": {"a": {"kind": "blur"}}}'])
def test_another_format_is_named(tmp_path, text):
    path = tmp_path / "degradations.json"
    path.write_text(text)
    with pytest.raises(InvalidDataset, match=r"degradations\.json: not a degradations\.json"):
        read_degradations(path)
