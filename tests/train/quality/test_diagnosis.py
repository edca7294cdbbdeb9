"""What tells what is wrong with a picture is taught by some people and right about others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qafm.contract import PERTURBATION_COUNT
from qafm.diagnosis import DEFECTS
from tests.support.lessons import lessons_of
from train.quality.diagnosis import teach_diagnosis
from train.quality.utility import Lessons


def renamed(lessons: Lessons, **kinds: str) -> Lessons:
    return replace(lessons, kinds=np.array([kinds.get(kind, kind) for kind in lessons.kinds.tolist()]))


def test_defects_are_told_of_other_people_and_by_what_shows_them():
    lessons = lessons_of(people=20)
    rule = teach_diagnosis(renamed(lessons, fog="darkness", dust="low_resolution"))
    dark, blurred = rule.defects["darkness"], rule.defects["blur"]
    assert dark.reliable and blurred.reliable and dark.right <= dark.said <= 20 * 4 * 3
    spread = lessons.numbers[:, :PERTURBATION_COUNT].std(axis=0)
    assert np.argmax(dark.weights * spread) == 3 and np.argmax(blurred.weights * spread) == 7
    assert not any(rule.defects[name].reliable for name in DEFECTS if name not in ("darkness", "blur"))
    strangers = lessons_of(people=20, seed=1)
    told = rule.likeliest(strangers.numbers[:, :PERTURBATION_COUNT])
    named = np.array([name if chance > 0.5 else "" for name, chance in told])
    severe = strangers.strengths > 0.7
    assert (named[severe & (strangers.kinds == "fog")] == "darkness").all()
    assert (named[severe & (strangers.kinds == "dust")] == "blur").all()
    assert (named[~strangers.copies] == "").mean() > 0.95


def test_what_shows_in_nothing_is_not_reliable():
    lessons = renamed(lessons_of(people=20), fog="noise", dust="occlusion")
    blind = replace(lessons, numbers=np.random.default_rng(0).normal(size=lessons.numbers.shape))
    assert not any(defect.reliable for defect in teach_diagnosis(blind).defects.values())


def test_compression_is_no_defect():
    rule = teach_diagnosis(renamed(lessons_of(people=10), fog="compression", dust="darkness"))
    strangers = lessons_of(people=10, seed=1)
    foggy = strangers.numbers[(strangers.kinds == "fog") & (strangers.strengths > 0.5), :PERTURBATION_COUNT]
    assert max(chance for _, chance in rule.likeliest(foggy)) < 0.5


def test_one_person_teaches_but_judges_nobody():
    rule = teach_diagnosis(renamed(lessons_of(people=1), fog="darkness", dust="noise"))
    assert all(defect.said == 0 for defect in rule.defects.values())
