"""How a utility is taught: the lessons by hand and by loops, and what the rule then knows."""

from __future__ import annotations

import numpy as np
import pytest

from qafm.datasets.crops import Crop
from synthetic.degradation import EVERY_KIND
from tests.support.lessons import lessons_of
from train.quality.lessons import draw_pictures
from train.quality.utility import Lessons, correlations, cross_fitted, mean_loss, teach, worth
from train.settings import LessonSettings


def test_worth_by_a_loop():
    lessons = lessons_of(people=3)
    found = worth(lessons)
    crops = [row for row in range(len(lessons.pids)) if lessons.whole[row] == row]
    for row in range(len(lessons.pids)):
        own = [c for c in crops if lessons.pids[c] == lessons.pids[row] and c != lessons.whole[row]]
        strangers = [c for c in crops if lessons.pids[c] != lessons.pids[row]]
        expected = np.mean([lessons.descriptors[row] @ lessons.descriptors[c] for c in own]) - max(
            lessons.descriptors[row] @ lessons.descriptors[c] for c in strangers
        )
        assert found[row] == pytest.approx(expected)


def test_a_person_with_a_single_crop_has_no_worth_and_teaches_nothing_of_it():
    lessons = lessons_of(people=4, crops=1)
    assert np.isnan(worth(lessons)).all()
    mixed = lessons_of(people=4)
    alone = np.ones(len(mixed.pids), bool)
    alone[(mixed.pids == 0) & (mixed.whole != 0)] = False
    assert np.isnan(worth(mixed.of(alone))).sum() == 7
    assert np.isfinite(teach(mixed.of(alone)).features).all()


def test_crops_are_taken_with_their_copies():
    lessons = lessons_of(people=3)
    part = lessons.of(lessons.pids != 1)
    assert set(part.pids) == {0, 2} and (part.pids[part.whole] == part.pids).all()
    np.testing.assert_array_equal(part.kinds[part.whole], "none")


def test_the_mean_loss_grows_with_the_strength_and_is_free_of_noise():
    lessons = lessons_of(people=20)
    loss = mean_loss(lessons)
    assert (loss[~lessons.copies] == 0).all() and (loss <= 0).all()
    for kind in ("fog", "dust"):
        rows = lessons.kinds == kind
        order = np.argsort(lessons.strengths[rows])
        assert (np.diff(loss[rows][order]) <= 1e-12).all(), "one curve a kind"
    change = worth(lessons) - worth(lessons)[lessons.whole]
    fog, dust = (np.std(change[lessons.kinds == kind]) for kind in ("fog", "dust"))
    raised = np.std(loss[lessons.kinds == "fog"]) / np.std(loss[lessons.kinds == "dust"])
    assert 1 < raised < fog / dust + 1


def test_what_is_taught_is_told_of_other_people():
    lessons = lessons_of(people=20)
    told = correlations(lessons)
    assert set(told) == {"fog", "dust"} and min(told.values()) > 0.9
    rule = teach(lessons)
    # Nothing of the person, and each kind by what shows it.
    weights = np.abs(rule.linear)
    assert weights[3] > 10 * weights[11] and weights[7] > 10 * weights[11]
    ordinary = rule.score(lessons.numbers, lessons.directions)[~lessons.copies]
    assert ordinary.mean() == pytest.approx(0, abs=1e-3) and ordinary.std() == pytest.approx(1.7, rel=1e-3)


def test_nobody_is_scored_by_a_rule_that_he_taught():
    """Without any relation, a rule tells nothing of others."""
    lessons = lessons_of(people=20)
    rng = np.random.default_rng(1)
    shuffled = Lessons(**vars(lessons) | {"numbers": rng.normal(size=lessons.numbers.shape)})
    scores = cross_fitted(shuffled)
    rows = lessons.kinds == "fog"
    assert abs(np.corrcoef(scores[rows], lessons.strengths[rows])[0, 1]) < 0.25


def test_too_few_people_tell_nothing():
    assert correlations(lessons_of(people=3)) == {}


def test_each_crop_comes_as_it_is_and_then_worse(tmp_path):
    crops = [Crop(tmp_path / f"{row}.jpg", pid=row // 4, camid=row % 4) for row in range(20)]
    pictures = draw_pictures(crops, LessonSettings(crops=3, copies=9), seed=1)
    assert pictures == draw_pictures(crops, LessonSettings(crops=3, copies=9), seed=1)
    assert len(pictures) == 3 * 10 and len({picture.crop for picture in pictures}) == 3
    for first in range(0, 30, 10):
        as_it_is, *copies = pictures[first : first + 10]
        assert as_it_is.degradation.kind == "none" and {copy.crop for copy in copies} == {as_it_is.crop}
        kinds = [copy.degradation.kind for copy in copies]
        assert set(kinds[:7]) == set(EVERY_KIND) and kinds[7:] == kinds[:2]
        assert all(0.05 <= copy.degradation.strength <= 1 for copy in copies)
    assert len(draw_pictures(crops, LessonSettings(crops=10_000, copies=1), seed=1)) == 2 * len(crops)
