"""Pairs of cameras, against evaluations of their images alone, and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from qafm.errors import InvalidDescriptors
from qafm.retrieval.cameras import MOST, camera_pairs
from qafm.retrieval.descriptors import Descriptors
from qafm.retrieval.metrics import evaluate


def descriptors(points, pids, camids, **more):
    return Descriptors(np.array(points, np.float32).reshape(len(pids), -1), np.array(pids), np.array(camids), **more)


def test_by_hand():
    # By camera 2 the stranger is nearer than the match, by camera 3 it is not; by its own camera nothing counts.
    query = descriptors([0, 9], [1, 5], [1, 7])
    gallery = descriptors([2, 1, 1, 2, 0, 1], [1, 2, 1, 2, 1, -1], [2, 2, 3, 3, 1, 3])
    found = camera_pairs(query, gallery)
    assert (found.asked.tolist(), found.searched.tolist()) == ([1, 7], [1, 2, 3])
    assert found.queries.tolist() == [[0, 1, 1], [0, 0, 0]]
    np.testing.assert_array_equal(found.mAP, [[np.nan, 0.5, 1], [np.nan] * 3])


def test_each_pair_is_an_evaluation_of_its_own():
    generator = np.random.default_rng(0)

    def side(count):
        points = generator.standard_normal((count, 3))
        return points, generator.integers(-1, 6, count), generator.integers(1, 5, count)

    ours, theirs = side(80), side(200)
    found = camera_pairs(descriptors(*ours), descriptors(*theirs))
    for row, asked in enumerate(found.asked):
        for column, searched in enumerate(found.searched):
            parts = [
                descriptors(*(array[camids == camid] for array in (points, pids, camids)))
                for (points, pids, camids), camid in ((ours, asked), (theirs, searched))
            ]
            try:
                expected = evaluate(*parts)
            except InvalidDescriptors:
                assert np.isnan(found.mAP[row, column]) and not found.queries[row, column]
            else:
                assert found.mAP[row, column] == pytest.approx(expected.mAP)
                assert found.queries[row, column] == expected.queries - expected.skipped_queries


def test_cameras_without_number_are_no_table():
    count = MOST + 1
    many = descriptors(np.zeros(count), np.ones(count, int), np.arange(count))
    assert camera_pairs(many, many) is None
