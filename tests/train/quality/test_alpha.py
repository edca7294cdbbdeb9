"""How α is fitted for retrieval: its galleries and the mAP of a constant by loops, its loss by hand, what it finds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from qafm.utility import NUMBERS
from qafm.weighting.constant import Constant
from qafm.weighting.retrieval import Retrieval
from tests.support.lessons import lessons_of
from train.quality.alpha import CONSTANTS, PRIOR, STEPS, _galleries, _Gallery, _level, alphas, fit


def test_descriptors_between_the_ends_by_hand():
    lessons = lessons_of(people=2)
    alpha = np.linspace(0, 1, len(lessons.pids))
    for row, described in enumerate(lessons.described(alpha)):
        mixed = alpha[row] * lessons.ends[row, 1] + (1 - alpha[row]) * lessons.ends[row, 0]
        assert described == pytest.approx(mixed / np.sqrt((mixed**2).sum()))


def test_a_gallery_has_each_crop_once_half_of_them_made_worse():
    lessons = lessons_of(people=3, crops=4, copies=5)
    galleries = _galleries(lessons)
    assert len(galleries) == 5
    for rows in galleries:
        assert sorted(lessons.whole[rows]) == sorted(np.flatnonzero(~lessons.copies))
        assert lessons.copies[rows].mean() == 0.5
    worse = [(lessons.copies[rows]).sum() for rows in np.stack(galleries, axis=1)]
    assert set(worse) == {2, 3}, "of each crop, about half the galleries have a copy"


def test_map_by_constants_by_a_loop():
    lessons = lessons_of(people=4, semantic=0.5)
    fitted = fit(lessons)
    assert fitted is not None
    for place in (0, 9, 19):
        vectors = lessons.described(np.full(len(lessons.pids), CONSTANTS[place]))
        precisions = []
        for rows in _galleries(lessons):
            for query in rows:
                others = [row for row in rows if lessons.pids[row] != lessons.pids[query] or row != query]
                order = sorted(others, key=lambda row, query=query: -(vectors[row] @ vectors[query]))
                hits = [rank for rank, row in enumerate(order, 1) if lessons.pids[row] == lessons.pids[query]]
                precisions.append(np.mean([found / rank for found, rank in enumerate(hits, 1)]))
        assert fitted.by_constant[place] == pytest.approx(np.mean(precisions), abs=1e-6)


def test_the_level_by_hand():
    """Ten people, for each of whom some constants are as good as the best, and the others worse."""

    def level(as_good: np.ndarray) -> float:
        return _level(np.where(as_good[:, None], 0.8, 0.5) + np.zeros((20, 10)), np.arange(10))

    assert level(CONSTANTS > 0) == PRIOR, "nothing speaks against it"
    assert level(CONSTANTS < 0.62) == pytest.approx(0.6)
    assert level(CONSTANTS > 0.83) == pytest.approx(0.85)
    # One that is best, but for a single person: chance.
    each = np.full((20, 10), 0.8)
    each[0], each[0, 0] = 0.75, 1.5
    assert each.mean(axis=1).argmax() == 0 and _level(each, np.arange(10)) == PRIOR


def test_the_loss_by_hand():
    """Two people, two cameras each: one true match a query, and two false ones."""
    pids, camids = np.array([1, 1, 2, 2]), np.array([1, 2, 1, 2])
    lessons = replace(lessons_of(people=1, crops=4, copies=1), pids=np.repeat(pids, 2), camids=np.repeat(camids, 2))
    rows = np.array([0, 2, 4, 6])
    vectors = torch.nn.functional.normalize(torch.tensor([[3.0, 1], [2, 2], [1, 3], [-1, 2]]), dim=1)
    found = _Gallery.of(lessons, rows).losses(vectors.repeat_interleave(2, dim=0))
    cosines = (vectors @ vectors.T).numpy() / 0.05
    expected = []
    for query, true in ((0, 1), (1, 0), (2, 3), (3, 2)):
        false = [row for row in range(4) if pids[row] != pids[query]]
        expected.append(np.log1p(sum(np.exp(cosines[query, row] - cosines[query, true]) for row in false)))
    assert found.numpy() == pytest.approx(expected, rel=1e-4)


def test_the_steps_read_what_they_say():
    assert STEPS["Q"].shape == (NUMBERS, 1)
    assert STEPS["families"].sum(axis=0) == pytest.approx(1)
    assert (STEPS["families"] > 0).sum() == 34
    assert STEPS["distances"].shape == (NUMBERS, 34)
    assert not STEPS["families"][34:].any()


def test_a_constant_where_quality_tells_nothing():
    lessons = lessons_of(people=20, semantic=0.5, seed=1)
    noise = np.random.default_rng(0).normal(size=lessons.numbers.shape)
    fitted = fit(replace(lessons, numbers=noise))
    assert isinstance(fitted.weighting, Constant)
    # All that are not below the best beyond chance, and no other, are about it.
    near = CONSTANTS[fitted.by_constant > fitted.by_constant.max() - 0.01]
    assert near.min() - 0.1 <= float(fitted.weighting.value) <= near.max() + 0.1
    assert [step.kept for step in fitted.steps] == [False, False, False]


def test_a_rule_where_quality_tells_which_branch_fails():
    """Fog shows in one distance and takes v_a away, of which v_s knows nothing."""
    lessons = lessons_of(people=20, crops=4, copies=4, semantic=1.0, seed=1)
    fitted = fit(lessons)
    assert isinstance(fitted.weighting, Retrieval)
    kept = {step.reads: step for step in fitted.steps if step.kept}
    assert kept["distances"].gain.interval.low > 0
    found = alphas(fitted.weighting, lessons)
    fog = (lessons.kinds == "fog") & (lessons.strengths > 0.7)
    assert found[fog].mean() < found[~lessons.copies].mean() - 0.1


def test_where_nobody_can_be_asked_the_constant_is_all():
    """Of two people one was seen by a single camera: who can be asked is not there to teach."""
    lessons = lessons_of(people=2)
    once = replace(lessons, camids=np.where(lessons.pids == 0, lessons.camids, 1))
    fitted = fit(once)
    assert isinstance(fitted.weighting, Constant) and fitted.steps == ()


def test_nothing_is_fitted_where_nobody_was_seen_by_two_cameras():
    lessons = lessons_of(people=4)
    assert fit(replace(lessons, camids=np.zeros_like(lessons.camids))) is None
