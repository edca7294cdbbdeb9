"""What is measured for a report: against the parts it is made of, and by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from client.evaluation.measures import GROUPED_BY, Measured, measure
from qafm.attributes import MISSING, SCHEMA
from qafm.datasets.degradations import Degradation
from qafm.retrieval.acceptance import acceptance
from qafm.retrieval.descriptors import Descriptors
from qafm.retrieval.metrics import evaluate
from qafm.retrieval.verification import OperatingPoint, operating_points

PEOPLE = 30


@pytest.fixture(scope="module")
def sides():
    generator = np.random.default_rng(0)
    centres = generator.standard_normal((PEOPLE + 1, 16))

    def draw(folder, count):
        pids = np.arange(count) % PEOPLE + 1
        vectors = centres[pids] + generator.standard_normal((count, 16))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        paths = np.array([f"{folder}/{row}.jpg" for row in range(count)])
        quality = generator.random(count, dtype=np.float32)
        return Descriptors(vectors.astype(np.float32), pids, generator.integers(1, 4, count), paths, utility=quality)

    return draw("query", 90), draw("gallery", 300)


def labels(of):
    row = np.full(len(SCHEMA), MISSING, np.int8)
    row[[attribute.name for attribute in SCHEMA].index("gender")] = of
    return row


def test_it_is_what_its_parts_are(sides):
    found = measure(*sides, {pid: labels(pid % 2) for pid in range(1, 21)}, rerank=True, abstaining=0.1)
    assert found.metrics.mAP == evaluate(*sides).mAP and found.verification == operating_points(*sides)
    assert found.reranked is not None and found.abstained.left_out == 9
    assert found.cameras.mAP.shape == (3, 3) and set(found.discard) == {"utility"}
    thresholds, false, true = found.roc
    assert (np.diff(thresholds) > 0).all() and (np.diff(false) >= 0).all() and (np.diff(true) >= 0).all()
    assert (false[-1], true[-1]) == (1, 1)
    for point in found.verification:
        place = thresholds.tolist().index(point.threshold)
        assert true[place] == pytest.approx(point.true_positive_rate)


def test_groups_are_told_by_the_threshold_of_one_in_a_thousand(sides):
    found = measure(*sides, {pid: labels(pid % 2) for pid in range(1, 21)})
    assert found.judged.false_positive_rate == 1e-3
    assert [(group.attribute, group.value, group.rates.identities) for group in found.groups] == [
        ("gender", "male", 10),
        ("gender", "female", 10),
    ]
    query, gallery = sides
    counted = acceptance(query, gallery, np.array([found.judged.threshold]))
    male = np.isin(query.pids, range(2, 21, 2))
    expected = counted.genuine[male].sum() / counted.genuine_pairs[male].sum()
    assert found.groups[0].rates.true_positive.value == pytest.approx(expected)
    assert found.everybody.identities == PEOPLE and {group.attribute for group in found.groups} <= set(GROUPED_BY)


def test_without_a_thousand_pairs_the_strictest_threshold_judges(sides):
    metrics = evaluate(*sides)
    assert Measured(metrics).judged is None
    assert Measured(metrics, verification=[OperatingPoint(0.01, 0.5, 1.0)]).judged.threshold == 1.0


def test_few_pairs_have_no_curve_and_no_groups():
    query = Descriptors(np.zeros((1, 1), np.float32), np.array([1]), np.array([1]))
    gallery = Descriptors(np.ones((2, 1), np.float32), np.array([1, 2]), np.array([2, 2]))
    found = measure(query, gallery, {1: labels(0)})
    assert found.roc is None and found.everybody is None and found.groups == ()
    assert not {"roc", "groups"} & found.summary().keys()


def test_the_recorded_truth_is_a_signal(sides):
    query, gallery = sides
    recorded = {path: Degradation("blur", row / 90) for row, path in enumerate(query.paths.tolist())}
    assert set(measure(query, gallery, {}, recorded=recorded).discard) == {"utility", "recorded strength"}


def test_the_summary_is_json_without_nan(sides):
    found = measure(*sides, {pid: labels(pid % 2) for pid in range(1, 21)}).summary()
    read = json.loads(json.dumps(found, allow_nan=False))
    assert read["cameras"]["mAP"][0][0] is None and read["cameras"]["queries"][0][0] == 0
    assert read["groups"]["of"][0]["value"] == "male" and len(read["roc"]["threshold"]) == len(
        found["roc"]["threshold"]
    )
