"""The best shot of several pictures, and all of them as one descriptor."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import client
from client.description import Description
from qafm.errors import InvalidDescriptors


def described(descriptor: list[float], utility: float | None, model: str = "k7m2-9xqd/qafm") -> Description:
    nothing = np.zeros(1, np.float32)
    return Description(
        np.array(descriptor, np.float32),
        0.5,
        12.0,
        nothing,
        nothing,
        np.zeros(30, np.float32),
        utility=utility,
        model=model,
    )


PICTURES = [described([1, 0], 0.2), described([0, 1], 0.6), described([0.6, 0.8], 0.6)]


def test_the_best_shot_is_the_nearest_to_all():
    # Pooled they are about [0.51, 0.86]: 0.51, 0.86 and 0.99 near.
    assert client.best_shot(PICTURES) is PICTURES[2]


def test_of_two_pictures_the_best_shot_has_the_higher_utility():
    assert client.best_shot(PICTURES[:2]) is PICTURES[1]
    assert client.best_shot(PICTURES[1::-1]) is PICTURES[1]
    assert client.best_shot([PICTURES[1], PICTURES[1], PICTURES[0]]) is PICTURES[1], "the first of equals"


def test_the_best_shot_without_a_utility():
    pictures = [replace(picture, utility=None) for picture in PICTURES]
    assert client.best_shot(pictures) is pictures[2]


def test_pooled_by_a_half_and_the_utility():
    expected = 0.7 * np.array([1, 0]) + 1.1 * np.array([0, 1]) + 1.1 * np.array([0.6, 0.8])
    assert client.pool(PICTURES) == pytest.approx(expected / np.linalg.norm(expected))


def test_pooled_alike_where_a_utility_is_missing():
    expected = np.array([1, 0]) + np.array([0, 1])
    pictures = [replace(PICTURES[0], utility=None), PICTURES[1]]
    assert client.pool(pictures) == pytest.approx(expected / np.linalg.norm(expected))


@pytest.mark.parametrize("function", [client.best_shot, client.pool])
def test_nothing_and_pictures_of_two_models_are_refused(function):
    with pytest.raises(InvalidDescriptors, match="expected at least one"):
        function([])
    with pytest.raises(InvalidDescriptors, match="models k7m2-9xqd/qafm, other/qafm"):
        function([PICTURES[0], described([1, 0], 0.5, model="other/qafm")])
