"""The weighting that is fitted for retrieval: by an oracle, and what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest

from qafm.errors import InvalidCheckpoint
from qafm.quality import Quality
from qafm.utility import numbers
from qafm.weighting.retrieval import Retrieval

rng = np.random.default_rng(0)
ARRAYS = {
    "centre": rng.normal(size=40).astype(np.float32),
    "spread": rng.uniform(0.5, 2, 40).astype(np.float32),
    "linear": (0.3 * rng.normal(size=40)).astype(np.float32),
    "offset": np.float32(0.4),
}
SOME = Quality(10.5, rng.uniform(0, 1, 34).astype(np.float32), rng.normal(size=2048))


def test_alpha_by_a_loop():
    logit = float(ARRAYS["offset"])
    for place, number in enumerate(numbers(SOME)):
        logit += (number - ARRAYS["centre"][place]) / ARRAYS["spread"][place] * ARRAYS["linear"][place]
    assert Retrieval(**ARRAYS).alpha(SOME) == pytest.approx(1 / (1 + math.exp(-logit)))


def test_without_weights_it_is_a_constant():
    nothing = Retrieval(**ARRAYS | {"linear": np.zeros(40)})
    assert nothing.alpha(SOME) == pytest.approx(1 / (1 + math.exp(-0.4)))


def test_many_pictures_at_once_are_each_as_alone():
    rule, several = Retrieval(**ARRAYS), rng.normal(size=(5, 40))
    assert rule.alphas(several) == pytest.approx([rule.alphas(each) for each in several])


@pytest.mark.parametrize("extreme", [1e6, -1e6])
def test_alpha_stays_in_its_range(extreme):
    assert 0 <= Retrieval(**ARRAYS | {"offset": np.array(extreme)}).alpha(SOME) <= 1


@pytest.mark.parametrize(
    "broken", [{"linear": np.zeros(39)}, {"offset": np.array(np.nan)}, {"spread": np.zeros(40)}], ids=str
)
def test_refuses_what_is_no_rule(broken):
    with pytest.raises(InvalidCheckpoint, match="|".join(broken)):
        Retrieval(**ARRAYS | broken)
