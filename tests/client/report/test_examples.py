"""Which crops a report shows, and what it says of every query."""

from __future__ import annotations

import csv
from html.parser import HTMLParser

import numpy as np
import pytest

from client.evaluate import write_queries
from client.report.examples import choose_examples, crops_by_quality, lists_of_queries, worst_of_each_identity
from qafm.retrieval.descriptors import Descriptors
from qafm.retrieval.metrics import evaluate


def test_the_worst_query_of_each_identity_by_hand():
    pids = np.array([5, 5, 7, 9, 7, 8])
    precision = np.array([0.5, 0.25, 0.75, np.nan, 0.125, 0.25])
    # 9 was skipped; 5 and 8 tie and stay in their order.
    assert worst_of_each_identity(pids, precision).tolist() == [4, 1, 5]


@pytest.fixture
def sides():
    """On a line: query 1 finds 2, then its own; query 2 its own at once. The third has no true match."""
    query = Descriptors(
        np.array([[0], [10], [20]], np.float32),
        np.array([1, 2, 3]),
        np.array([1, 1, 1]),
        np.array(["query/1.jpg", "query/2.jpg", "query/3.jpg"]),
        identifiability=np.array([0.5, 0.25, 0.75], np.float32),
    )
    gallery = Descriptors(
        np.array([[2], [4], [11]], np.float32),
        np.array([2, 1, 2]),
        np.array([2, 2, 2]),
        np.array(["gallery/<i>.jpg", "gallery/b.jpg", "gallery/c.jpg"]),
        identifiability=np.array([1, 2, 3], np.float32),
    )
    return query, gallery, evaluate(query, gallery)


def test_examples_by_hand(sides, tmp_path):
    found = choose_examples(tmp_path, *sides)
    assert [(one.path, one.pid, one.average_precision) for one in found.queries] == [
        ("query/1.jpg", 1, 0.5),
        ("query/2.jpg", 2, pytest.approx((1 + 2 / 3) / 2)),
    ]
    assert [(one.path, one.distance, one.match) for one in found.queries[0].nearest] == [
        ("gallery/<i>.jpg", 2, False),
        ("gallery/b.jpg", 4, True),
        ("gallery/c.jpg", 11, False),
    ]
    assert [one.identifiability for one in found.easiest] == [0.25, 0.5, 0.75, 1, 2, 3]
    assert [one.path for one in found.hardest[:2]] == ["gallery/c.jpg", "gallery/b.jpg"]


def test_a_picture_that_is_gone_and_a_name_that_is_html(sides, tmp_path):
    examples = choose_examples(tmp_path, *sides)
    tags = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attributes):
            tags.append(tag)

    for section in (lists_of_queries(examples), crops_by_quality(examples)):
        Reader().feed(section)
        assert "no picture" in section and "&lt;i&gt;.jpg" in section
    assert "i" not in tags and "img" not in tags


def test_every_query_has_a_line(sides, tmp_path):
    query, _, metrics = sides
    write_queries(tmp_path / "queries.csv", query, metrics)
    with (tmp_path / "queries.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["path", "pid", "camid", "ap", "first_match"],
            ["query/1.jpg", "1", "1", "0.5", "2"],
            ["query/2.jpg", "2", "1", "0.833333", "1"],
            ["query/3.jpg", "3", "1", "", ""],
        ]
