"""Which crops a report shows, and what it says of every query."""

from __future__ import annotations

import csv
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from client.evaluation.lists import query_rows, write_queries
from client.report.examples import OtherQuery, choose_examples, worst_of_each_identity
from client.report.lists import best_section, lists_section
from client.report.quality import poorest_and_finest
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
    assert [(one.first_match, one.others) for one in found.queries] == [(2, ()), (1, ())]
    assert [one.path for one in found.best] == ["query/2.jpg", "query/1.jpg"]
    assert found.signal == "identifiability" and [one.quality for one in found.finest] == [
        -0.25,
        -0.5,
        -0.75,
        -1,
        -2,
        -3,
    ]
    assert [one.path for one in found.poorest[:2]] == ["gallery/c.jpg", "gallery/b.jpg"]


def test_the_other_queries_of_a_person_stand_below_the_worst(sides, tmp_path):
    query, gallery, _ = sides
    query = replace(query, pids=np.array([1, 2, 2]))  # the third finds its own at once, and then last
    found = choose_examples(tmp_path, query, gallery, evaluate(query, gallery))
    assert [(one.path, len(one.others)) for one in found.queries] == [("query/1.jpg", 0), ("query/2.jpg", 1)]
    assert found.queries[1].others == (OtherQuery("query/3.jpg", 1, pytest.approx((1 + 2 / 3) / 2), 1),)
    assert "1 other query" in lists_section(found).content and "first match at rank 2" in lists_section(found).content


def test_of_many_identities_the_worst_are_shown(sides, tmp_path, monkeypatch):
    monkeypatch.setattr("client.report.examples.MOST_LISTS", 1)
    found = choose_examples(tmp_path, *sides)
    assert [one.path for one in found.queries] == ["query/1.jpg"] and found.identities == 2
    assert "Of each of the 1 worst of 2 identities" in lists_section(found).content


def test_the_utility_comes_before_q(sides, tmp_path):
    query, gallery, metrics = sides
    query, gallery = (replace(side, utility=np.array([0.5, 0.25, 0.75], np.float32)) for side in (query, gallery))
    found = choose_examples(tmp_path, query, gallery, metrics)
    assert found.signal == "utility" and found.finest[0].quality == 0.75
    assert (
        choose_examples(tmp_path, replace(query, utility=None, identifiability=None), gallery, metrics).signal is None
    )


def test_a_picture_that_is_gone_and_a_name_that_is_html(sides, tmp_path):
    examples = choose_examples(tmp_path, *sides)
    tags = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attributes):
            tags.append(tag)

    for section in (lists_section(examples).content, best_section(examples).content, poorest_and_finest(examples)):
        Reader().feed(section)
        assert "no picture" in section and "&lt;i&gt;" in section
    assert "i" not in tags and "img" not in tags


def test_every_query_has_a_line(sides, tmp_path):
    query, _, metrics = sides
    write_queries(tmp_path / "queries.csv", query_rows(query, metrics))
    with (tmp_path / "queries.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["path", "pid", "camid", "ap", "first_match", "identifiability"],
            ["query/1.jpg", "1", "1", "0.5", "2", "0.5"],
            ["query/2.jpg", "2", "1", "0.833333", "1", "0.25"],
            ["query/3.jpg", "3", "1", "", "", "0.75"],
        ]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("query/0002_c3s1_000451_03.jpg", "camera 3, recording 1, frame 451"),
        ("query/0002_c3s12_012451_00.jpg", "camera 3, recording 12, frame 12,451"),
        ("query/anna.jpg", "camera 3"),
    ],
)
def test_a_list_says_by_which_camera_and_when(sides, tmp_path, path, said):
    query, gallery, _ = sides
    query = replace(query, paths=np.array([path, *query.paths[1:]]), camids=np.array([3, *query.camids[1:]]))
    found = choose_examples(tmp_path, query, gallery, evaluate(query, gallery))
    assert f"query, {said}<br>" in lists_section(found).content
