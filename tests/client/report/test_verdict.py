"""What a report says first, of results that are good, bad and neither."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from client.evaluation.describing import FailedImage
from client.evaluation.earlier import Changes, Evaluated
from client.evaluation.identity import DatasetIdentity
from client.evaluation.measures import Group, Measured
from client.report.report import Report
from client.report.verdict import no_better_than_the_guess, verdict
from qafm.attribute_metrics import HeadMetrics
from qafm.manifest import Manifest
from qafm.retrieval.acceptance import Rate, Rates
from qafm.retrieval.bootstrap import Difference, Interval
from qafm.retrieval.cameras import CameraPairs
from qafm.retrieval.descriptors import Descriptors
from qafm.retrieval.discard import DiscardCurve
from qafm.retrieval.metrics import evaluate
from qafm.retrieval.verification import OperatingPoint

QUERY = Descriptors(np.zeros((1, 1), np.float32), np.array([1]), np.array([1]))
METRICS = evaluate(QUERY, Descriptors(np.array([[1], [2]], np.float32), np.array([2, 1]), np.array([2, 2])))


def report(against=None, failed=(), attributes=None, **measured):
    ends = {"rank1": Interval(0, 0.5), "mAP": Interval(0.25, 0.75)}
    return Report(
        *("now", "data", DatasetIdentity("", ""), "url", "model"),
        *(Measured(METRICS, ends, **measured), METRICS, attributes or {}, failed, Manifest({}, {}), {}),
        against=against,
    )


def said(found: Report, news: str | None = None) -> str:
    lines = re.findall(r'<p class="(\w*)">(.*?)</p>', verdict(found), re.DOTALL)
    return " ".join(content for kind, content in lines if news is None or kind == news)


def test_how_good_it_is_stands_first():
    assert "Of 100 queries, 0 (0 to 50) find the right person first. mAP is 50.0 (25 to 75)" in said(report())
    assert "3 images" not in said(report())
    assert "1 images could not be described" in said(report(failed=(FailedImage("a", "b"),)), "bad")


@pytest.mark.parametrize(
    ("interval", "words", "news"),
    [
        (Interval(0.01, 0.03), "Better than m-1/qafm of 2026-01-02 03:04: mAP +2.0 points (+1.0 to +3.0)", "good"),
        (Interval(-0.05, -0.01), "Worse than m-1/qafm", "bad"),
        (Interval(-0.01, 0.03), "No different, beyond chance, from m-1/qafm", ""),
    ],
)
def test_the_comparison(interval, words, news):
    before = Evaluated("folder", "m-1/qafm", "2026-01-02T03:04:05", 0, 0, 2, QUERY, np.zeros(1), np.zeros(1, int))
    changes = Changes(before, before, {"mAP": Difference(0.02, interval)}, ())
    assert words in said(report(against=changes), news)


def test_the_hardest_pair_of_cameras_is_one_with_enough_queries():
    cameras = CameraPairs(
        *(np.array([1, 2, 3]), np.array([1, 2, 3])),
        np.array([[np.nan, 0.9, 0.1], [0.4, np.nan, 0.5], [0.6, 0.7, np.nan]]),
        np.array([[0, 20, 9], [20, 0, 20], [20, 20, 0]]),
    )
    words = said(report(cameras=cameras))
    assert "hardest from 2 to 1 (mAP 40), easiest from 1 to 2 (90)" in words
    few = replace(cameras, queries=np.minimum(cameras.queries, 9))
    assert "hardest" not in said(report(cameras=few))
    assert "hardest" not in said(report(cameras=replace(cameras, mAP=np.full((3, 3), 0.5))))


def rates(false: float, low: float, identities: int = 10) -> Rates:
    return Rates(identities, Rate(0.9, Interval(0.8, 1)), Rate(false, Interval(low, 2 * false)))


def test_a_group_that_is_served_worse_is_named():
    of = {"verification": [OperatingPoint(1e-3, 0.5, 0.75)], "everybody": rates(0.001, 0.0008)}
    worse, chance = Group("gender", "female", rates(0.004, 0.002)), Group("age", "old", rates(0.009, 0.0009))
    assert "4.0 times as many where the person's gender is annotated as female" in said(
        report(**of, groups=(worse, chance)), "bad"
    )
    one = Group("age", "young", rates(0.004, 0.004, identities=1))
    assert "times as many" not in said(report(**of, groups=(chance, one)))


def head(balanced: float, low: float | None, auc: float | None = 0.5, values: int = 2) -> HeadMetrics:
    return HeadMetrics(0.9, 0.9, balanced, auc, 50, values, None if low is None else Interval(low, 1))


def test_attributes_no_better_than_a_guess():
    heads = {
        "hat": head(0.6, 0.49),
        "gender": head(0.6, 0.51),
        "age": head(0.3, 0.26, values=4),
        "upcolour": head(0.3, 0.26, values=3),
        "bag": head(0.5, None),
        "up": head(1, 0.2, None),
    }
    assert no_better_than_the_guess(heads) == ["hat", "upcolour", "bag"], "of four ages a guess has a quarter"
    assert "3 of 5 attributes are told no better than by a guess: hat, colour above the waist, bag on" in said(
        report(attributes=heads), "bad"
    )
    assert "All 1 attributes that differ" in said(report(attributes={"gender": heads["gender"]}))


@pytest.mark.parametrize(
    ("interval", "words", "news"),
    [
        (Interval(0.01, 0.03), "Yes, by its utility", "good"),
        (Interval(-0.03, -0.01), "No: it misleads", "bad"),
        (Interval(-0.01, 0.03), "Not shown here", ""),
    ],
)
def test_the_quality_signal(interval, words, news):
    curve = DiscardCurve((0.0, 0.1), (0.5, 0.6), 0.02, interval)
    truth = DiscardCurve((0.0, 0.1), (0.5, 0.6), 0.02, Interval(0.1, 0.2))
    assert words in said(report(discard={"utility": curve, "recorded strength": truth}), news)
    assert "It gives none" in said(report(discard={"recorded strength": truth}))
