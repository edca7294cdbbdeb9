from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from qafm.errors import InvalidCheckpoint
from qafm.weighting.perceptron import HIDDEN_SIZE, AlphaNetwork


def network(seed: int = 0) -> AlphaNetwork:
    generator = np.random.default_rng(seed)
    return AlphaNetwork(
        w1=generator.normal(size=(HIDDEN_SIZE, 1)),
        b1=generator.normal(size=HIDDEN_SIZE),
        w2=generator.normal(size=(1, HIDDEN_SIZE)),
        b2=generator.normal(size=1),
        mu=np.array(11.1),
        sigma=np.array(0.66),
    )


@pytest.mark.parametrize("q", [0.0, 9.1, 11.1, 13.1, 1e4])
def test_agrees_with_a_loop(q):
    net = network()
    z = (q - float(net.mu)) / float(net.sigma)
    logit = float(net.b2[0])
    for unit in range(HIDDEN_SIZE):
        logit += float(net.w2[0, unit]) * max(0.0, float(net.w1[unit, 0]) * z + float(net.b1[unit]))
    expected = 0.0 if logit < -700 else 1 / (1 + math.exp(-logit))
    assert net.alpha(q) == pytest.approx(expected, abs=1e-5)


def test_by_hand():
    """One unit awake: z = (3 - 1) / 2 = 1, hidden 2, logit 2 * 0.5 - 1 = 0, α = 0.5."""
    zeros = np.zeros(HIDDEN_SIZE)
    first = np.eye(HIDDEN_SIZE)[0]
    net = AlphaNetwork(2 * first[:, None], zeros, 0.5 * first[None], np.array([-1.0]), np.array(1.0), np.array(2.0))
    assert net.alpha(3.0) == 0.5


def test_extreme_scores_stay_within_0_and_1():
    assert all(0 <= network(seed).alpha(q) <= 1 for seed in range(5) for q in (-1e6, 1e6))


def test_saved_and_loaded(tmp_path):
    network().save(tmp_path / "alpha.npz")
    loaded = AlphaNetwork.load(tmp_path / "alpha.npz")
    assert loaded.alpha(10.5) == network().alpha(10.5)
    with np.load(tmp_path / "alpha.npz") as arrays:
        assert sorted(arrays.files) == ["b1", "b2", "mu", "sigma", "w1", "w2"]


@pytest.mark.parametrize("change", [{"w1": np.zeros((3, 1))}, {"b2": np.array([np.nan])}, {"sigma": np.array(0.0)}])
def test_refuses_arrays_that_do_not_fit(change):
    with pytest.raises(InvalidCheckpoint, match=next(iter(change))):
        replace(network(), **change)


def test_names_an_array_that_a_file_lacks(tmp_path):
    np.savez(tmp_path / "alpha.npz", w1=np.zeros((32, 1)))
    with pytest.raises(InvalidCheckpoint, match="b1, b2, mu, sigma, w2"):
        AlphaNetwork.load(tmp_path / "alpha.npz")
