"""Q over some of the views, by a loop, and what a greedy choice finds."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import pdist, squareform

from bench.quality.dial import greedy, q_over
from qafm.identifiability import identifiability


def distances_of(features: np.ndarray) -> np.ndarray:
    return np.stack([squareform(pdist(each)) for each in features])


def test_q_over_some_views_is_q_of_their_features():
    features = np.random.default_rng(0).random((3, 35, 8))
    distances = distances_of(features)
    for views in ([0, 5], [0, 3, 7, 20], list(range(35))):
        expected = [identifiability(each[views]) for each in features]
        np.testing.assert_allclose(q_over(distances, views), expected)


def test_the_first_view_chosen_is_the_one_that_tells_most():
    """All views lie where the original does, but two: one moves a little as the picture is bad, one at random."""
    generator = np.random.default_rng(0)
    bad, features = generator.random(50), np.zeros((50, 35, 2))
    features[:, 12, 0] = 10 * bad
    features[:, 30, 1] = generator.random(50)
    order = greedy(distances_of(features))
    assert order[0] == 12 and order[1] == 30 and sorted(order) == list(range(1, 35))
