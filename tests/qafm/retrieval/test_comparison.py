"""Two results of the same queries: which row is which picture, and what is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from qafm.errors import InvalidDescriptors
from qafm.retrieval.bootstrap import difference, interval
from qafm.retrieval.comparison import differences, intervals, per_query, same_queries
from qafm.retrieval.descriptors import Descriptors
from qafm.retrieval.metrics import evaluate
from qafm.retrieval.score import compare, score

PICTURES = np.array([f"query/{letter}.jpg" for letter in "abcde"])


def described(vectors, pids, camid, paths=None) -> Descriptors:
    count = len(pids)
    return Descriptors(
        np.array(vectors, np.float32).reshape(count, -1), np.array(pids), np.full(count, camid), paths=paths
    )


@pytest.fixture
def gallery():
    return described([0, 1, 2, 3], [1, 2, 3, 4], 2)


@pytest.fixture
def query():
    """On a line: 1 at its match; 2 nearer to two others; junk; 3 near another; 9, of whom the gallery has nothing."""
    return described([0.1, 3.1, 5, 2.6, 1], [1, 2, -1, 3, 9], 1, PICTURES)


def test_what_the_means_are_of_by_hand(query, gallery):
    values = per_query(evaluate(query, gallery))
    assert values["rank1"] == pytest.approx([1, 0, np.nan, 0, np.nan], nan_ok=True)
    assert values["mAP"] == pytest.approx([1, 1 / 3, np.nan, 1 / 2, np.nan], nan_ok=True)
    found = evaluate(query, gallery)
    assert found.identities == 3 and np.nanmean(values["rank1"]) == found.rank1
    assert np.nanmean(values["mAP"]) == pytest.approx(found.mAP)
    assert intervals(found, query.pids)["mAP"] == interval(values["mAP"], query.pids)


def test_a_comparison_by_hand(query, gallery):
    """The other result knows 2 and 3 at first rank and misses 1, and its rows are in another order."""
    better = described([0.7, 1.1, 5, 2.1, 1], [1, 2, -1, 3, 9], 1, PICTURES)
    order = np.array([4, 2, 0, 3, 1])
    other = dataclasses.replace(
        better, **{name: array[order] for name, array in better.arrays().items()}, model="another/qafm"
    )
    assert same_queries(query, other).tolist() == [2, 4, -1, 3, 0]
    found = compare(score(query, gallery), query, score(other, gallery), other).differences
    assert found["rank1"].value == pytest.approx((1 - 0 + 0 - 1 + 0 - 1) / 3)
    assert found["mAP"].value == pytest.approx((1 - 1 / 2 + 1 / 3 - 1 + 1 / 2 - 1) / 3)
    assert found["mAP"].interval == pytest.approx((1 / 3 - 1, 1 - 1 / 2)), "thrice the worst, thrice the best"
    in_order = differences(evaluate(query, gallery), evaluate(better, gallery), query.pids)
    assert found == in_order
    values = [per_query(evaluate(side, gallery))["mAP"] for side in (query, better)]
    assert found["mAP"] == difference(*values, query.pids)


def test_the_json_of_a_comparison(query, gallery):
    result = score(query, gallery)
    comparison = compare(result, query, result, query)
    assert comparison.warnings == ()
    assert comparison.summary() == {
        "against": result.summary(),
        "difference": {name: {"value": 0, "interval": [0, 0]} for name in ("rank1", "mAP")},
    }


def test_another_number_of_gallery_images_is_said(query, gallery):
    larger = described([0, 1, 2, 3, 9], [1, 2, 3, 4, 0], 2)
    (warning,) = compare(score(query, gallery), query, score(query, larger), query).warnings
    assert "galleries have 4 and 5 images" in warning


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"paths": None}, "queries of the other result have no paths"),
        ({"paths": PICTURES[[0, 0, 2, 3, 4]]}, r"other result have the path query/a\.jpg more than once"),
        (
            {"paths": np.array([*PICTURES[:4], "e.jpg"])},
            r"1 of the first result, such as query/e\.jpg, are not in the o",
        ),
        ({"pids": np.array([1, 2, 7, 3, 9])}, r"1 of the other result, such as query/c\.jpg, are not in the first one"),
        ({"pids": np.array([1, 2, -1, 4, 9])}, r"query/d\.jpg has pid 3 and camid 1 .* pid 4 and camid 1 in the other"),
        ({"camids": np.array([1, 1, 1, 3, 1])}, r"query/d\.jpg has pid 3 and camid 1 .* pid 3 and camid 3 in the othe"),
    ],
)
def test_other_queries_are_refused(query, change, message):
    with pytest.raises(InvalidDescriptors, match=message):
        same_queries(query, dataclasses.replace(query, **change))


def test_junk_may_differ(query):
    paths = np.array([*PICTURES[:2], "query/f.jpg", *PICTURES[3:]])
    assert same_queries(query, dataclasses.replace(query, paths=paths)).tolist() == [0, 1, -1, 3, 4]


def test_a_query_that_has_a_match_in_one_gallery_only_is_refused(query, gallery):
    without = described([0, 1, 3], [1, 2, 4], 2)
    with pytest.raises(InvalidDescriptors, match="not of the same queries: 1 of 5, first the one in row 3"):
        compare(score(query, gallery), query, score(query, without), query)
