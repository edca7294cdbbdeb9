"""Thresholds by class of quality: by the best of a grid, where they help, and where they do not."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from bench.quality.thresholds import FALSE_POSITIVES, Pairs, by_class, chosen


def pairs(shift: float, people: int = 60, seed: int = 0) -> Pairs:
    """Two queries and two pictures in the gallery of each person. Pairs with a picture of low quality, three of ten,
    have cosines that are higher by `shift`, true and false alike."""
    rng = np.random.default_rng(seed)
    pids = np.repeat(np.arange(people), 2)
    qualities = rng.random(len(pids)), np.ones(len(pids))
    cosines = 0.2 + 0.1 * rng.normal(size=(len(pids), len(pids))) + shift * (qualities[0] < 0.3)[:, None]
    cosines[pids[:, None] == pids] += 0.3
    return Pairs(cosines, qualities, (pids, pids), (np.zeros_like(pids), np.ones_like(pids)))


def test_thresholds_by_class_pay_where_the_classes_differ():
    one, (gain, low, high) = by_class(pairs(shift=0.3))
    assert 0.1 < one < 0.4 and gain > 0.1 and low > 0 and low < gain < high


def test_and_not_where_they_do_not():
    one, (gain, low, high) = by_class(pairs(shift=0.0))
    assert one > 0.4 and low <= 0.02 and abs(gain) < 0.05 and low < high


def test_the_best_thresholds_by_trying_all():
    rng = np.random.default_rng(0)
    classes = rng.integers(2, size=20_000)
    true = rng.random(20_000) < 0.2
    cosines = np.clip(0.3 + 0.1 * rng.normal(size=20_000) + 0.2 * true + 0.1 * classes, 0, 1)
    thresholds = chosen(cosines, classes, true)

    def passing(first: float, second: float) -> tuple[float, float]:
        passed = cosines > np.array([first, second])[classes]
        return float(passed[~true].mean()), float(passed[true].mean())

    assert thresholds[2] == thresholds[3] == np.quantile(cosines[~true], 1 - FALSE_POSITIVES), "nobody is of these"
    false, right = passing(*thresholds[:2])
    assert false <= FALSE_POSITIVES
    grid = [passing(*each) for each in product(np.linspace(0.4, 0.9, 51), repeat=2)]
    assert right >= max(share for wrong, share in grid if wrong <= FALSE_POSITIVES) - 0.02


def test_pairs_of_one_camera_do_not_count():
    both = pairs(shift=0.0, people=2)
    seen = Pairs(both.cosines, both.qualities, both.pids, (np.array([0, 1, 0, 1]), np.array([0, 1, 0, 1])))
    cosines, _, true, rows = seen.of(np.array([0, 1]))
    assert len(cosines) == 16 - 4 and true.sum() == 4 and np.bincount(rows).tolist() == [3, 3, 3, 3]
    cosines, classes, true, rows = seen.of(np.array([1]))
    assert len(cosines) == 2 and true.all() and set(rows.tolist()) == {2, 3}
    assert classes.max() <= 3 and cosines == pytest.approx([both.cosines[2, 3], both.cosines[3, 2]])
