"""What an α by kind and strength could gain: against the product's own ranking, and where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from bench.quality.classes import Ranking, Side, classes_of, premise
from qafm.datasets.degradations import Degradation
from qafm.retrieval.descriptors import Descriptors
from qafm.retrieval.metrics import evaluate


def side(camid: int, *, people: int = 80, pictures: int = 2, seed: int = 0, blind: bool = True) -> Side:
    """Pictures of class 1 are those in which the visual branch is blind, if one is; the other always knows a little."""
    generator, truth = np.random.default_rng([seed, camid]), np.random.default_rng(seed)
    visual, semantic = truth.normal(size=(2, people, 12))
    pids = np.repeat(np.arange(people), pictures)
    classes = generator.integers(0, 2, len(pids))
    noise = np.where(classes & blind, 9.0, 0.3)[:, None]
    spreads = ((semantic, 1.0), (visual, noise))
    ends = [own[pids] + spread * generator.normal(size=(len(pids), 12)) for own, spread in spreads]
    wide = np.zeros((len(pids), 2, 24))
    wide[:, 0, :12], wide[:, 1, 12:] = ends
    return Side(wide / np.linalg.norm(wide, axis=2, keepdims=True), pids, np.full(len(pids), camid), classes)


def test_average_precision_agrees_with_the_products_own():
    query, gallery = side(1), side(2)
    gallery = Side(gallery.ends, gallery.pids, np.where(np.arange(len(gallery.pids)) % 5, 2, 1), gallery.classes)
    generator = np.random.default_rng(3)
    alpha = [generator.uniform(0, 1, len(each.pids)) for each in (query, gallery)]
    mixed = [
        each.ends[:, 1] * weight[:, None] + each.ends[:, 0] * (1 - weight[:, None])
        for each, weight in zip((query, gallery), alpha, strict=True)
    ]
    sides = [
        Descriptors((m / np.linalg.norm(m, axis=1, keepdims=True)).astype(np.float32), each.pids, each.camids)
        for m, each in zip(mixed, (query, gallery), strict=True)
    ]
    expected = evaluate(*sides).average_precision
    assert Ranking(query, gallery).precisions(*alpha) == pytest.approx(expected, nan_ok=True, abs=1e-6)


def test_where_a_branch_is_blind_in_one_class_alpha_by_class_gains():
    found = premise(Ranking(side(1), side(2)))
    assert found.gain.value > 0.02 and found.gain.interval.low > 0
    assert 0.05 <= found.constant <= 1


def test_where_the_classes_mean_nothing_it_gains_nothing():
    found = premise(Ranking(side(1, blind=False), side(2, blind=False)))
    assert found.gain.value < 0.01


def test_classes_by_hand():
    recorded = [Degradation("none", 0.0), Degradation("blur", 0.1), Degradation("noise", 0.5), Degradation("blur", 1.0)]
    assert classes_of(recorded).tolist() == [0, 1, 5, 3]
