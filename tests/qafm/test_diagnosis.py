"""What is wrong with a picture: the odds by hand, what is reliable, and what cannot be read."""

from __future__ import annotations

import math

import numpy as np
import pytest

from qafm.contract import PERTURBATION_COUNT
from qafm.diagnosis import DEFECTS, Defect, Diagnosis
from qafm.errors import InvalidCheckpoint
from synthetic.degradation import EVERY_KIND


def defect(offset: float = 0.0, said: int = 100, right: int = 100, people: int = 100, **slopes: float) -> Defect:
    """slopes: by place, such as p3=1.0."""
    weights = np.zeros(PERTURBATION_COUNT)
    for place, slope in slopes.items():
        weights[int(place[1:])] = slope
    return Defect(offset, weights, said, right, people)


def picture(**distances: float) -> np.ndarray:
    scatter = np.full(PERTURBATION_COUNT, 1 - 1e-3, np.float32)  # of which the logarithm is 0
    for place, distance in distances.items():
        scatter[int(place[1:])] = distance - 1e-3
    return scatter


def test_the_chances_by_hand():
    rule = Diagnosis({"darkness": defect(math.log(3), p3=2.0), "noise": defect(math.log(2), p7=1.0)})
    # Nothing moves it unlike others: odds of 3, 2 and 1.
    assert rule.likeliest(np.zeros((1, PERTURBATION_COUNT))) == [("darkness", pytest.approx(3 / 6))]
    logs = np.zeros((2, PERTURBATION_COUNT))
    logs[0, 3], logs[1, 3] = math.log(0.5), 800.0
    assert rule.likeliest(logs) == [("noise", pytest.approx(2 / 3.75)), ("darkness", pytest.approx(1.0))]
    assert rule.of(picture(p3=0.5)) == "noise"
    assert rule.of(picture(p3=0.9)) is None, "3·0.81 of 5.43 in all are not half"
    assert rule.of(picture(p3=2.0)) == "darkness"


def test_what_is_not_reliable_is_not_named_but_counts():
    rule = Diagnosis({"darkness": defect(3.0, said=100, right=70), "noise": defect(2.0)})
    assert rule.of(picture()) is None


@pytest.mark.parametrize(("people", "expected"), [(0, False), (11, False), (12, True)])
def test_a_few_people_are_no_proof(people, expected):
    """By Wilson's interval n of n are at least n / (n + 1.96²): 11 of 11 are 74 %, 12 of 12 are 76 %."""
    assert defect(said=5 * people, right=5 * people, people=people).reliable is expected


def test_wilsons_interval_by_hand():
    # (0.84 + 1.96²/200 - 1.96 sqrt(0.84·0.16/100 + 1.96²/40000)) / (1 + 1.96²/100) = 0.756; with 83 of 100 it is 0.745.
    assert defect(said=100, right=84).reliable and not defect(said=100, right=83).reliable
    assert not defect(said=100, right=84, people=50).reliable, "pictures of one person are not independent"


def test_there_and_back():
    rule = Diagnosis(
        {name: defect(place / 3, said=9, right=place, people=7, p5=0.1) for place, name in enumerate(DEFECTS)}
    )
    again = Diagnosis.from_content(rule.content())
    assert again.content() == rule.content() and list(again.defects) == list(DEFECTS)


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        {},
        {"darkness": 3},
        {"darkness": {"offset": 0.0, "weights": [0.0] * 33, "said": 1, "right": 1, "people": 1}},
        {"darkness": {"offset": float("nan"), "weights": [0.0] * 34, "said": 1, "right": 1, "people": 1}},
        {"darkness": {"weights": [0.0] * 34, "said": 1, "right": 1, "people": 1}},
        {"darkness": {"offset": 0.0, "weights": [0.0] * 34, "said": 1, "right": 2, "people": 1}},
        {"darkness": {"offset": 0.0, "weights": [0.0] * 34, "said": 1, "right": 1, "people": 2}},
        {"darkness": {"offset": 0.0, "weights": [0.0] * 34, "said": float("inf"), "right": 1, "people": 1}},
    ],
)
def test_anything_else_is_refused(content):
    with pytest.raises(InvalidCheckpoint, match="not a diagnosis"):
        Diagnosis.from_content(content)


def test_every_kind_of_degradation_is_a_defect_but_compression():
    kinds = [kind for kinds in DEFECTS.values() for kind in kinds]
    assert sorted([*kinds, "compression"]) == sorted(EVERY_KIND)
