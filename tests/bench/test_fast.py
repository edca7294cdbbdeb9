"""How one look is held against the 35 views: the same numbers from what is kept, and differences that are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench.quality.fast import AGAINST, Judge, lesson_rows, qualities_of
from qafm.quality import Quality
from qafm.utility import direction, numbers
from qafm.weighting.constant import Constant
from tests.support.lessons import lessons_of
from tests.support.seeded_repository import seeded_utility
from train.networks.quality import ALPHA, UTILITY, Q
from train.quality.student import said_of


def test_what_is_kept_of_a_description_says_the_same():
    generator = np.random.default_rng(0)
    qualities = [
        Quality(float(generator.uniform(1, 9)), generator.uniform(0, 1, 34).astype(np.float32), generator.random(2048))
        for _ in range(3)
    ]
    kept = replace(
        lessons_of(people=1, crops=1, copies=2),
        numbers=np.stack([numbers(quality) for quality in qualities]),
        directions=np.stack([direction(quality) for quality in qualities]),
    )
    rules = Constant(np.float32(0.6)), seeded_utility()
    np.testing.assert_allclose(said_of(qualities_of(kept), *rules), said_of(qualities, *rules), rtol=1e-4, atol=1e-3)


@pytest.fixture
def judge() -> Judge:
    """Of a test set whose pictures' Q and utility are numbers drawn at random."""
    drawn = Judge.__new__(Judge)
    whole = lessons_of(people=30, crops=4, copies=0)
    drawn.sides = [whole.of(whole.camids == 0), whole.of(whole.camids != 0)]
    count = len(whole.pids)
    drawn.exact = np.random.default_rng(0).normal(size=(count, 37))
    drawn.exact[:, ALPHA] = 0
    drawn.kinds = np.array(["none", "blur"])[np.arange(count) % 2]
    return drawn


def test_the_same_answers_differ_by_nothing(judge):
    told = {(figure.of, figure.where): figure for figure in judge.told(judge.exact, "itself", every_kind=True)}
    assert set(told) == {("scatter, mean", "test set")} | {
        (of, where) for of in ("Q", "utility") for where in ("test set", "none", "blur")
    }
    assert all(figure.value == pytest.approx(1) for figure in told.values())
    used = list(judge.used(judge.exact))
    assert {figure.of for figure in used} == {"α, mean |Δ|", "ΔmAP", "Δ area of discard, utility", "α, deviation"}
    assert all(figure.value == 0 for figure in used if figure.of != "α, deviation")


def test_other_answers_differ_by_what_they_differ_by(judge):
    fast = judge.exact.copy()
    fast[judge.kinds == "blur", Q] *= -1
    fast[:, UTILITY] = -fast[:, UTILITY]
    fast[:, ALPHA] = np.log(0.75 / 0.25)
    told = {(figure.of, figure.where): figure.value for figure in judge.told(fast, "another", every_kind=True)}
    assert told["Q", "none"] == pytest.approx(1) and told["Q", "blur"] == pytest.approx(-1)
    assert abs(told["Q", "test set"]) < 0.4 and told["utility", "test set"] == pytest.approx(-1)
    used = {figure.of: figure.value for figure in judge.used(fast) if figure.what == AGAINST}
    assert used["α, mean |Δ|"] == pytest.approx(0.25) and used["ΔmAP"] != 0


def test_the_steeper_alpha_is_by_q_the_more_it_differs(judge):
    fast = judge.exact.copy()
    fast[:, Q] += np.random.default_rng(1).normal(scale=0.1, size=len(fast))
    used = [figure for figure in judge.used(fast) if "α by Q" in figure.what]
    deviations, differences = (
        [figure.value for figure in used if figure.of == of] for of in ("α, deviation", "α, mean |Δ|")
    )
    assert deviations == sorted(deviations) and differences == sorted(differences) and differences[0] > 0
    # By hand: with half a deviation of Q in the logit, its tenth moves α by at most a quarter of a twentieth.
    assert differences[0] < 0.05 / 4 and deviations[0] < 0.5 / 4


def test_which_pictures_teach_another_network():
    kinds = ["blur", "noise", "none", "blur", "occlusion"]
    assert lesson_rows(kinds, None, None).tolist() == [0, 1, 2, 3, 4]
    assert lesson_rows(kinds, 2, None).tolist() == [0, 1]
    assert lesson_rows(kinds, None, "blur").tolist() == [1, 2, 4]
    assert lesson_rows(kinds, 4, "blur").tolist() == [1, 2]
