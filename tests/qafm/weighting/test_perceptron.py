from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from qafm.errors import InvalidCheckpoint
from qafm.quality import Quality
from qafm.weighting.perceptron import HIDDEN_SIZE, Perceptron


def quality(q: float) -> Quality:
    return Quality(q, np.zeros(34, np.float32), np.zeros(2048))


def perceptron(seed: int = 0) -> Perceptron:
    generator = np.random.default_rng(seed)
    return Perceptron(
        w1=generator.normal(size=(HIDDEN_SIZE, 1)),
        b1=generator.normal(size=HIDDEN_SIZE),
        w2=generator.normal(size=(1, HIDDEN_SIZE)),
        b2=generator.normal(size=1),
        mu=np.array(11.1),
        sigma=np.array(0.66),
    )


@pytest.mark.parametrize("q", [0.0, 9.1, 11.1, 13.1, 1e4])
def test_agrees_with_a_loop(q):
    net = perceptron()
    z = (q - float(net.mu)) / float(net.sigma)
    logit = float(net.b2[0])
    for unit in range(HIDDEN_SIZE):
        logit += float(net.w2[0, unit]) * max(0.0, float(net.w1[unit, 0]) * z + float(net.b1[unit]))
    expected = 0.0 if logit < -700 else 1 / (1 + math.exp(-logit))
    assert net.alpha(quality(q)) == pytest.approx(expected, abs=1e-5)


def test_by_hand():
    """One unit awake: z = (3 - 1) / 2 = 1, hidden 2, logit 2 * 0.5 - 1 = 0, α = 0.5."""
    zeros = np.zeros(HIDDEN_SIZE)
    first = np.eye(HIDDEN_SIZE)[0]
    net = Perceptron(2 * first[:, None], zeros, 0.5 * first[None], np.array([-1.0]), np.array(1.0), np.array(2.0))
    assert net.alpha(quality(3.0)) == 0.5


def test_extreme_scores_stay_within_0_and_1():
    assert all(0 <= perceptron(seed).alpha(quality(q)) <= 1 for seed in range(5) for q in (-1e6, 1e6))


@pytest.mark.parametrize("change", [{"w1": np.zeros((3, 1))}, {"b2": np.array([np.nan])}, {"sigma": np.array(0.0)}])
def test_refuses_arrays_that_do_not_fit(change):
    with pytest.raises(InvalidCheckpoint, match=next(iter(change))):
        replace(perceptron(), **change)
