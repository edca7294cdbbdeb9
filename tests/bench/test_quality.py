"""`python -m bench.quality`: what it is judged on, and its figures by hand."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from bench.quality.figures import Figure, across, constants, left_out, named, shots, tables, untaught, within
from bench.quality.pictures import STRENGTHS, WALK, as_they_are, ladders, walks
from qafm.contract import PERTURBATION_COUNT
from qafm.datasets.crops import Crop
from qafm.diagnosis import Defect, Diagnosis
from synthetic.degradation import EVERY_KIND
from tests.support.lessons import lessons_of
from train.quality.alpha import CONSTANTS
from train.quality.utility import teach

CROPS = [
    Crop(Path(f"{pid}_{camid}_{number}.jpg"), pid, camid)
    for pid in range(1, 9)
    for camid in (1, 2)
    for number in range(camid)
]


def value_of(figures: list[Figure], *named: str) -> float:
    found = [figure.value for figure in figures if figure[:3] == named]
    assert len(found) == 1, named
    return found[0]


def test_a_ladder_is_a_crop_and_all_strengths_of_all_kinds():
    pictures = ladders(CROPS, seed=0)
    assert len(as_they_are(CROPS)) == len(CROPS)
    assert len(pictures) == 8 * (1 + len(EVERY_KIND) * len(STRENGTHS))
    assert len({picture.crop.pid for picture in pictures}) == 8
    of_one = [picture for picture in pictures if picture.crop.pid == 3]
    assert len({picture.crop for picture in of_one}) == 1
    assert Counter(picture.degradation.kind for picture in of_one) == {"none": 1} | dict.fromkeys(EVERY_KIND, 5)


@pytest.mark.parametrize("severe", [False, True])
def test_a_walk_is_of_one_person_before_the_camera_that_saw_most(severe):
    pictures = walks(CROPS, seed=0, severe=severe)
    assert pictures == walks(CROPS, seed=0, severe=severe)
    assert len(pictures) == 8 * WALK
    for start in range(0, len(pictures), WALK):
        walk = pictures[start : start + WALK]
        assert len({picture.crop.pid for picture in walk}) == 1
        assert {picture.crop.camid for picture in walk} == {2} and len({picture.crop for picture in walk}) == 2
        strengths = sorted(picture.degradation.strength for picture in walk)
        if severe:
            assert strengths[1] <= 1 / 3 and strengths[2] >= 2 / 3


def test_what_is_told_within_a_picture_and_across_pictures():
    """Two ladders; the signal falls with the strength, but the second picture is worse to begin with."""
    crops, kinds = 2, ("blur",)
    count = 1 + len(STRENGTHS)
    strengths = np.tile([0.0, *STRENGTHS], crops)
    lessons = lessons_of(people=2, crops=1, copies=len(STRENGTHS))
    lessons = type(lessons)(
        **vars(lessons) | {"kinds": np.where(strengths > 0, *kinds, "none"), "strengths": strengths}
    )
    found = {"one": -strengths - 10 * (np.arange(len(strengths)) >= count), "two": np.ones(len(strengths))}
    within_one = list(within(lessons, found))
    assert value_of(within_one, "within", "one", "blur") == pytest.approx(1)
    assert value_of(within_one, "within", "two", "blur") == 0
    told = list(across("across", lessons, found, strengths, lessons.kinds))
    assert 0 < value_of(told, "across", "one", "blur") < 1


def test_how_often_a_defect_is_named_rightly():
    """Number 3 shows fog, which stands for darkness here; a rule that names it above a distance of e."""
    lessons = lessons_of(people=4, crops=2, copies=4)
    weights = np.zeros(PERTURBATION_COUNT)
    weights[3] = 100.0
    rule = Diagnosis({"darkness": Defect(-100.0, weights)})
    kinds = np.where(lessons.kinds == "fog", "darkness", lessons.kinds)
    found = list(named(lessons, rule, kinds, lessons.strengths, "here"))
    says = lessons.numbers[:, 3] > 1
    severe = (kinds == "darkness") & (lessons.strengths > 2 / 3)
    rightly = value_of(found, "named rightly (here)", "darkness", f"of {says.sum()}")
    assert rightly == pytest.approx((kinds == "darkness")[says].mean())
    often = value_of(found, "severe and named (here)", "darkness", f"of {severe.sum()}")
    assert often == pytest.approx(says[severe].mean())
    # Wrongly, where something else is wrong.
    (wrong,) = named(lessons, rule, np.full(len(kinds), "noise"), 0 * lessons.strengths, "here")
    assert wrong.what == "named rightly (here)" and wrong.value == 0


def test_a_kind_that_was_not_taught_is_judged_by_a_utility_without_it():
    taught, judged = lessons_of(people=12, copies=6), lessons_of(people=12, copies=6, seed=5)
    figures = list(untaught(taught, judged))
    assert [figure.where for figure in figures] == ["dust", "fog"]
    without = taught.of(~(taught.kinds == "fog"))
    assert set(without.kinds) == {"none", "dust"} and np.array_equal(without.whole, np.repeat(np.arange(48) * 4, 4))
    rule, fog = teach(without), judged.kinds == "fog"
    expected = spearmanr(-rule.score(judged.numbers[fog], judged.directions[fog]), judged.strengths[fog]).statistic
    found = value_of(figures, "across ladders, of a kind that was not taught", "utility", "fog")
    assert found == pytest.approx(expected)


def test_leaving_out_the_worst_fifth():
    """Five queries: without the worst by the truth the mean rises from 0.6 to 0.75; the signal leaves out the best."""
    precision, pids = np.array([0.0, 0.5, 0.5, 1.0, 1.0]), np.arange(5)
    truth = np.array([0.0, 1, 2, 3, 4])
    figures = list(left_out(precision, {"wrong": -truth, "identifiability": truth}, truth, pids))
    assert value_of(figures, "mAP", "all", "queries") == pytest.approx(0.6)
    assert value_of(figures, "mAP without the worst fifth", "truth", "queries") == pytest.approx(0.75)
    assert value_of(figures, "mAP without the worst fifth", "wrong", "queries") == pytest.approx(0.5)
    assert value_of(figures, "share of the truth's gain", "wrong", "queries") == pytest.approx(-0.1 / 0.15)
    assert value_of(figures, "share of the truth's gain", "truth", "queries") == pytest.approx(1)
    assert value_of(figures, "area over that of identifiability", "truth", "queries") == 0
    assert value_of(figures, "area over that of identifiability", "wrong", "queries") < 0


def test_the_best_constant_in_hindsight():
    by_rule = {"retrieval": np.full(4, 0.9), "constant": np.full(4, 0.8)}
    figures = list(constants(lambda alpha: np.full(4, 1 - abs(alpha - 0.6)), by_rule, np.arange(4)))
    assert len([figure for figure in figures if figure.what == "mAP by a constant"]) == len(CONSTANTS)
    assert "| α = 0.60 | 100.0 |" in tables(figures) and "| queries | 10.0 (10.0 to 10.0) |" in tables(figures)
    over = {figure.of: figure for figure in figures if figure.what.endswith("hindsight")}
    assert over["retrieval"].where == "0.60" and over["retrieval"].value == pytest.approx(-0.1)
    assert value_of(figures, "mAP over the constant", "retrieval", "queries") == pytest.approx(0.1)


def test_the_best_shot_of_a_walk():
    """Two walks; what is found is the first number of a descriptor. The truth is 1.0, chance 0.4, the signal 0.7."""
    worth = np.array([[1.0, 0.2, 0.2, 0.2], [0.4, 1.0, 0.1, 0.1]])
    strengths = 1 - worth
    descriptors = np.stack([worth, np.ones_like(worth)], axis=-1)
    found = {"utility": np.array([[1.0, 0, 0, 0], [1, 0, 0, 0]]).ravel()}
    figures = list(shots(lambda chosen: chosen[:, 0], descriptors, np.array([1, 2]), found, strengths, "walks"))
    assert value_of(figures, "one shot", "chance", "walks") == pytest.approx(0.4)
    assert value_of(figures, "one shot", "utility", "walks") == pytest.approx(0.7)
    # The first of the three alike, and the one in the middle.
    assert value_of(figures, "one shot", "nearest to the pool", "walks") == pytest.approx((0.2 + 0.4) / 2)
    share = value_of(figures, "share of the way to the best shot", "utility", "walks")
    assert share == pytest.approx((0.7 - 0.4) / (1 - 0.4))
    assert value_of(figures, "pooled, over pooled alike", "alike", "walks") == 0
    assert value_of(figures, "pooled, over pooled alike", "truth", "walks") > 0
