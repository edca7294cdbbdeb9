"""The worst queries left to a person: by hand, with ties and junk, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qafm.errors import InvalidDescriptors, InvalidSettings
from qafm.retrieval.abstention import abstain, abstention_summary
from qafm.retrieval.descriptors import Descriptors
from qafm.retrieval.metrics import evaluate

GALLERY = Descriptors(np.eye(4, dtype=np.float32), np.arange(1, 5), np.full(4, 2))
# The third of person 3 looks like person 1; the last row is junk of the worst quality.
QUERY = Descriptors(
    np.eye(4, dtype=np.float32)[[0, 1, 0, 3, 3]],
    np.array([1, 2, 3, 4, -1]),
    np.ones(5, np.int64),
    utility=np.array([0.9, 0.8, 0.1, 0.5, 0.0], np.float32),
    identifiability=np.array([9, 8, 1, 5, 20], np.float32),
)


def test_a_quarter_of_the_queries_by_hand():
    whole, found = evaluate(QUERY, GALLERY), abstain(QUERY, GALLERY, 0.25)
    assert whole.rank1 == 0.75
    assert (found.signal, found.left_out, found.threshold) == ("utility", 1, 0.5)
    assert (found.metrics.rank1, found.metrics.queries) == (1.0, 3)
    assert found.title == "Without the worst 1"
    summary = abstention_summary(found)["abstained"]
    assert (summary["fraction"], summary["left_out"], summary["mAP"]) == (0.25, 1, 1.0)
    assert abstention_summary(None) == {}


def test_without_a_utility_the_highest_q_is_worst():
    found = abstain(replace(QUERY, utility=None), GALLERY, 0.25)
    assert (found.signal, found.left_out, found.threshold) == ("identifiability", 1, 8.0)
    assert found.metrics.rank1 == pytest.approx(2 / 3)


def test_equal_queries_are_answered_together():
    same = replace(QUERY, utility=np.full(5, 0.5, np.float32))
    found = abstain(same, GALLERY, 0.5)
    assert found.left_out == 0 and found.metrics.mAP == evaluate(QUERY, GALLERY).mAP


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 10, float("nan")])
def test_what_is_no_share_is_refused(fraction):
    with pytest.raises(InvalidSettings, match="expected one above 0 and below 1"):
        abstain(QUERY, GALLERY, fraction)


def test_queries_without_a_quality_are_refused():
    with pytest.raises(InvalidDescriptors, match="no signal of quality"):
        abstain(replace(QUERY, utility=None, identifiability=None), GALLERY, 0.1)
