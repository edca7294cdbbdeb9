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


def test_the_best_shot_is_the_first_of_the_highest_utility():
    assert client.best_shot(PICTURES) is PICTURES[1]


def test_pooled_alike_whatever_their_utility():
    expected = np.array([1, 0]) + np.array([0, 1]) + np.array([0.6, 0.8])
    assert client.pool(PICTURES) == pytest.approx(expected / np.linalg.norm(expected))


def test_without_a_utility_there_is_no_best_shot():
    pictures = [replace(PICTURES[0], utility=None), PICTURES[1]]
    with pytest.raises(InvalidDescriptors, match="1 of 2 descriptions have no utility"):
        client.best_shot(pictures)


@pytest.mark.parametrize("function", [client.best_shot, client.pool])
def test_nothing_and_pictures_of_two_models_are_refused(function):
    with pytest.raises(InvalidDescriptors, match="expected at least one"):
        function([])
    with pytest.raises(InvalidDescriptors, match="models k7m2-9xqd/qafm, other/qafm"):
        function([PICTURES[0], described([1, 0], 0.5, model="other/qafm")])
